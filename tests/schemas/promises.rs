//! What a schema promises to those who read what it describes, and whether another one still does.
//!
//! A reader is broken by what it relied on and is not there: a field that is gone or may be missing, a value of another
//! type or of a wider range. A field more, a field that may no longer be missing, a narrower range break nobody.

use std::collections::BTreeSet;

use serde_json::Value;

/// The promises of `old` that `new` does not make, each with the place of the field.
pub fn broken(old: &Value, new: &Value) -> Vec<String> {
    let mut found = vec![];
    compare("", old, new, &mut found);
    found
}

fn compare(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let mut say = |what: String| found.push(format!("{}: {what}", if place.is_empty() { "/" } else { place }));
    let gained: Vec<String> = types(new).difference(&types(old)).cloned().collect();
    if !gained.is_empty() {
        say(format!("may be {} now", gained.join(" or ")));
    }
    // Texts that bind a reader as they stand: a change may be wider, and nobody can tell.
    for keyword in ["$id", "const", "pattern", "format", "$ref"] {
        if !old[keyword].is_null() && old[keyword] != new[keyword] {
            say(format!("{keyword} was {} and is {}", old[keyword], new[keyword]));
        }
    }
    match (values(old), values(new)) {
        (Some(_), None) => say("may be anything now, and was one of a few".to_owned()),
        (Some(before), Some(after)) if !after.is_subset(&before) => say(format!("may be one of {after:?} now")),
        _ => {}
    }
    let bound = |schema: &Value, keyword: &str| schema[keyword].as_f64();
    for (keyword, sign) in [("minimum", 1.0), ("maximum", -1.0), ("minLength", 1.0), ("maxLength", -1.0)] {
        if let Some(before) = bound(old, keyword)
            && bound(new, keyword).is_none_or(|after| after * sign < before * sign)
        {
            say(format!("{keyword} was {before} and is {}", new[keyword]));
        }
    }
    for name in names(&old["required"]).difference(&names(&new["required"])) {
        say(format!("{name} may be missing now"));
    }
    for (name, before) in old["properties"].as_object().into_iter().flatten() {
        let inner = format!("{place}/{name}");
        match new["properties"].get(name) {
            None => found.push(format!("{inner}: is not promised any more")),
            Some(after) => compare(&inner, before, after, found),
        }
    }
    // Alternatives are compared one by one, in their order: only the new schema's last ones may be new.
    if values(old).is_none() {
        for (index, before) in old["oneOf"].as_array().into_iter().flatten().enumerate() {
            compare(&format!("{place}(alternative {index})"), before, &new["oneOf"][index], found);
        }
    }
}

fn types(schema: &Value) -> BTreeSet<String> {
    match &schema["type"] {
        Value::Null => BTreeSet::new(),
        one @ Value::String(_) => names(&Value::Array(vec![one.clone()])),
        several => names(several),
    }
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The only values that are allowed, where there is a list of them.
fn values(schema: &Value) -> Option<BTreeSet<String>> {
    if schema["enum"].is_array() {
        return Some(names(&schema["enum"]));
    }
    let alternatives = schema["oneOf"].as_array()?;
    alternatives.iter().map(|one| one["const"].as_str().map(str::to_owned)).collect()
}

mod tests {
    use serde_json::{Value, json};

    use super::broken;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["at", "state"],
            "properties": {
                "at": { "type": "string", "format": "date-time", "pattern": "Z$" },
                "from": { "type": ["string", "null"] },
                "sequence": { "type": "integer", "minimum": 1 },
                "state": { "type": "string" },
                "source": { "oneOf": [{ "const": "a" }, { "const": "b" }] },
                "inner": { "type": "object", "required": ["x"], "properties": { "x": { "type": "string" } } },
            },
        })
    }

    fn changed(pointer: &str, value: Value) -> Vec<String> {
        let mut new = schema();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        new.pointer_mut(parent).unwrap()[name] = value;
        broken(&schema(), &new)
    }

    #[test]
    fn what_breaks_a_reader_is_found() {
        for (pointer, value, expected) in [
            ("/required", json!(["at"]), "/: state may be missing now"),
            ("/properties/state/type", json!("integer"), "/state: may be integer now"),
            ("/properties/state/type", json!(["string", "null"]), "/state: may be null now"),
            ("/properties/at/format", Value::Null, "/at: format was \"date-time\" and is null"),
            ("/properties/at/pattern", json!(".*"), "/at: pattern was \"Z$\" and is \".*\""),
            ("/properties/sequence/minimum", json!(0), "/sequence: minimum was 1 and is 0"),
            ("/properties/source", json!({ "type": "string" }), "/source: may be string now"),
            ("/properties/source/oneOf", json!([{ "const": "c" }]), "/source: may be one of {\"c\"} now"),
            ("/properties/inner/required", json!([]), "/inner: x may be missing now"),
            ("/properties/inner/properties", json!({}), "/inner/x: is not promised any more"),
        ] {
            let found = changed(pointer, value);
            assert!(found.iter().any(|said| said == expected), "{pointer}: {found:?}");
        }
        let mut without = schema();
        without["properties"].as_object_mut().unwrap().remove("from");
        assert_eq!(broken(&schema(), &without), ["/from: is not promised any more"]);
    }

    #[test]
    fn what_breaks_nobody_is_let_pass() {
        assert_eq!(broken(&schema(), &schema()), [""; 0]);
        for (pointer, value) in [
            ("/properties/more", json!({ "type": "string" })),
            ("/required", json!(["at", "state", "from"])),
            ("/properties/from/type", json!("string")),
            ("/properties/sequence/minimum", json!(2)),
            ("/properties/source/oneOf", json!([{ "const": "b" }])),
            ("/properties/state/description", json!("words")),
        ] {
            assert_eq!(changed(pointer, value), [""; 0], "{pointer}");
        }
    }
}
