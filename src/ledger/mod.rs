//! The ledger: every change of a resource's state, in one row that is also its outbox row.
//!
//! `store` says what a database must do; `memory`, `sqlite` and `postgres` do it, and share the pure
//! decision of what a batch becomes (`batch`). `appender` turns many waiting writers into few transactions.

mod store;
mod types;

pub use store::{AppendError, Counts, Store, StoreError};
pub use types::{
    Claim, Draft, Head, Installation, LaneState, LaneView, OutboxRow, Outcome, Row, RowQuery, Settlement, ShardRow,
    Subject, time_source_from,
};
