//! What each kind does next. Pure: no client, clock, pool or log call in here.
//!
//! For each kind there is a state table and a `decide`: from what was asked, what was observed and the
//! ledger's last word it makes a [`Plan`], which is data. All policy lives here, so that a decision can be
//! read, tested and argued about without a cluster.

pub mod amend;
pub mod appdeployment;
pub mod backup;
pub mod behind;
mod caution;
pub mod children;
mod conditions;
mod contain;
mod deadline;
pub mod detach;
pub mod mandate;
mod object;
mod plan;
pub mod reasons;
pub mod repository;
pub mod sink;
mod states;
mod steps;
pub mod sweep;
pub mod tenant;
mod when;
pub mod witnesses;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;

pub use conditions::{Verdict, has_condition};
pub use contain::contained;
pub use object::{Membership, Object};
pub use plan::{Child, ChildKind, Desired, Finalizer, ObjectKey, Plan, Transition};
pub use reasons::Reason;
pub use steps::ledger_ref;

use crate::domain::Tables;

/// The finalizer that keeps an object until its stream is closed.
pub const FINALIZER: &str = "trueup.dev/finalizer";

/// The state tables of all kinds.
pub const TABLES: Tables = Tables(&[tenant::TABLE, appdeployment::TABLE, backup::TABLE]);
