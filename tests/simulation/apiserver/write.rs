//! Making, changing and deleting objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    answer::{Answered, Refusal},
    request::Target,
    state::{Kept, Key, State},
};

/// What only the server writes.
const SERVERS_OWN: [&str; 6] =
    ["uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Kinds that count the changes of their specs.
fn counts_generations(target: &Target) -> bool {
    target.group.contains('.') && target.group.ends_with("trueup.dev")
        || matches!(target.plural.as_str(), "deployments" | "networkpolicies" | "jobs" | "ingresses")
}

/// Kinds whose status is written apart from the rest.
fn has_status(target: &Target) -> bool {
    target.group.ends_with("trueup.dev")
        || matches!(target.plural.as_str(), "namespaces" | "deployments" | "jobs" | "pods" | "resourcequotas")
}

/// Kinds whose deletion in the foreground waits for what they own. (Of the others Trueup makes nothing that owns.)
fn owns_others(target: &Target) -> bool {
    matches!(target.plural.as_str(), "deployments" | "jobs")
}

/// The finalizer that the garbage collector takes off.
const FOREGROUND: &str = "foregroundDeletion";

impl State {
    pub fn create(&mut self, target: &Target, mut object: Value, now: Value) -> Answered {
        let mut target = target.clone();
        if target.name.is_empty() {
            target.name = self.name_of(&target, &object)?;
        }
        self.require_namespace(&target)?;
        if self.objects.contains_key(&Key::of(&target)) {
            return Err(Refusal::exists(&target.what(), &target.name));
        }
        if has_status(&target) {
            take(&mut object, "status");
        }
        let metadata = &mut object["metadata"];
        for field in SERVERS_OWN {
            take(metadata, field);
        }
        metadata["name"] = json!(target.name);
        if let Some(namespace) = &target.namespace {
            metadata["namespace"] = json!(namespace);
        }
        metadata["uid"] = json!(self.new_uid(&Key::of(&target)));
        metadata["creationTimestamp"] = now;
        if counts_generations(&target) {
            metadata["generation"] = json!(1);
        }
        if target.is_namespace() {
            metadata["labels"]["kubernetes.io/metadata.name"] = json!(target.name);
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"]["phase"] = json!("Active");
        }
        Ok((201, self.put(Key::of(&target), Kept { object: Arc::new(object), ..Kept::default() })))
    }

    /// The name that an object gives itself, or one that is made up for it.
    fn name_of(&mut self, target: &Target, object: &Value) -> Result<String, Refusal> {
        match (object["metadata"]["name"].as_str(), object["metadata"]["generateName"].as_str()) {
            (Some(name), _) => Ok(name.to_owned()),
            (None, Some(beginning)) => Ok(format!("{beginning}{}", &self.new_uid(&Key::of(target))[31..])),
            (None, None) => {
                Err(Refusal::invalid("metadata.name: Required value: name or generateName is required".into()))
            }
        }
    }

    fn require_namespace(&self, target: &Target) -> Result<(), Refusal> {
        let Some(namespace) = &target.namespace else { return Ok(()) };
        let found = self.get(&Target::namespace(namespace))?;
        if found["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "{} \"{}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            target.what(),
            target.name
        )))
    }

    pub fn replace(&mut self, target: &Target, object: Value) -> Answered {
        let before = self.kept(target)?.clone();
        let asked = &object["metadata"]["resourceVersion"];
        if asked.is_string() && *asked != before.object["metadata"]["resourceVersion"] {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::conflict(&target.what(), &target.name, why));
        }
        Ok((200, self.update(target, before, object)))
    }

    pub fn json_patch(&mut self, target: &Target, patch: Value) -> Answered {
        let before = self.kept(target)?.clone();
        let operations: json_patch::Patch =
            serde_json::from_value(patch).map_err(|why| Refusal::bad(why.to_string()))?;
        let mut object = Value::clone(&before.object);
        json_patch::patch(&mut object, &operations)
            .map_err(|_| Refusal::invalid("the server rejected our request due to an error in our request".into()))?;
        Ok((200, self.update(target, before, object)))
    }

    pub fn merge_patch(&mut self, target: &Target, patch: &Value) -> Answered {
        let before = self.kept(target)?.clone();
        let mut object = Value::clone(&before.object);
        json_patch::merge(&mut object, patch);
        let asked = &patch["metadata"]["resourceVersion"];
        if asked.is_string() && *asked != before.object["metadata"]["resourceVersion"] {
            return self.replace(target, object);
        }
        Ok((200, self.update(target, before, object)))
    }

    /// Writes that part of `object` which the target is about; counts, and lets go of what nobody holds any more.
    pub fn update(&mut self, target: &Target, before: Kept, mut object: Value) -> Arc<Value> {
        let was = &before.object;
        if target.is_status() {
            let status = object["status"].take();
            object = Value::clone(was);
            object["status"] = status;
        } else if has_status(target) {
            match was.get("status") {
                Some(status) => object["status"] = status.clone(),
                None => drop(take(&mut object, "status")),
            }
        }
        for field in SERVERS_OWN {
            match was["metadata"].get(field) {
                Some(value) => object["metadata"][field] = value.clone(),
                None => drop(take(&mut object["metadata"], field)),
            }
        }
        // An empty list is none.
        if object["metadata"]["finalizers"].as_array().is_some_and(Vec::is_empty) {
            take(&mut object["metadata"], "finalizers");
        }
        if counts_generations(target) && !target.is_status() && object["spec"] != was["spec"] {
            object["metadata"]["generation"] = json!(was["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        let key = Key::of(target);
        let is_over = !object["metadata"]["deletionTimestamp"].is_null() && object["metadata"]["finalizers"].is_null();
        let object = Arc::new(object);
        if is_over && !target.is_namespace() {
            self.remove(&key);
            return object;
        }
        self.put(key, Kept { object, applied: before.applied })
    }

    pub fn delete(&mut self, target: &Target, options: &Value, now: Value) -> Answered {
        let Kept { object, applied } = self.kept(target)?.clone();
        let mut object = Value::clone(&object);
        let (asked, uid) = (&options["preconditions"]["uid"], &object["metadata"]["uid"].clone());
        if asked.is_string() && asked != uid {
            let why =
                format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", text(asked), text(uid));
            return Err(Refusal::conflict(&target.what(), &target.name, &why));
        }
        let key = Key::of(target);
        if options["propagationPolicy"] == "Foreground" && owns_others(target) {
            let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            if !finalizers.contains(&json!(FOREGROUND)) {
                finalizers.push(json!(FOREGROUND));
            }
            object["metadata"]["finalizers"] = json!(finalizers);
        }
        if object["metadata"]["finalizers"].is_null() && !target.is_namespace() {
            self.remove(&key);
            let details = json!({ "name": target.name, "group": target.group, "kind": target.plural, "uid": uid });
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            return Ok((200, Arc::new(status)));
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = now;
            if target.is_namespace() {
                object["status"]["phase"] = json!("Terminating");
            } else {
                object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            }
            if let Some(generation) = object["metadata"]["generation"].as_i64() {
                object["metadata"]["generation"] = json!(generation + 1);
            }
        }
        Ok((200, self.put(key, Kept { object: Arc::new(object), applied })))
    }

    /// Deletes what is in a namespace, and then the namespace; answers whether that is over.
    pub fn clear(&mut self, target: &Target, now: Value) -> bool {
        // Somebody who was faster may have ended it, and another may have its name.
        let is_going = |kept: &Kept| !kept.object["metadata"]["deletionTimestamp"].is_null();
        if !self.objects.get(&Key::of(target)).is_some_and(is_going) {
            return true;
        }
        let inside = |key: &&Key| key.namespace.as_deref() == Some(&target.name);
        let contents: Vec<Key> = self.objects.keys().filter(inside).cloned().collect();
        for Key { group, plural, namespace, name } in contents {
            let content = Target { group, plural, namespace, name, subresource: None };
            // It was there a moment ago, and nothing is asked of it.
            let _ = self.delete(&content, &Value::Null, now.clone());
        }
        if self.objects.keys().any(|key| inside(&key)) {
            return false;
        }
        self.remove(&Key::of(target));
        true
    }
}

/// Takes a field out of an object.
fn take(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
