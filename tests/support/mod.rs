//! What several test binaries share.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "no binary uses all of it")]

pub mod flaky;
pub mod postgres;
