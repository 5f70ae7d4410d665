//! What was written, and what the API server made of it.
//!
//! A cache may predate our own write: A, then B, then A again, and the cache that still shows the first A would pass for
//! the last. So the version of every write is kept, and a cache that shows an older one is not believed. And what came
//! back is remembered as the answer to what was sent, so that what a webhook made of it is not fought over for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

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

/// The newest answer to a write of each child, by this process.
#[derive(Default)]
pub struct Written {
    answers: Mutex<HashMap<OwnerKey, HashMap<ObjectKey, Answer>>>,
}

impl Written {
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

fn generation(child: &Child) -> Option<i64> {
    child.body["metadata"]["generation"].as_i64()
}
