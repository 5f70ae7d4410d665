//! One look at one object: observe, decide, act, commit, project, until nothing is left to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::future::try_join_all;
use kube::{ResourceExt, core::DynamicObject, runtime::controller::Action};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::{debug, info};

use super::{Context, ReconcileError, behind, context::spec_of};
use crate::{
    api::Condition,
    cluster::{ClusterError, CustomKind, OwnerKey},
    domain::{Head, Kind, Labels, Timestamp, Uid},
    ledger::{Draft, Outcome, Subject, Want},
    lifecycle::{
        Child, ChildKind, FINALIZER, Finalizer, Membership, Object, ObjectKey, Plan, Transition, Verdict, detach,
        mandate::Mandate, reasons,
    },
};

/// No kind needs more than a handful; more means that decisions and effects chase each other.
pub(super) const ROUNDS: usize = 12;

/// A kind that is reconciled by looks: what is observed of it, and which decision it has.
#[async_trait]
pub(super) trait Managed: Send + Sync + 'static {
    /// The kind.
    const KIND: CustomKind;
    /// Its stream's kind, if it has streams.
    const STREAM: Option<Kind>;
    /// What people write.
    type Spec: DeserializeOwned + Send + Sync;
    /// What they read.
    type Status: Serialize + PartialEq + Default + Send;
    /// What is observed.
    type Seen: Send + Sync;

    /// Reads everything that the decision needs.
    async fn observe(look: &mut Look, spec: &Self::Spec, head: Option<&Head>) -> Result<Self::Seen, ReconcileError>;

    /// Decides.
    fn decide(
        object: &Object<'_, Self::Spec>,
        seen: &Self::Seen,
        head: Option<&Head>,
        now: Timestamp,
    ) -> Plan<Self::Status>;

    /// Whose it is.
    fn member(object: &Object<'_, Self::Spec>, seen: &Self::Seen) -> Option<Membership>;
}

/// One look: the object, and what has been learned about its children past the caches.
pub(super) struct Look {
    pub(super) context: Arc<Context>,
    pub(super) key: OwnerKey,
    pub(super) object: DynamicObject,
    learned: BTreeMap<ObjectKey, Option<Child>>,
    /// Namespaces that this look made: nobody can have put anything there that is in the way.
    made: BTreeSet<String>,
}

/// Looks at `object`, and answers when to look again.
pub(super) async fn look<M: Managed>(
    context: Arc<Context>,
    object: Arc<DynamicObject>,
) -> Result<Action, ReconcileError> {
    let key = OwnerKey { kind: M::KIND, namespace: object.namespace(), name: object.name_any() };
    let object = context.written.newest(&key, &object);
    let uid = Uid::new(object.uid().unwrap_or_default());
    let generation = object.metadata.generation.unwrap_or(0);
    context.readiness.begins(&uid, generation, &object.data["status"], context.clock.monotonic());
    let mut look = Look { context, key, object, learned: BTreeMap::new(), made: BTreeSet::new() };
    let Some(spec) = spec_of::<M::Spec>(&look.object) else {
        let message = "the spec has fields that this version of Trueup cannot read; upgrade Trueup, or its CRDs";
        look.show_trouble("SpecUnreadable", message).await?;
        return Ok(Action::await_change());
    };
    for _ in 0..ROUNDS {
        if let Some(action) = look.round::<M>(&spec).await? {
            return Ok(action);
        }
    }
    look.show_trouble("DidNotSettle", &ReconcileError::DidNotSettle.to_string()).await?;
    Err(ReconcileError::DidNotSettle)
}

impl Look {
    /// One round. `None` if something was done, so that it is time to look anew.
    async fn round<M: Managed>(&mut self, spec: &M::Spec) -> Result<Option<Action>, ReconcileError> {
        let context = self.context.clone();
        let uid = Uid::new(self.object.uid().unwrap_or_default());
        let now = context.clock.now();
        let head = match M::STREAM {
            Some(_) => {
                let head = context.ledger.head(&uid).await?;
                context.waits.worked(Want::Read, &*context.clock);
                head
            }
            None => None,
        };
        if M::STREAM.is_some()
            && let Some(why) = context.behind.stands_in_the_way(&context, &self.object, head.as_ref())
        {
            // Nothing is done either: what an older ledger would decide was decided otherwise before.
            self.show_trouble(behind::REASON, &why).await?;
            return Ok(Some(Action::requeue(behind::AGAIN)));
        }
        let said = context.said_of(&self.object);
        if let Some(kind) = M::STREAM
            && detach::is_let_be(said.mandate, head.as_ref(), context.belongs(&self.object))
        {
            return self.leave(kind, head.as_ref(), said.by.as_deref()).await;
        }
        let seen = M::observe(self, spec, head.as_ref()).await?;
        let shown: Vec<Condition> =
            serde_json::from_value(self.object.data["status"]["conditions"].clone()).unwrap_or_default();
        let watched = context.looked.has(&uid);
        let object = Object { watched, ..facts(&self.object, spec, &shown, &uid, said.mandate) };
        let plan = M::decide(&object, &seen, head.as_ref(), now);
        debug!(object = %self.key, %uid, ?plan.finalizer, apply = plan.apply.len(), delete = plan.delete.len(), transition = ?plan.transition.as_ref().map(|t| &t.to), "decided");

        // A new object without a status reads as ready to whoever asks by kstatus' rules.
        if self.object.data["status"].is_null() {
            self.show(&plan.status).await?;
        }
        if plan.finalizer == Finalizer::Add {
            self.object = context.cluster.add_finalizer(&self.key, &self.object).await?;
            context.written.note_own(&self.key, &self.object);
            return Ok(None);
        }
        let in_doubt: Vec<ObjectKey> = plan.apply.iter().map(|wanted| &wanted.key).chain(&plan.gone).cloned().collect();
        if self.learn_unknown(&in_doubt).await? {
            return Ok(None);
        }
        if let Err(error) = self.act(&plan).await {
            if error.is_terminal() {
                self.show_trouble("Refused", &error.to_string()).await?;
            }
            return Err(error.into());
        }
        if plan.transition.as_ref().is_some_and(|transition| transition.reason == reasons::RESURRECTED)
            && !self.lives().await?
        {
            // The cache had not heard that it is gone.
            return Ok(Some(Action::await_change()));
        }
        let opens =
            head.is_none() || plan.transition.as_ref().is_some_and(|transition| transition.reason == reasons::ATTACHED);
        if plan.transition.is_some() && opens && !self.is_held().await? {
            // It is gone: a stream that opened now would never be closed.
            return Ok(Some(Action::await_change()));
        }
        if plan.transition.is_some()
            && !plan.gone.is_empty()
            && let Some(left) = context.in_flight.left(&self.key, context.clock.monotonic())
        {
            self.show(&plan.status).await?;
            return Ok(Some(Action::requeue(left)));
        }
        if let (Some(transition), Some(kind)) = (&plan.transition, M::STREAM) {
            let member = M::member(&object, &seen);
            // The spec that was acted upon: while Trueup may not act, that is still the one before.
            let acted_upon = head.as_ref().filter(|_| object.paused).map_or(object.generation, |head| head.generation);
            self.commit(kind, transition, head.as_ref(), member, acted_upon).await?;
        }
        if plan.finalizer == Finalizer::Remove {
            match context.cluster.remove_finalizer(&self.key, &self.object).await {
                Err(error) if !error.is_conflict() && !error.is_terminal() => return Err(error.into()),
                // Gone already: the cache had not heard.
                _ => {
                    context.looked.forget(&uid);
                    context.readiness.forget(&uid);
                    context.written.forget_own(&self.key);
                    context.in_flight.forget(&self.key);
                    return Ok(Some(Action::await_change()));
                }
            }
        }
        if !plan.is_settled() {
            return Ok(None);
        }
        context.looked.note(&uid);
        self.show(&plan.status).await?;
        Ok(Some(plan.look_again.map_or_else(Action::await_change, Action::requeue)))
    }

    /// The object's children of these kinds: from the cache, or read anew where this process wrote something newer.
    pub(super) async fn children(&mut self, kinds: &[ChildKind]) -> Result<Vec<Child>, ReconcileError> {
        let mut children = self.context.caches.index.children(&self.key, kinds);
        for key in self.context.written.compare(&self.key, &mut children) {
            if !kinds.contains(&key.kind) {
                continue;
            }
            if !self.learned.contains_key(&key) {
                self.learn(key).await?;
            }
        }
        for (key, known) in self.learned.iter().filter(|(key, _)| kinds.contains(&key.kind)) {
            children.retain(|child| child.key != *key);
            children.extend(known.clone());
        }
        Ok(children)
    }

    /// Whether its namespace is on its way out.
    pub(super) async fn is_namespace_going(&mut self) -> Result<bool, ReconcileError> {
        let Some(name) = self.key.namespace.clone() else { return Ok(false) };
        if let Some(namespace) = self.context.caches.index.namespace(&name) {
            return Ok(namespace.metadata.deletion_timestamp.is_some());
        }
        // Without a tenant's label no watch shows it. Who is being deleted has to know all the same: it may be going for that reason.
        if self.object.metadata.deletion_timestamp.is_none() {
            return Ok(false);
        }
        let key = ObjectKey::namespace(name);
        if !self.learned.contains_key(&key) {
            self.learn(key.clone()).await?;
        }
        Ok(self.learned.get(&key).and_then(Option::as_ref).is_none_or(Child::is_terminating))
    }

    /// Whether the API server itself still has the object and nobody asked for its deletion. What it says replaces what
    /// the cache said.
    async fn lives(&mut self) -> Result<bool, ReconcileError> {
        let found = self.context.cluster.get_custom(&self.key).await?;
        let same =
            found.filter(|found| found.uid() == self.object.uid() && found.metadata.deletion_timestamp.is_none());
        Ok(same.map(|found| self.object = found).is_some())
    }

    /// Whether the API server itself has the object, with Trueup's finalizer on it, so that it cannot go unnoticed.
    ///
    /// Asked after the finalizer was put on, and not taken from the answer to that: a deletion that is under way looks for
    /// finalizers only when it begins (`Store.Delete` of the API server's generic registry), so one that is added meanwhile
    /// is put on an object that goes all the same. What slips through even so is closed by the sweep.
    async fn is_held(&mut self) -> Result<bool, ReconcileError> {
        let found = self.context.cluster.get_custom(&self.key).await?;
        let Some(found) = found.filter(|found| found.uid() == self.object.uid()) else { return Ok(false) };
        self.object = found;
        Ok(self.object.finalizers().iter().any(|found| found == FINALIZER))
    }

    /// Objects of the same kind that are still there and whose marks some of `children` carry.
    pub(super) fn others(&self, children: &[Child]) -> BTreeSet<Uid> {
        let own = self.object.uid();
        let mut marked: BTreeSet<Uid> = children.iter().filter_map(Child::owner_uid).collect();
        marked.retain(|uid| Some(uid.as_str()) != own.as_deref());
        if !marked.is_empty() {
            let there: BTreeSet<Uid> = self
                .context
                .caches
                .store(self.key.kind)
                .state()
                .iter()
                .filter_map(|it| it.uid())
                .map(Uid::new)
                .collect();
            marked.retain(|uid| there.contains(uid));
        }
        marked
    }

    async fn learn(&mut self, key: ObjectKey) -> Result<bool, ReconcileError> {
        let found = self.context.cluster.get(&key).await?;
        if found.is_none() {
            self.context.written.forget(&self.key, &key);
        }
        let exists = found.is_some();
        self.learned.insert(key, found);
        Ok(exists)
    }

    /// Looks before it makes, and before it says that something is gone: what the caches do not show may still be there, made
    /// by somebody else, made a moment ago, or without its label. Answers whether anything was found.
    async fn learn_unknown(&mut self, keys: &[ObjectKey]) -> Result<bool, ReconcileError> {
        let mut found = false;
        let kinds: BTreeSet<ChildKind> = keys.iter().map(|key| key.kind).collect();
        let cached = self.context.caches.index.children(&self.key, &kinds.into_iter().collect::<Vec<_>>());
        for key in keys {
            let new_namespace = key.namespace.as_ref().is_some_and(|namespace| self.made.contains(namespace));
            let known = self.learned.contains_key(key) || cached.iter().any(|child| child.key == *key);
            if !known && !new_namespace {
                found |= self.learn(key.clone()).await?;
            }
        }
        Ok(found)
    }

    /// Deletes and applies.
    async fn act<S>(&mut self, plan: &Plan<S>) -> Result<(), ClusterError> {
        let context = self.context.clone();
        for key in &plan.delete {
            let known = self.learned.get(key).cloned().flatten();
            let cached =
                || context.caches.index.children(&self.key, &[key.kind]).into_iter().find(|child| child.key == *key);
            let Some(mut child) = known.or_else(cached) else { continue };
            context.cluster.delete(key, child.body["metadata"]["uid"].as_str()).await?;
            child.body["metadata"]["deletionTimestamp"] = json!(context.clock.now());
            self.learned.insert(key.clone(), Some(child));
        }
        let applied = try_join_all(plan.apply.iter().map(|wanted| context.cluster.apply(wanted))).await;
        if applied.is_err() {
            // Of the others nobody waits for the answer either.
            context.in_flight.note(&self.key, context.clock.monotonic());
        }
        for child in applied? {
            if child.key.kind == ChildKind::Namespace && self.learned.get(&child.key) == Some(&None) {
                self.made.insert(child.key.name.clone());
            }
            context.written.note(&self.key, &child);
            self.learned.insert(child.key.clone(), Some(child));
        }
        Ok(())
    }

    /// Writes the row. A stale one is no failure: the next round decides anew.
    pub(super) async fn commit(
        &self,
        kind: Kind,
        transition: &Transition,
        head: Option<&Head>,
        member: Option<Membership>,
        generation: i64,
    ) -> Result<(), ReconcileError> {
        let Some(subject) = self.subject(kind, transition, head, member) else { return Ok(()) };
        // Which destinations hear of a stream is settled when it opens.
        let labels = if head.is_none() { self.context.tenant_labels(&subject.tenant) } else { Labels::default() };
        let draft = Draft {
            subject,
            after: head.map(|head| head.sequence),
            to: transition.to.clone(),
            reason: transition.reason.word.to_owned(),
            message: transition.reason.sentence.to_owned(),
            generation,
            effective: transition.effective,
            billable: transition.billable,
            evidence: transition.evidence.clone(),
            amends: None,
            labels,
        };
        match self.context.appender.append(draft).await? {
            Outcome::Appended(new) => {
                self.context.looked.note(&new.subject.uid);
                let from = head.map_or("-", |head| head.state.as_str());
                info!(object = %self.key, uid = %new.subject.uid, sequence = %new.sequence, from, to = %new.state, reason = %new.reason, "transition");
                self.context.metrics.transition(kind, from, new.state.as_str());
                let resource = self.key.kind.resource();
                let evidence = transition.evidence.as_deref();
                self.context.events.tell(&self.object, &resource, transition.reason, new.state.as_str(), evidence);
                Ok(())
            }
            Outcome::Stale(_) => Ok(()),
            Outcome::Illegal(why) => Err(ReconcileError::Illegal(why)),
        }
    }

    /// Who the row is about: the tenant as it is now, or as the stream knew it last.
    fn subject(
        &self,
        kind: Kind,
        transition: &Transition,
        head: Option<&Head>,
        member: Option<Membership>,
    ) -> Option<Subject> {
        let (tenant, account, plan) = match (member, head) {
            (Some(member), _) => (member.tenant, member.account, member.plan),
            (None, Some(head)) => {
                let known = head.subject.clone();
                (known.tenant, known.account, known.plan)
            }
            (None, None) => return None,
        };
        Some(Subject {
            uid: Uid::new(self.object.uid().unwrap_or_default()),
            kind,
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            tenant,
            account,
            plan,
            previous_uid: transition.previous_uid.clone(),
        })
    }

    /// Shows `status` if it differs from what is shown. One that says nothing leaves it.
    async fn show<S: Serialize + PartialEq + Default>(&mut self, status: &S) -> Result<(), ReconcileError> {
        if *status == S::default() {
            return Ok(());
        }
        let Ok(wanted) = serde_json::to_value(status) else { return Ok(()) };
        self.project(wanted).await
    }

    /// Shows that something stands in the way which no decision knew of.
    async fn show_trouble(&mut self, reason: &str, message: &str) -> Result<(), ReconcileError> {
        let shown: Vec<Condition> =
            serde_json::from_value(self.object.data["status"]["conditions"].clone()).unwrap_or_default();
        let uid = Uid::new(self.object.uid().unwrap_or_default());
        let object = facts(&self.object, &(), &shown, &uid, Mandate::Act);
        let conditions = Verdict::stalled(reason, message).conditions(&object, self.context.clock.now());
        let mut status = self.object.data["status"].clone();
        if !status.is_object() {
            status = json!({});
        }
        status["conditions"] = json!(conditions);
        status["observedGeneration"] = json!(object.generation);
        self.project(status).await
    }

    pub(super) async fn project(&mut self, status: Value) -> Result<(), ReconcileError> {
        if self.object.data["status"] == status {
            return Ok(());
        }
        let uid = self.object.uid().unwrap_or_default();
        self.object = self.context.cluster.show(&self.key, &uid, &status).await?;
        self.context.written.note_own(&self.key, &self.object);
        let ready = self.context.readiness.shows(&Uid::new(uid), &status, self.context.clock.monotonic());
        if let Some(took) = ready {
            self.context.metrics.became_ready(&self.key.kind.name(), took);
        }
        Ok(())
    }
}

/// What a decision may know of `object`.
pub(super) fn facts<'a, S>(
    object: &DynamicObject,
    spec: &'a S,
    conditions: &'a [Condition],
    uid: &Uid,
    mandate: Mandate,
) -> Object<'a, S> {
    Object {
        uid: uid.clone(),
        name: object.name_any(),
        namespace: object.namespace(),
        generation: object.metadata.generation.unwrap_or(0),
        created: object.metadata.creation_timestamp.as_ref().map_or(Timestamp::from_micros(0), |time| time.0.into()),
        deleting_since: object.metadata.deletion_timestamp.as_ref().map(|time| time.0.into()),
        has_finalizer: object.finalizers().iter().any(|found| found == FINALIZER),
        paused: mandate == Mandate::Record,
        watched: true,
        spec,
        conditions,
    }
}

/// How long to wait after a failure: not long where somebody was merely faster.
pub(super) fn patience(context: &Context, uid: &str, error: &ReconcileError) -> Duration {
    match error {
        ReconcileError::Cluster(error) if error.is_conflict() => Duration::from_millis(100),
        _ => context.retries.failed(uid),
    }
}
