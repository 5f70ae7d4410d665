//! Whatever comes from outside, thrown at what reads it: nothing panics, nothing forged is believed, and what is refused is
//! refused in words.
//!
//! Each target runs for a second, or for `TRUEUP_FUZZ_SECONDS`. What once failed is kept in `seeds`, and tried first from then on.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod answers;
mod budget;
mod events;
mod inputs;
mod ledger;
mod signatures;
mod specs;
