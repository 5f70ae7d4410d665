//! The ledger: every change of a resource's state, in one row that is also its outbox row.
//!
//! `store` says what a database must do; `memory`, `sqlite` and `postgres` do it, and share the pure
//! decision of what a batch becomes (`batch`). `appender` turns many waiting writers into few transactions.

pub mod batch;
pub mod lanes;
mod memory;
mod store;
mod types;

pub use memory::MemoryStore;
pub use store::{AppendError, Counts, Store, StoreError};
pub use types::{
    Claim, ClaimRequest, Draft, Head, Installation, LaneState, LaneView, OutboxRow, Outcome, Row, RowQuery, Settlement,
    ShardRow, Subject, time_source_from,
};
