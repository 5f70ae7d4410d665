//! What PostgreSQL's own benchmark says of the same server, for comparison with figures from elsewhere.

use std::process::Command;

use crate::{
    place::{Kind, Lab, Place},
    plan::Plan,
    report::Report,
};

pub async fn run(plan: &Plan, lab: &Lab, report: &mut Report) {
    if !plan.kinds.contains(&Kind::Postgres) {
        return;
    }
    let ledger = lab.ledger(Kind::Postgres).await;
    let Place::Postgres(url) = &ledger.place else { return };
    let Ok(made) = Command::new("pgbench").args(["--initialize", "--quiet", url]).output() else {
        eprintln!("# pgbench is not installed");
        return;
    };
    assert!(made.status.success(), "pgbench: {}", String::from_utf8_lossy(&made.stderr));
    let seconds = if plan.short { "1" } else { "10" };
    for clients in ["1", "16"] {
        let ran = Command::new("pgbench")
            .args(["--protocol=prepared", "--no-vacuum", "--builtin=simple-update", "--jobs=2"])
            .args(["--client", clients, "--time", seconds, url])
            .output()
            .expect("running pgbench");
        let said = String::from_utf8_lossy(&ran.stdout);
        let figure = |before: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(before))?;
            line.trim().split(' ').next()?.parse::<f64>().ok()
        };
        report.put(format!("pgbench.{clients}.rate"), figure("tps =").expect("pgbench says so"), "transactions/s");
        report.put(format!("pgbench.{clients}.mean"), figure("latency average =").expect("pgbench says so"), "ms");
    }
}
