//! What is meant: one resource, with all that is its, or everything.

use std::collections::BTreeSet;

use kube::Client;

use super::unanswered;
use crate::{
    cli::{Failure, describe, resource::Resource},
    cluster::{self, CustomKind, Listed, OwnerKey},
    domain::Kind,
    lifecycle::mandate::Said,
};

/// What is meant.
pub enum Scope {
    /// The whole installation.
    Everything,
    /// One object.
    One {
        /// Which.
        key: OwnerKey,
        /// What is said of it now.
        said: Said,
        /// If it is a Tenant: its namespaces, in which it holds for everything.
        namespaces: BTreeSet<String>,
    },
}

impl Scope {
    /// One object, which must be there.
    pub async fn one(client: &Client, resource: &Resource) -> Result<Self, Failure> {
        let (key, name) = (resource.key(), resource.in_words());
        let found =
            cluster::said_of(client, &key).await.map_err(|error| unanswered(&format!("reading {name}"), &error))?;
        let found = found.filter(|(uid, _)| resource.may_be(uid));
        let (_, said) = found.ok_or_else(|| {
            Failure::usage(&format!("the cluster has no such {name}; is the name right, and its namespace?"))
        })?;
        let namespaces = match key.kind {
            CustomKind::Tenant => cluster::namespaces_of(client, &key.name)
                .await
                .map_err(|error| unanswered(&format!("listing the namespaces of {name}"), &error))?,
            _ => BTreeSet::new(),
        };
        Ok(Self::One { key, said, namespaces })
    }

    pub const fn is_everything(&self) -> bool {
        matches!(self, Self::Everything)
    }

    /// Whether `listed` is the one that is named.
    pub fn names(&self, listed: &Listed) -> bool {
        let Self::One { key, .. } = self else { return false };
        let shown = &listed.shown;
        key.kind == CustomKind::of(shown.kind) && key.namespace == shown.namespace && key.name == shown.name
    }

    /// Whether `listed` is meant.
    pub fn has(&self, listed: &Listed) -> bool {
        let Self::One { namespaces, .. } = self else { return true };
        let namespace = &listed.shown.namespace;
        self.names(listed) || namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace))
    }

    pub fn in_words(&self) -> String {
        match self {
            Self::Everything => "the whole installation".to_owned(),
            Self::One { key, .. } => in_words(key),
        }
    }
}

fn in_words(key: &OwnerKey) -> String {
    let kind = Kind::ALL.into_iter().find(|kind| CustomKind::of(*kind) == key.kind);
    kind.map_or_else(|| key.name.clone(), |kind| describe::resource(kind, key.namespace.as_deref(), &key.name))
}
