//! Which resource is meant, as people name it on a command line.

use std::collections::BTreeSet;

use super::{Failure, describe, reading};
use crate::{
    cluster::{CustomKind, OwnerKey},
    domain::{Kind, Uid},
    ledger::{Head, RowQuery, Store},
};

/// The arguments that name one.
#[derive(Clone, Debug, clap::Args)]
pub struct Named {
    /// What it is: tenant, appdeployment or backup, or as kubectl abbreviates them.
    #[arg(value_parser = clap::value_parser!(Kind))]
    kind: Kind,
    /// What it is called: NAME, or NAMESPACE/NAME.
    name: String,
    /// Its namespace.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only the object with this UID.
    #[arg(long)]
    uid: Option<String>,
}

/// The arguments that name one, or none.
#[derive(Clone, Debug, clap::Args)]
pub struct PerhapsNamed {
    /// What it is: tenant, appdeployment or backup, or as kubectl abbreviates them.
    #[arg(value_parser = clap::value_parser!(Kind), requires = "name")]
    kind: Option<Kind>,
    /// What it is called: NAME, or NAMESPACE/NAME.
    name: Option<String>,
    /// Its namespace.
    #[arg(short, long, requires = "kind")]
    namespace: Option<String>,
    /// Only the object with this UID.
    #[arg(long, requires = "kind")]
    uid: Option<String>,
}

impl PerhapsNamed {
    /// The one that is named, if one is.
    pub fn named(self) -> Option<Named> {
        let Self { kind, name, namespace, uid } = self;
        Some(Named { kind: kind?, name: name?, namespace, uid })
    }
}

impl Named {
    /// What is meant, if that makes sense.
    pub fn resolve(self) -> Result<Resource, Failure> {
        let Self { kind, name, namespace, uid } = self;
        let (namespace, name) = match (namespace, name.split_once('/')) {
            (None, Some((namespace, name))) => (Some(namespace.to_owned()), name.to_owned()),
            (Some(_), Some(_)) => {
                return Err(Failure::usage(&"the namespace is given twice; leave out one of the two"));
            }
            (namespace, None) => (namespace, name),
        };
        match (kind, &namespace) {
            (Kind::Tenant, Some(_)) => Err(Failure::usage(&"a Tenant is in no namespace; leave the namespace out")),
            (Kind::AppDeployment | Kind::Backup, None) => {
                Err(Failure::usage(&format!("which {kind}? Say -n NAMESPACE, or name it NAMESPACE/{name}")))
            }
            _ => Ok(Resource { kind, namespace, name, uid: uid.map(Uid::new) }),
        }
    }
}

#[cfg(test)]
impl Named {
    /// As if it had been typed.
    pub fn of(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.to_owned(), namespace: None, uid: None }
    }
}

/// A resource, or all that ever had its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    kind: Kind,
    namespace: Option<String>,
    name: String,
    uid: Option<Uid>,
}

impl Resource {
    /// `AppDeployment acme-prod/web`.
    pub fn in_words(&self) -> String {
        describe::resource(self.kind, self.namespace.as_deref(), &self.name)
    }

    /// The object of that name in the cluster.
    pub fn key(&self) -> OwnerKey {
        OwnerKey { kind: CustomKind::of(self.kind), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// As it is typed: `appdeployment acme-prod/web`.
    pub fn typed(&self) -> String {
        format!("{} {}", self.kind.lower(), describe::name(self.namespace.as_deref(), &self.name))
    }

    /// What to say when the ledger has no such thing.
    pub fn unknown(&self) -> String {
        match &self.uid {
            Some(uid) => format!("the ledger knows no {} with uid {uid}; leave --uid out to see all", self.in_words()),
            None => format!("the ledger knows no {}; is the name right, and its namespace?", self.in_words()),
        }
    }

    /// Asks for its rows.
    pub fn rows(&self) -> RowQuery {
        let named = Some((self.kind, self.namespace.clone(), self.name.clone()));
        RowQuery { uid: self.uid.clone(), named, ..RowQuery::default() }
    }

    /// Whether `head` is of it.
    pub fn is(&self, head: &Head) -> bool {
        let subject = &head.subject;
        self.kind == subject.kind
            && self.namespace == subject.namespace
            && self.name == subject.name
            && self.may_be(&subject.uid)
    }

    /// Whether the object with this UID may be meant.
    pub fn may_be(&self, uid: &Uid) -> bool {
        self.uid.as_ref().is_none_or(|meant| meant == uid)
    }

    /// The heads of its streams, oldest first; at least one.
    pub async fn heads(&self, store: &dyn Store) -> Result<Vec<Head>, Failure> {
        let failed = |error| reading::failure(&error);
        let (mut uids, mut query) = (BTreeSet::new(), self.rows());
        loop {
            let page = store.rows(&query).await.map_err(failed)?;
            let Some(last) = page.last() else { break };
            query.after = Some((last.shard, last.position));
            uids.extend(page.into_iter().map(|row| row.uid));
        }
        let mut heads = Vec::with_capacity(uids.len());
        for uid in uids {
            heads.extend(store.head(&uid).await.map_err(failed)?);
        }
        heads.sort_by_key(|head| head.opened_at);
        if heads.is_empty() { Err(Failure::violated(&self.unknown())) } else { Ok(heads) }
    }
}

impl From<&Head> for Resource {
    fn from(head: &Head) -> Self {
        let subject = &head.subject;
        let (namespace, name) = (subject.namespace.clone(), subject.name.clone());
        Self { kind: subject.kind, namespace, name, uid: Some(subject.uid.clone()) }
    }
}
