//! Whether what is wanted is already so.

use serde_json::{Map, Value};

use crate::api::Quantity;

/// Maps below these keys hold quantities, which the API server rewrites: `1000m` comes back as `1`.
const QUANTITY_MAPS: [&str; 7] = ["requests", "limits", "hard", "default", "defaultRequest", "min", "max"];

/// Whether `observed` says everything that `desired` says. It may say more: defaults, and others' fields.
///
/// Lists must have the same length, element by element in order: an element more is a difference that matters.
pub fn contained(desired: &Value, observed: &Value) -> bool {
    inside(desired, observed, false)
}

fn inside(desired: &Value, observed: &Value, quantities: bool) -> bool {
    match (desired, observed) {
        (Value::Object(wanted), Value::Object(seen)) => object_inside(wanted, seen, quantities),
        (Value::Array(wanted), Value::Array(seen)) => {
            wanted.len() == seen.len() && wanted.iter().zip(seen).all(|(wanted, seen)| inside(wanted, seen, quantities))
        }
        (Value::String(wanted), Value::String(seen)) if quantities => wanted == seen || same_amount(wanted, seen),
        _ => desired == observed,
    }
}

fn object_inside(wanted: &Map<String, Value>, seen: &Map<String, Value>, quantities: bool) -> bool {
    wanted.iter().all(|(key, value)| {
        let quantities = quantities || QUANTITY_MAPS.contains(&key.as_str());
        match seen.get(key) {
            Some(found) => inside(value, found, quantities),
            // The API server leaves out what is empty.
            None => is_empty(value),
        }
    })
}

/// What Go's encoding drops from a field that is not a pointer.
///
/// `false` is not among it: where Trueup says it, the field is a pointer, and left out it means true. Somebody who takes
/// `allowPrivilegeEscalation: false` out of a container has changed it.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(_) => false,
    }
}

fn same_amount(one: &str, other: &str) -> bool {
    let amount = |text: &str| Quantity(text.to_owned()).millis().ok();
    amount(one).is_some_and(|one| amount(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_added_is_no_difference() {
        assert!(contained(&json!({"a": {"b": 1}}), &json!({"a": {"b": 1, "default": 2}, "c": 3})));
        assert!(contained(&json!({"a": [], "b": {}, "c": null, "d": "", "e": 0}), &json!({})));
    }

    #[test]
    fn a_changed_value_a_missing_one_and_a_list_of_another_length_are_differences() {
        assert!(!contained(&json!({"a": 1}), &json!({"a": 2})));
        assert!(!contained(&json!({"a": 0}), &json!({"a": 1})));
        assert!(!contained(&json!({"a": false}), &json!({})));
        assert!(!contained(&json!({"a": [1]}), &json!({"a": [1, 2]})));
    }

    #[test]
    fn quantities_are_compared_by_amount_and_nothing_else_is() {
        let wanted = json!({"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}});
        assert!(contained(&wanted, &json!({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}})));
        assert!(!contained(&json!({"env": [{"value": "1000m"}]}), &json!({"env": [{"value": "1"}]})));
    }
}
