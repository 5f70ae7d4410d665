//! The real controllers, ledger and watches in one process, under a clock that moves only when nobody has anything to do, against
//! an API server of their own.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod apiserver;
mod clock;
mod controller;
mod script;
mod semantics;
mod tenants;
