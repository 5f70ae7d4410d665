//! The commands that only read, as whoever types them meets them: the built program, a ledger in a file, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, reason = "tests")]

mod commands;
mod comparisons;
mod documented;
mod ledger;
mod mend;
mod migrate;
mod packaging;
mod past;
#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "the ledger's tests use the rest")]
mod postgres;
mod reference;
mod rig;
#[path = "../support/typing.rs"]
#[allow(dead_code, reason = "tests/docs uses the rest")]
mod typing;
