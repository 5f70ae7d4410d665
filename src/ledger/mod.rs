//! The ledger: every change of a resource's state, in one row that is also its outbox row.
//!
//! `store` says what a database must do; `memory`, `sqlite` and `postgres` do it, and share the pure
//! decision of what a batch becomes (`batch`). `appender` turns many waiting writers into few transactions.

mod ahead;
mod appender;
mod audit;
mod backup;
pub mod batch;
mod checkup;
pub mod comparisons;
mod fault;
pub mod interventions;
pub mod invariants;
mod known;
pub mod lanes;
mod memory;
mod open;
mod past;
mod patrol;
mod postgres;
pub mod pruner;
mod records;
mod reinstate;
mod sqlite;
mod standing;
mod store;
mod types;
mod waits;

pub use ahead::{Ahead, Ticket};
pub use appender::{Appender, AppenderError, AppenderLimits, AppenderStats, Appending, StatsView};
pub use audit::{Report, audit};
pub use backup::{BackupError, Contents, LEFT_OUT, backup, is_in_use, restore, verify};
pub use checkup::{Checkup, Setting, checkup};
pub use lanes::AMBIGUOUS;
pub use memory::MemoryStore;
pub use open::{open, open_existing};
pub use past::{Believed, Doubt, Held, PastQuery, PastState};
pub use patrol::{Patrol, Step};
pub use postgres::PostgresStore;
pub use reinstate::Returned;
pub use sqlite::SqliteStore;
pub use store::{AppendError, Counts, Store, StoreError};
pub use types::{
    Claim, ClaimRequest, Draft, Head, Installation, LaneState, LaneView, Opening, OutboxRow, Outcome, PruneReport,
    PruneStep, PrunedRow, Row, RowQuery, Settlement, ShardRow, Start, Subject, Voided, time_source_from,
};
pub use waits::{Wait, Waits, Want};
