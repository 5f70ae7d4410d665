//! What was written, and what the API server made of it.
//!
//! A cache may predate our own write: A, then B, then A again, and the cache that still shows the first A would pass for
//! the last. So the version of every write is kept, and a cache that shows an older one is not believed. And what came
//! back is remembered as the answer to what was sent, so that what a webhook made of it is not fought over for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{ResourceExt as _, core::DynamicObject};

use crate::{
    cluster::OwnerKey,
    lifecycle::{Child, ObjectKey},
};

#[derive(Clone, Debug)]
struct Answer {
    version: u64,
    generation: Option<i64>,
    digest: Option<String>,
}

/// The newest answer to a write of each child, by this process; and of each of Trueup's own objects, until the cache has it.
#[derive(Default)]
pub struct Written {
    answers: Mutex<HashMap<OwnerKey, HashMap<ObjectKey, Answer>>>,
    own: Mutex<HashMap<OwnerKey, DynamicObject>>,
}

impl Written {
    /// Remembers what a write made of one of Trueup's own objects.
    pub(super) fn note_own(&self, key: &OwnerKey, object: &DynamicObject) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), object.clone());
    }

    /// Forgets one of Trueup's own objects, which is gone.
    pub(super) fn forget_own(&self, key: &OwnerKey) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The newer of what the cache shows and what was written: a condition that is judged by an older one would change its
    /// time without changing.
    pub(super) fn newest(&self, key: &OwnerKey, cached: &DynamicObject) -> DynamicObject {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = own.get(key).filter(|known| known.uid() == cached.uid() && number(known) > number(cached));
        if let Some(known) = newer {
            return known.clone();
        }
        own.remove(key);
        cached.clone()
    }

    /// Remembers what a write made of `child`.
    pub(super) fn note(&self, owner: &OwnerKey, child: &Child) {
        let answer = Answer { version: version(child), generation: generation(child), digest: child.answer_to.clone() };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.entry(owner.clone()).or_default().insert(child.key.clone(), answer);
    }

    /// Forgets a child that is gone.
    pub(super) fn forget(&self, owner: &OwnerKey, key: &ObjectKey) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = answers.get_mut(owner) {
            keys.remove(key);
            if keys.is_empty() {
                answers.remove(owner);
            }
        }
    }

    /// Marks those of `cached` whose content is still the answer to what was sent; answers which the cache shows in an
    /// older version than was written, or not at all.
    pub(super) fn compare(&self, owner: &OwnerKey, cached: &mut [Child]) -> Vec<ObjectKey> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = answers.get(owner) else { return vec![] };
        let mut behind = vec![];
        for (key, answer) in keys {
            match cached.iter_mut().find(|child| child.key == *key) {
                Some(child) if version(child) >= answer.version => {
                    // Kinds that count generations tell a changed spec from a changed status; the others don't.
                    let same = match answer.generation {
                        Some(generation) => self::generation(child) == Some(generation),
                        None => version(child) == answer.version,
                    };
                    child.answer_to = answer.digest.clone().filter(|_| same);
                }
                _ => behind.push(key.clone()),
            }
        }
        behind
    }
}

/// Resource versions are comparable numbers since Kubernetes 1.35, and were in practice before.
fn version(child: &Child) -> u64 {
    child.body["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn number(object: &DynamicObject) -> u64 {
    object.resource_version().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn generation(child: &Child) -> Option<i64> {
    child.body["metadata"]["generation"].as_i64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{cluster::CustomKind, lifecycle::ChildKind};

    fn object(uid: &str, version: &str, state: &str) -> DynamicObject {
        let metadata = json!({ "name": "acme", "uid": uid, "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": metadata, "status": { "state": state } })).unwrap()
    }

    #[test]
    fn a_cache_that_has_not_heard_of_our_last_write_is_not_believed() {
        let key = OwnerKey { kind: CustomKind::Tenant, namespace: None, name: "acme".into() };
        let written = Written::default();
        let state = |cached: DynamicObject| written.newest(&key, &cached).data["status"]["state"].clone();
        assert_eq!(state(object("a", "9", "Active")), "Active", "nothing was written");

        written.note_own(&key, &object("a", "10", "Degraded"));
        assert_eq!(state(object("a", "9", "Active")), "Degraded");
        assert_eq!(state(object("a", "9", "Active")), "Degraded", "also when it is asked again");
        assert_eq!(state(object("a", "11", "Suspended")), "Suspended", "it has caught up");

        written.note_own(&key, &object("a", "12", "Terminating"));
        assert_eq!(state(object("b", "8", "Provisioning")), "Provisioning", "another object of the same name");
    }

    #[test]
    fn a_child_that_the_cache_shows_as_it_was_before_our_write_is_read_anew() {
        let owner = OwnerKey { kind: CustomKind::Tenant, namespace: None, name: "acme".into() };
        let key = ObjectKey { kind: ChildKind::Namespace, namespace: None, name: "acme-prod".into() };
        let child = |version: &str| {
            let body = json!({ "metadata": { "resourceVersion": version } });
            Child { key: key.clone(), body, answer_to: Some("of what was sent".into()) }
        };
        let written = Written::default();
        let compare = |cached: &[Child]| {
            let mut cached = cached.to_vec();
            let behind = written.compare(&owner, &mut cached);
            (behind, cached.into_iter().next().and_then(|child| child.answer_to).is_some())
        };
        assert_eq!(compare(&[child("9")]), (vec![], true), "nothing was written");

        written.note(&owner, &child("10"));
        assert_eq!(compare(&[child("9")]).0, std::slice::from_ref(&key));
        assert_eq!(compare(&[]).0, std::slice::from_ref(&key), "nor does it show that it is there");
        assert_eq!(compare(&[child("10")]), (vec![], true), "it has caught up");
        assert_eq!(compare(&[child("11")]), (vec![], false), "and what somebody changed since is no answer to us");

        written.forget(&owner, &key);
        assert_eq!(compare(&[]).0, []);
    }
}
