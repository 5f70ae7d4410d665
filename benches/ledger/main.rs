//! How fast the ledger and its relay are, beside the limits of the databases underneath.
//!
//!     make bench-ledger                          everything but the curve's largest size
//!     make bench-ledger BENCH="append lone"      some parts: lone append relay webhook latency curve pgbench
//!     make bench-ledger BENCH="curve --curve 10m"
//!     make bench-ledger BENCH=--short            each part once and small: whether it works, not how fast
//!
//! Both databases run as they should in production: PostgreSQL with fsync and synchronous_commit=on, SQLite with
//! WAL and synchronous=FULL. What is compared alternates within one run, so that noise hits both.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on says where")]
#![allow(clippy::cast_precision_loss, clippy::print_stdout, reason = "figures, for people")]
#![allow(missing_docs, unreachable_pub, reason = "a program has no outside")]

mod append;
mod bare;
mod curve;
mod fill;
mod fleet;
mod latency;
mod lone;
mod pgbench;
mod place;
mod plan;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod receiver;
mod relay;
mod report;
mod timing;
mod webhook;

use plan::{Part, Plan};

fn main() {
    let plan = match Plan::parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(2);
        }
    };
    // As the program does, for the sink that speaks HTTP.
    rustls::crypto::ring::default_provider().install_default().expect("nobody else chose a provider");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("starting the runtime");
    let report = runtime.block_on(run(&plan));
    report.write();
}

async fn run(plan: &Plan) -> report::Report {
    let mut report = report::Report::default();
    let lab = place::Lab::start(plan);
    for part in &plan.parts {
        eprintln!("# {part}");
        match part {
            Part::Lone => lone::run(plan, &lab, &mut report).await,
            Part::Append => append::run(plan, &lab, &mut report).await,
            Part::Relay => relay::run(plan, &lab, &mut report).await,
            Part::Webhook => webhook::run(plan, &lab, &mut report).await,
            Part::Latency => latency::run(plan, &lab, &mut report).await,
            Part::Curve => curve::run(plan, &lab, &mut report).await,
            Part::Pgbench => pgbench::run(plan, &lab, &mut report).await,
        }
    }
    report
}
