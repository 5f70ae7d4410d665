//! Trueup keeps what runs in a cluster, what its users are shown and what billing was told the same.
//!
//! See ARCHITECTURE.md for the map. The one rule to remember: `lifecycle` decides, everything else observes or acts.

pub mod api;
pub mod backup;
pub mod cli;
pub mod cluster;
pub mod domain;
pub mod figures;
pub mod ledger;
pub mod lifecycle;
pub mod outbox;
pub mod receiver;
pub mod reconcile;
pub mod sinks;
pub mod telemetry;
