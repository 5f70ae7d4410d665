//! The object that is decided about, without its bytes on the wire.

use std::time::Duration;

use crate::{
    api::Condition,
    domain::{TenantName, Timestamp, Uid},
};

/// What a decision may know of a custom resource.
#[derive(Clone, Debug)]
pub struct Object<'a, S> {
    /// Its UID.
    pub uid: Uid,
    /// Its name.
    pub name: String,
    /// Its namespace, where its kind has one.
    pub namespace: Option<String>,
    /// The generation of its spec.
    pub generation: i64,
    /// When it was made, in whole seconds.
    pub created: Timestamp,
    /// When somebody asked for it to be deleted, in whole seconds.
    pub deleting_since: Option<Timestamp>,
    /// Whether it carries Trueup's finalizer.
    pub has_finalizer: bool,
    /// Whether Trueup may not touch the cluster for it.
    pub paused: bool,
    /// Whether this process had looked at it before: what is new since then was not missed, but watched.
    pub watched: bool,
    /// What was asked.
    pub spec: &'a S,
    /// The conditions that it shows now; only their times are used.
    pub conditions: &'a [Condition],
}

impl<S> Object<'_, S> {
    /// For how long a condition has been shown with this status; zero if it is not.
    pub fn shown_for(&self, kind: &str, status: &str, now: Timestamp) -> Duration {
        let found = self.conditions.iter().find(|condition| condition.type_ == kind && condition.status == status);
        found.map_or(Duration::ZERO, |condition| now.since(condition.last_transition_time.0.into()))
    }
}

/// The tenant that a namespace belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// The tenant.
    pub tenant: TenantName,
    /// Its billing account.
    pub account: String,
    /// Its plan.
    pub plan: String,
    /// Whether everything of it is to stand still.
    pub suspended: bool,
    /// Whether its pods must meet the restricted Pod Security Standard.
    pub restricted: bool,
}
