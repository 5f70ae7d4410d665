//! What operators watch Trueup with: metrics, alerts, dashboards, and the pages that say what to do.

#![allow(clippy::unwrap_used, reason = "tests")]

mod alerts;
mod dashboards;
mod exposition;
mod query;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Prometheus' own judge of metrics, rules and queries, built once per user.
fn promtool() -> PathBuf {
    let built = Command::new(root().join("hack/prometheus/build")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Path::new(String::from_utf8(built.stdout).unwrap().trim()).join("promtool")
}
