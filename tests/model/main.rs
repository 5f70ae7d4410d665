//! The protocol as a model, and every state of it: append, claim, acknowledge and take over, with two processes, two
//! resources, one receiver, and whatever may go wrong. docs/reliability/model.md says which function each step stands for.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod append;
mod calm;
mod decide;
mod deliver;
mod mutations;
mod page;
mod properties;
mod protocol;
mod system;

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use self::{
    mutations::Mutation,
    page::{grouped, page},
    protocol::{Protocol, Shape},
    system::Word,
};

/// All at once: two processes append, deliver and take over from each other, for two resources.
const ALL_AT_ONCE: Shape =
    Shape { streams: 2, first: Word::Ready, standing: 1, vanishing: 1, ahead: false, relay: true, faults: 1 };
/// Only appends, with more going wrong.
const APPENDS: Shape =
    Shape { streams: 2, first: Word::Ready, standing: 1, vanishing: 1, ahead: false, relay: false, faults: 3 };
/// One resource, from its first row on, with more going wrong.
const ONE_RESOURCE: Shape =
    Shape { streams: 1, first: Word::Pending, standing: 0, vanishing: 0, ahead: false, relay: true, faults: 2 };

/// Only appends, each decided by memory where it can be, and ahead while another is being written.
const DECIDED_AHEAD: Shape =
    Shape { streams: 2, first: Word::Pending, standing: 2, vanishing: 1, ahead: true, relay: false, faults: 2 };

/// Visits every state, and fails with the shortest way to one that breaks a promise.
fn every_state(name: &str, shape: Shape) -> impl Checker<Protocol> {
    let checker = Protocol::new(None, shape).checker().spawn_bfs().join();
    let (states, steps) = (grouped(checker.unique_state_count()), grouped(checker.state_count()));
    println!("model: {name}: {states} states, {steps} steps, at most {} in a row", checker.max_depth());
    let properties = checker.model().properties();
    for promise in properties.iter().filter(|property| property.expectation.discovery_is_failure()) {
        checker.assert_no_discovery(promise.name);
    }
    let row = format!("| {states} | {steps} |");
    let told = page().lines().any(|line| line.starts_with(&format!("| {name} |")) && line.ends_with(&row));
    assert!(told, "docs/reliability/model.md tells of another number of states of {name:?}: it should end with {row}");
    checker
}

#[test]
fn all_at_once_every_state_keeps_every_promise() {
    // And whatever makes that worth knowing is among them.
    every_state("all at once", ALL_AT_ONCE).assert_properties();
}

#[test]
fn of_appends_every_state_keeps_every_promise() {
    every_state("appends", APPENDS);
}

#[test]
fn of_one_resource_every_state_keeps_every_promise() {
    every_state("one resource", ONE_RESOURCE);
}

#[test]
fn of_batches_decided_ahead_every_state_keeps_every_promise() {
    let checker = every_state("decided ahead", DECIDED_AHEAD);
    for reached in properties::ahead() {
        checker.assert_any_discovery(reached.name);
    }
}

#[test]
fn every_mistake_is_found_by_the_property_that_is_meant_for_it() {
    let mut missed = vec![];
    for (mutation, property) in Mutation::ALL {
        let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
        let shape = if mutation.is_of_deciding_ahead() { DECIDED_AHEAD } else { ALL_AT_ONCE };
        let checker = Protocol::new(Some(mutation), shape).checker().finish_when(found).spawn_bfs().join();
        match checker.discovery(property) {
            Some(path) => println!("{mutation:?}: found after {} steps", path.into_actions().len()),
            None => missed.push(format!("{mutation:?} is not found by {property:?}")),
        }
    }
    assert!(missed.is_empty(), "a property is blind:\n{}", missed.join("\n"));
}
