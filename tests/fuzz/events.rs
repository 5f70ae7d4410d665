//! What is not the event that was sealed must not pass for it.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::Value;
use trueup::domain::{Event, Message};

use crate::{
    budget::{Checked, fuzz},
    inputs::{any_json, damaged, edited},
};

/// Every event ever written.
fn golden() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/events");
    fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn parsed() -> Vec<Value> {
    golden().iter().map(|body| serde_json::from_slice(body).unwrap()).collect()
}

/// Whether `body` is believed, and then whether it is one of those that were sealed.
fn check(body: &[u8]) -> Checked {
    let read = Message::read(body);
    if let Err(why) = &read {
        prop_assert!(!why.to_string().is_empty());
    }
    if let Ok(event) = Event::verify(body) {
        let sealed = golden().into_iter().any(|genuine| genuine == body);
        prop_assert!(sealed, "believed: {:?}", event);
    }
    Ok(())
}

#[test]
fn an_event_with_damaged_bytes_is_never_believed() {
    let all: Vec<_> = golden().into_iter().map(|body| damaged(body).boxed()).collect();
    fuzz("event-bytes", prop::strategy::Union::new(all), |body| check(&body));
}

#[test]
fn an_event_with_changed_fields_is_never_believed() {
    let inputs = prop_oneof![9 => edited(parsed()), 1 => any_json()];
    fuzz("event-fields", inputs, |event| {
        // Sealed events are canonical; so is what serde_json writes of a value that was one.
        check(&serde_json::to_vec(&event).unwrap())
    });
}
