//! The loop: observe, decide, act, commit, project. The only place where cluster, lifecycle and ledger meet.
//!
//! Each kind has a file that says what is observed of it; `look` carries out what `lifecycle` decides, the same way
//! for all of them.

pub mod amendments;
mod appdeployment;
mod arrears;
mod backup;
mod behind;
mod context;
pub mod deliveries;
mod error;
mod in_flight;
mod leave;
mod look;
mod looked;
mod mandates;
mod queue;
mod readiness;
mod repository;
mod retries;
mod run;
mod sink;
mod sink_config;
mod survey;
mod sweep;
mod tenant;
mod written;

pub use behind::{Applied, Behind};
pub use context::Context;
pub use error::ReconcileError;
pub use in_flight::InFlight;
pub use looked::Looked;
pub use mandates::Mandates;
pub use readiness::Readiness;
pub use retries::Retries;
pub use run::run;
pub use sweep::SweepOptions;
pub use written::Written;
