//! A decision, as data that prints well.

use std::{fmt, time::Duration};

use serde_json::Value;

use super::reasons::Reason;
use crate::{
    api::{annotation, label},
    domain::{Billable, Effective, State, Timestamp, Uid},
};

/// What to do about one object, and what to show of it.
///
/// Carried out in this order: finalizer (when it is added), deletions, applications, transition, status, finalizer
/// (when it is removed). Nothing is shown or told that the ledger does not hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan<S> {
    /// What becomes of the finalizer.
    pub finalizer: Finalizer,
    /// Objects to delete.
    pub delete: Vec<ObjectKey>,
    /// Objects to apply: missing, or not as they should be.
    pub apply: Vec<Desired>,
    /// Objects that must be gone before anything is made or written. A cache that does not show them is no proof of that: they
    /// are looked for past it.
    pub gone: Vec<ObjectKey>,
    /// The row to write.
    pub transition: Option<Transition>,
    /// What to show.
    pub status: S,
    /// When to look again though nothing changes.
    pub look_again: Option<Duration>,
}

impl<S> Plan<S> {
    /// Whether nothing is left to do but to show the status.
    pub fn is_settled(&self) -> bool {
        self.finalizer == Finalizer::Keep
            && self.delete.is_empty()
            && self.apply.is_empty()
            && self.transition.is_none()
    }
}

/// What becomes of an object's finalizer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finalizer {
    /// It stays as it is.
    Keep,
    /// It is added, before anything else is done.
    Add,
    /// It is taken off: the stream is closed.
    Remove,
}

/// A row to write.
#[derive(Clone, PartialEq, Debug)]
pub struct Transition {
    /// The state from then on.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// When.
    pub effective: Effective,
    /// What it costs from then on.
    pub billable: Billable,
    /// What people may want to read with it.
    pub evidence: Option<String>,
    /// The stream that this one carries on; only on a first row.
    pub previous_uid: Option<Uid>,
}

/// The kinds of objects that Trueup makes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChildKind {
    /// v1
    Namespace,
    /// v1
    ResourceQuota,
    /// v1
    LimitRange,
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// rbac.authorization.k8s.io/v1
    RoleBinding,
    /// apps/v1
    Deployment,
    /// v1
    Service,
    /// batch/v1
    Job,
}

impl ChildKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Namespace,
        Self::ResourceQuota,
        Self::LimitRange,
        Self::NetworkPolicy,
        Self::RoleBinding,
        Self::Deployment,
        Self::Service,
        Self::Job,
    ];

    /// The API version.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::ResourceQuota | Self::LimitRange | Self::Service => "v1",
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::RoleBinding => "rbac.authorization.k8s.io/v1",
            Self::Deployment => "apps/v1",
            Self::Job => "batch/v1",
        }
    }

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ResourceQuota => "ResourceQuota",
            Self::LimitRange => "LimitRange",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::RoleBinding => "RoleBinding",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Job => "Job",
        }
    }

    /// The kind's plural, as it stands in addresses.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::ResourceQuota => "resourcequotas",
            Self::LimitRange => "limitranges",
            Self::NetworkPolicy => "networkpolicies",
            Self::RoleBinding => "rolebindings",
            Self::Deployment => "deployments",
            Self::Service => "services",
            Self::Job => "jobs",
        }
    }
}

/// Which object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: ChildKind,
    /// Its namespace, where its kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// An object in a namespace.
    pub fn in_namespace(kind: ChildKind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// A namespace.
    pub fn namespace(name: impl Into<String>) -> Self {
        Self { kind: ChildKind::Namespace, namespace: None, name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
            None => write!(f, "{} {}", self.kind.as_str(), self.name),
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An object as it should be: everything that Trueup says about it, and nothing else.
#[derive(Clone, PartialEq, Debug)]
pub struct Desired {
    /// Which object.
    pub key: ObjectKey,
    /// Its manifest.
    pub body: Value,
}

impl Desired {
    /// The digest that it carries of itself.
    pub fn digest(&self) -> Option<&str> {
        self.body["metadata"]["annotations"][annotation::APPLIED].as_str()
    }
}

/// An object as it was observed.
#[derive(Clone, PartialEq, Debug)]
pub struct Child {
    /// Which object.
    pub key: ObjectKey,
    /// Everything that the API server says about it.
    pub body: Value,
    /// The digest of the manifest that this very content was the API server's answer to, if that is known.
    ///
    /// A webhook may have changed what was applied; applying the same again would change nothing.
    pub answer_to: Option<String>,
}

impl Child {
    /// Whether Trueup made it.
    pub fn is_managed(&self) -> bool {
        self.label(label::MANAGED_BY) == Some(crate::api::MANAGER)
    }

    /// The value of one of its labels.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.body["metadata"]["labels"][name].as_str()
    }

    /// The UID of the object that it was made for.
    pub fn owner_uid(&self) -> Option<Uid> {
        self.body["metadata"]["annotations"][annotation::OWNER_UID].as_str().map(Uid::new)
    }

    /// Whether it is what the API server makes of `wanted`.
    pub fn is_answer_to(&self, wanted: &Desired) -> bool {
        self.answer_to.is_some() && self.answer_to.as_deref() == wanted.digest()
    }

    /// Whether it is on its way out.
    pub fn is_terminating(&self) -> bool {
        self.body["metadata"]["deletionTimestamp"].is_string()
    }

    /// A time in its metadata, in whole seconds.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        self.body["metadata"][name].as_str()?.parse().ok()
    }

    /// The same object as one of Kubernetes' own types. `None` if it is not of that shape.
    pub fn typed<K: serde::de::DeserializeOwned>(&self) -> Option<K> {
        K::deserialize(&self.body).ok()
    }
}
