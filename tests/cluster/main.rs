//! The real program against a real API server: tenants, applications and backups, and everything that may go wrong.
//!
//! One cluster with one controller is shared by all tests that only need a tenant of their own. Tests that hurt what they
//! run on, or count everything that happens there, have clusters of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, reason = "this is a test")]

mod amend;
mod apps;
mod backups;
#[path = "../outbox/certificates.rs"]
mod certificates;
mod commandline;
mod conditions;
mod crash;
mod doctor;
mod documents;
mod failover;
mod fidelity;
mod figures;
mod fire;
mod footprint;
mod hold;
mod input;
mod leadership;
mod leaving;
mod moving;
mod recover;
mod rights;
#[path = "../simulation/script.rs"]
mod script;
mod settled;
mod slow_deletion;
mod support;
mod sweep;
mod tenants;
mod time;
mod traced;
mod typed;
