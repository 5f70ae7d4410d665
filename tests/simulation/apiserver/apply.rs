//! Server-side apply, in the simple form that Trueup uses: whole lists, and few managers.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    answer::{Answered, Refusal},
    request::Target,
    state::{Kept, Key, State},
};

impl State {
    /// Makes what `manager` says so, and takes away what it said before and does not say any more.
    pub fn apply(&mut self, target: &Target, wanted: Value, manager: &str, force: bool, now: Value) -> Answered {
        if !self.objects.contains_key(&Key::of(target)) {
            let (code, object) = self.create(target, wanted.clone(), now)?;
            self.remember(target, manager, wanted);
            return Ok((code, object));
        }
        let before = self.kept(target)?.clone();
        if !force && let Some((other, field)) = contradicted(&before, &wanted, manager) {
            let message = format!("Apply failed with 1 conflict: conflict with \"{other}\": .{field}");
            return Err(Refusal { code: 409, reason: "Conflict", message });
        }
        let mut object = Value::clone(&before.object);
        if let Some(said) = before.applied.get(manager) {
            withdraw(&mut object, said, &wanted);
        }
        merge(&mut object, &wanted);
        let applied = self.update(target, before, object);
        self.remember(target, manager, wanted);
        Ok((200, applied))
    }

    fn remember(&mut self, target: &Target, manager: &str, wanted: Value) {
        if let Some(kept) = self.objects.get_mut(&Key::of(target)) {
            Arc::make_mut(&mut kept.applied).insert(manager.to_owned(), wanted);
        }
    }
}

/// A field of another manager that `wanted` would change.
fn contradicted(before: &Kept, wanted: &Value, manager: &str) -> Option<(String, String)> {
    let others = before.applied.iter().filter(|(other, _)| *other != manager);
    others.into_iter().find_map(|(other, said)| Some((other.clone(), difference(said, wanted, "")?)))
}

fn difference(said: &Value, wanted: &Value, path: &str) -> Option<String> {
    match (said, wanted) {
        (Value::Object(said), Value::Object(wanted)) => {
            let name = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
            said.iter().find_map(|(field, said)| difference(said, wanted.get(field)?, &name(field)))
        }
        _ => (said != wanted).then(|| path.to_owned()),
    }
}

/// Takes out of `object` what `said` holds and `wanted` does not.
fn withdraw(object: &mut Value, said: &Value, wanted: &Value) {
    let (Value::Object(fields), Value::Object(said)) = (object, said) else { return };
    let nothing = Map::new();
    let wanted = wanted.as_object().unwrap_or(&nothing);
    for (name, said) in said {
        match (fields.get_mut(name), wanted.get(name)) {
            (Some(field), Some(wanted)) => withdraw(field, said, wanted),
            (Some(field), None) if said.is_object() => {
                withdraw(field, said, &Value::Null);
                if field.as_object().is_some_and(Map::is_empty) {
                    fields.remove(name);
                }
            }
            (Some(_), None) => drop(fields.remove(name)),
            (None, _) => {}
        }
    }
}

fn merge(object: &mut Value, wanted: &Value) {
    match (object, wanted) {
        (Value::Object(fields), Value::Object(wanted)) => {
            for (name, wanted) in wanted {
                merge(fields.entry(name).or_insert(Value::Null), wanted);
            }
        }
        (object, wanted) => *object = wanted.clone(),
    }
}
