//! What was made for whom: every watched child, found by its owner in constant time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use kube::{ResourceExt, core::DynamicObject};

use super::resources::CustomKind;
use crate::{
    api::label,
    lifecycle::{Child, ChildKind, ObjectKey},
};

/// An object of Trueup's own kinds, by name: what children carry in their labels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnerKey {
    /// Its kind.
    pub kind: CustomKind,
    /// Its namespace, where its kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.name(), self.name),
            None => write!(f, "{} {}", self.kind.name(), self.name),
        }
    }
}

impl OwnerKey {
    /// Who `object` says that it was made for.
    pub fn of(object: &DynamicObject) -> Option<Self> {
        let labels = object.metadata.labels.as_ref()?;
        let namespace = object.metadata.namespace.clone();
        if let Some(name) = labels.get(label::APP) {
            return Some(Self { kind: CustomKind::AppDeployment, namespace, name: name.clone() });
        }
        if let Some(name) = labels.get(label::BACKUP) {
            return Some(Self { kind: CustomKind::Backup, namespace, name: name.clone() });
        }
        let name = labels.get(label::TENANT)?;
        Some(Self { kind: CustomKind::Tenant, namespace: None, name: name.clone() })
    }
}

/// What kind of thing is in the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Indexed {
    Child(ChildKind),
    Pod,
}

type Place = (Indexed, Option<String>, String);

#[derive(Default)]
struct Inner {
    objects: HashMap<Place, Arc<DynamicObject>>,
    by_owner: HashMap<OwnerKey, BTreeSet<Place>>,
    /// What a watch that starts over has shown so far.
    fresh: BTreeMap<Indexed, BTreeSet<Place>>,
}

/// The children of everything.
#[derive(Default)]
pub struct Index {
    inner: RwLock<Inner>,
}

impl Index {
    /// Everything of `kind` that was made for `owner`.
    pub fn children(&self, owner: &OwnerKey, kinds: &[ChildKind]) -> Vec<Child> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let places = inner.by_owner.get(owner).into_iter().flatten();
        places
            .filter_map(|place| match place.0 {
                Indexed::Child(kind) if kinds.contains(&kind) => inner.objects.get(place).map(|object| (kind, object)),
                _ => None,
            })
            .filter_map(|(kind, object)| to_child(kind, object))
            .collect()
    }

    /// The pods that were made for `owner`.
    pub fn pods(&self, owner: &OwnerKey) -> Vec<Arc<DynamicObject>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let places = inner.by_owner.get(owner).into_iter().flatten();
        places.filter(|place| place.0 == Indexed::Pod).filter_map(|place| inner.objects.get(place).cloned()).collect()
    }

    /// A namespace, if it carries a tenant's label.
    pub fn namespace(&self, name: &str) -> Option<Arc<DynamicObject>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.objects.get(&(Indexed::Child(ChildKind::Namespace), None, name.to_owned())).cloned()
    }

    /// Takes in an object; answers who it concerns.
    pub(super) fn put(&self, kind: Indexed, object: DynamicObject) -> Vec<OwnerKey> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let place = place(kind, &object);
        if let Some(fresh) = inner.fresh.get_mut(&kind) {
            fresh.insert(place.clone());
        }
        let mut touched = vec![];
        if let Some(owner) = inner.objects.get(&place).and_then(|old| OwnerKey::of(old)) {
            inner.forget(&owner, &place);
            touched.push(owner);
        }
        if let Some(owner) = OwnerKey::of(&object) {
            inner.by_owner.entry(owner.clone()).or_default().insert(place.clone());
            if !touched.contains(&owner) {
                touched.push(owner);
            }
        }
        inner.objects.insert(place, Arc::new(object));
        touched
    }

    /// Takes out an object; answers who it concerns.
    pub(super) fn remove(&self, kind: Indexed, object: &DynamicObject) -> Vec<OwnerKey> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.take(&place(kind, object)).into_iter().collect()
    }

    /// A watch starts over: what it does not show again until `end_list` is gone.
    pub(super) fn begin_list(&self, kind: Indexed) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).fresh.insert(kind, BTreeSet::new());
    }

    /// The watch has shown everything; answers who was concerned by what is gone.
    pub(super) fn end_list(&self, kind: Indexed) -> Vec<OwnerKey> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let Some(fresh) = inner.fresh.remove(&kind) else { return vec![] };
        let gone: Vec<Place> =
            inner.objects.keys().filter(|place| place.0 == kind && !fresh.contains(place)).cloned().collect();
        gone.iter().filter_map(|place| inner.take(place)).collect()
    }
}

impl Inner {
    fn forget(&mut self, owner: &OwnerKey, place: &Place) {
        if let Some(places) = self.by_owner.get_mut(owner) {
            places.remove(place);
            if places.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }

    fn take(&mut self, place: &Place) -> Option<OwnerKey> {
        let owner = self.objects.remove(place).and_then(|old| OwnerKey::of(&old))?;
        self.forget(&owner, place);
        Some(owner)
    }
}

fn place(kind: Indexed, object: &DynamicObject) -> Place {
    (kind, object.metadata.namespace.clone(), object.name_any())
}

/// An object of the API as `lifecycle` sees it.
pub(super) fn to_child(kind: ChildKind, object: &DynamicObject) -> Option<Child> {
    let key = ObjectKey { kind, namespace: object.metadata.namespace.clone(), name: object.name_any() };
    serde_json::to_value(object).ok().map(|body| Child { key, body, answer_to: None })
}
