//! What billing was promised is kept: every event ever written is valid under today's schemas, and today's schemas promise
//! all that the first ones did.
//!
//! Files under `tests/golden` are never changed and never removed; new ones are added. Those under `tests/vectors` are made
//! from `schemas/vectors.rs`, and every receiver that is shown anywhere has to answer them rightly.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

/// The example in the documentation of `trueup::receiver`.
#[path = "../src/receiver/example.rs"]
mod example;
#[path = "schemas/page.rs"]
mod page;
#[path = "schemas/promises.rs"]
mod promises;
#[path = "schemas/receivers.rs"]
mod receivers;
#[path = "schemas/vectors.rs"]
mod vectors;
#[path = "schemas/written.rs"]
mod written;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use trueup::domain::{Message, published};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The files of a folder, by name.
fn files(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    files.collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A validator for whole messages that knows the other schemas by their ids, and fetches nothing.
fn validator() -> jsonschema::Validator {
    let schemas: BTreeMap<String, Value> = published().into_iter().map(|one| (one.name, one.schema)).collect();
    let mut registry = jsonschema::Registry::new();
    for schema in schemas.values() {
        registry = registry.add(schema["$id"].as_str().unwrap(), schema.clone()).unwrap();
    }
    let registry = registry.prepare().unwrap();
    jsonschema::options().with_registry(&registry).build(&schemas["event.v1.json"]).unwrap()
}

#[test]
fn the_schemas_in_the_repository_are_those_of_the_types() {
    let committed = files("schemas");
    for one in published() {
        let wanted = serde_json::to_string_pretty(&one.schema).unwrap() + "\n";
        let found = committed.get(&one.name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(found == Some(wanted), "schemas/{} differs from the types; run `make schemas`", one.name);
    }
    assert_eq!(committed.len(), published().len(), "schemas/ holds a file that no type makes");
}

#[test]
fn every_event_that_was_ever_written_is_valid_and_can_be_read() {
    let validator = validator();
    for (name, body) in files("tests/golden/events") {
        let errors: Vec<String> =
            validator.iter_errors(&json(&body)).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name} is not valid any more: {errors:?}");
        Message::read(&body).unwrap_or_else(|fault| panic!("{name} cannot be read any more: {fault}"));
    }
}

#[test]
fn what_is_written_today_is_among_the_golden_events() {
    let golden = files("tests/golden/events");
    let new: Vec<String> = written::today()
        .into_iter()
        .filter(|(_, body)| golden.values().all(|known| known != body))
        .map(|(name, body)| format!("{name}: {}", String::from_utf8(body).unwrap()))
        .collect();
    assert!(
        new.is_empty(),
        "these are written otherwise than ever before. If that is wanted, and breaks no receiver, add each as a new file \
         tests/golden/events/NAME-N.json, without a line's end:\n{}",
        new.join("\n")
    );
}

#[test]
fn what_is_no_event_is_not_valid() {
    let validator = validator();
    let (_, body) = written::today().remove(0);
    let without = |pointer: &str, name: &str| {
        let mut event = json(&body);
        event.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        event
    };
    let with = |pointer: &str, value: Value| {
        let mut event = json(&body);
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    assert!(validator.is_valid(&json(&body)));
    for wrong in [
        without("", "id"),
        without("/data", "hash"),
        without("/data/billable", "replicas"),
        with("/data/billable/cpuMillicores", 5.into()),
        with("/data/effectiveAt", "2026-01-01T00:00:00Z".into()),
        with("/data/sequence", 0.into()),
        with("/data/timeSource", "guessed".into()),
        with("/data/hash", Value::Null),
        with("/type", "dev.trueup.void.v1".into()),
        with("/type", "dev.trueup.tenant.transition.v2".into()),
        with("/specversion", "0.3".into()),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn todays_schemas_promise_all_that_was_promised_first() {
    let today: BTreeMap<String, Value> = published().into_iter().map(|one| (one.name, one.schema)).collect();
    let frozen = files("tests/golden/schemas");
    for (name, schema) in &frozen {
        let new = today.get(name).unwrap_or_else(|| panic!("{name} is not published any more"));
        let broken = promises::broken(&json(schema), new);
        assert!(
            broken.is_empty(),
            "{name} promises less than it did, which breaks who relies on it: {broken:#?}\nPublish a v2 beside it."
        );
    }
    for name in today.keys() {
        assert!(frozen.contains_key(name), "{name} is new: freeze it as tests/golden/schemas/{name}");
    }
}
