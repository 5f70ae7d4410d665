//! The charts: what they render, what they refuse, and that each fact in them has one home.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, reason = "this is a test")]

mod definitions;
mod hardening;
mod helm;
mod refusals;
mod rendering;
mod upgrading;
mod values;
