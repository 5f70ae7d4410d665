//! What was written and not yet seen by the watches.
//!
//! A cache may predate our own write: A, then B, then A again, and the cache that still shows the first A would pass for
//! the last. So every write's resource version is kept until a watch has caught up with it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    cluster::OwnerKey,
    lifecycle::{Child, ObjectKey},
};

/// The newest version of each child that this process wrote.
#[derive(Default)]
pub struct Written {
    versions: Mutex<HashMap<OwnerKey, HashMap<ObjectKey, u64>>>,
}

impl Written {
    /// Remembers what a write made of `child`.
    pub(super) fn note(&self, owner: &OwnerKey, child: &Child) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.entry(owner.clone()).or_default().insert(child.key.clone(), version(child));
    }

    /// Forgets a child that is gone.
    pub(super) fn forget(&self, owner: &OwnerKey, key: &ObjectKey) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = versions.get_mut(owner) {
            keys.remove(key);
            if keys.is_empty() {
                versions.remove(owner);
            }
        }
    }

    /// The children that `cached` shows in an older version than was written, or not at all.
    pub(super) fn behind(&self, owner: &OwnerKey, cached: &[Child]) -> Vec<ObjectKey> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = versions.get_mut(owner) else { return vec![] };
        keys.retain(|key, written| {
            let seen = cached.iter().find(|child| child.key == *key).map(version);
            seen.is_none_or(|seen| seen < *written)
        });
        let behind = keys.keys().cloned().collect();
        if keys.is_empty() {
            versions.remove(owner);
        }
        behind
    }
}

/// Resource versions are comparable numbers since Kubernetes 1.35, and were in practice before.
fn version(child: &Child) -> u64 {
    child.body["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}
