//! What a controller costs that has nothing to do: how soon it works after its start, and how much memory it keeps.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use trueup::domain::{Clock as _, SystemClock};

use crate::support::*;

/// From the start of the process to its first row.
const STARTUP: Duration = Duration::from_secs(2);
/// Memory of its own, with PostgreSQL; what is mapped from its file, others share.
const MEMORY_KIB: u64 = 25 << 10;
/// How often it is started.
const STARTS: usize = 5;

/// Memory of the process's own, and everything that is resident, in KiB.
fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process's status");
    let field = |name: &str| {
        let line =
            status.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {status}"));
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
    };
    (field("RssAnon:"), field("VmRSS:"))
}

#[tokio::test]
async fn a_controller_works_within_two_seconds_of_its_start_and_is_small() {
    let place = Arc::new(Place::new("footprint", Database::Postgres).await);
    let visit = Visit::to(&place).await;
    // Tables are made once in a ledger's life.
    visit.ledger.migrate().await.expect("making the tables");
    let clock = SystemClock::default();
    let mut took = vec![];
    let mut last = None;
    for start in 0..STARTS {
        let name = format!("acme-{start}");
        let made = uid(&visit.create(&tenant(&name, &json!({}))).await);
        let begun = clock.monotonic();
        let controller = place.controller(&format!("start-{start}"), &ControllerOptions::default());
        eventually(PATIENCE, "the first row is written", || async {
            let rows = visit.story(&made).await.rows.len();
            if rows > 0 { Ok(()) } else { Err("there is none".to_owned()) }
        })
        .await;
        took.push(clock.monotonic().saturating_sub(begun));
        visit.current("Tenant", None, &name).await;
        // Given back, so that the next one does not wait for the Lease to run out.
        if start + 1 < STARTS {
            controller.signal("TERM");
            assert_eq!(controller.exit_code(PATIENCE).await, 0);
        }
        last = Some(controller);
    }
    reckon(&visit, None).await;
    took.sort();
    let (own, resident) = memory(last.expect("a controller").pid());
    println!(
        "{STARTS} starts: the first row after {:.2?} at least, {:.2?} in the middle, {:.2?} at most",
        took[0],
        took[STARTS / 2],
        took[STARTS - 1]
    );
    println!("settled, with PostgreSQL: {own} KiB of its own, {resident} KiB resident");
    // The quickest says what the program needs; the others, how busy the machine was.
    assert!(took[0] < STARTUP, "{took:.2?}");
    assert!(own < MEMORY_KIB, "{own} KiB");
}
