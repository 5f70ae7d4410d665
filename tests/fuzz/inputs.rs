//! What is tried: anything at all, and good input with something wrong in it.

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Map, Value, json};

/// Any JSON, up to a few levels deep, with the values that people get wrong.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((text(), inner), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Texts: short ones of all characters, and those that mean something somewhere.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        1 => prop::sample::select(vec![
            "", " ", "0", "-1", "1e400", "100m", "1Gi", "9223372036854775808", "..", "a/b", "\0", "\u{202e}", "true", "null",
            "2026-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "-009999-01-01T00:00:00Z", "whsec_", "http://", "PT1S",
        ]).prop_map(str::to_owned),
        1 => (1..3_000_usize).prop_map(|length| "x".repeat(length)),
    ]
}

/// Something done to one place of a document.
#[derive(Clone, Debug)]
pub enum Edit {
    Replace(Value),
    Remove,
    Rename(String),
    Add(String, Value),
}

fn edit() -> impl Strategy<Value = (Index, Edit)> {
    let edit = prop_oneof![
        3 => any_json().prop_map(Edit::Replace),
        1 => Just(Edit::Remove),
        1 => text().prop_map(Edit::Rename),
        1 => (text(), any_json()).prop_map(|(name, value)| Edit::Add(name, value)),
    ];
    (any::<Index>(), edit)
}

/// One of `documents`, with a few places changed.
pub fn edited(documents: Vec<Value>) -> impl Strategy<Value = Value> {
    (prop::sample::select(documents), vec(edit(), 0..4)).prop_map(|(mut document, edits)| {
        for (place, edit) in edits {
            let places = places(&document, String::new());
            apply(&mut document, &places[place.index(places.len())], edit);
        }
        document
    })
}

/// Where something stands in a document, as JSON pointers.
fn places(value: &Value, here: String) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => vec![],
    };
    let deeper: Vec<String> =
        below.into_iter().flat_map(|(name, value)| places(value, format!("{here}/{name}"))).collect();
    [here].into_iter().chain(deeper).collect()
}

fn apply(document: &mut Value, place: &str, edit: Edit) {
    let (above, name) = place.rsplit_once('/').unwrap_or_default();
    let name = name.replace("~1", "/").replace("~0", "~");
    match edit {
        Edit::Replace(value) => *document.pointer_mut(place).unwrap() = value,
        Edit::Add(name, value) => match document.pointer_mut(place).unwrap() {
            Value::Object(fields) => drop(fields.insert(name, value)),
            Value::Array(items) => items.push(value),
            other => *other = json!([other.take(), value]),
        },
        Edit::Remove | Edit::Rename(_) if place.is_empty() => *document = Value::Null,
        Edit::Remove => match document.pointer_mut(above).unwrap() {
            Value::Object(fields) => drop(fields.remove(&name)),
            Value::Array(items) => drop(items.pop()),
            _ => {}
        },
        Edit::Rename(to) => {
            if let Value::Object(fields) = document.pointer_mut(above).unwrap() {
                let value = fields.remove(&name).unwrap();
                fields.insert(to, value);
            }
        }
    }
}

/// Bytes with some of them changed, removed or put in.
pub fn damaged(original: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    vec((any::<Index>(), 0..3_u8, any::<u8>()), 1..4).prop_map(move |damages| {
        let mut bytes = original.clone();
        for (place, what, byte) in damages {
            let place = place.index(bytes.len().max(1));
            match what {
                0 if place < bytes.len() => bytes[place] = byte,
                1 if place < bytes.len() => drop(bytes.remove(place)),
                _ => bytes.insert(place, byte),
            }
        }
        bytes
    })
}
