//! The real controllers, ledger, relay and watches in one process, under a clock that moves only when nobody has anything to do,
//! in a world of their own in which things go wrong.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod apiserver;
mod case;
mod chaos;
mod clock;
mod faults;
mod ledger;
mod lives;
mod nodes;
mod oracles;
mod people;
mod process;
mod receiver;
mod replay;
mod script;
mod semantics;
mod step;
mod stories;
