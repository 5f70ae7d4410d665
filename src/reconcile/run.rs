//! The loop itself: requests in, looks out, a bounded number at once and never two at the same object.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use kube::{
    ResourceExt,
    core::DynamicObject,
    runtime::{
        controller::{Action, Config, Error},
        reflector::ObjectRef,
    },
};
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
};
use tracing::{debug, warn};

use super::{
    Context, ReconcileError, amendments, appdeployment::Apps, arrears, backup::Backups, behind, look, mandates,
    queue::Queue, repository::Repositories, sink, survey, sweep, tenant::Tenants,
};
use crate::{
    cluster::{CustomKind, OwnerKey},
    telemetry::Survey,
};

/// Looks under way at once, for each kind.
const CONCURRENCY: u16 = 16;
/// Changes of one object that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// Reconciles until the future is dropped.
pub async fn run(context: Arc<Context>) {
    mandates::learn_first(&context).await;
    behind::compare_first(&context).await;
    let mut requests = context.caches.listen();
    let mut tasks = JoinSet::new();
    tasks.spawn(behind::compare_again(context.clone()));
    tasks.spawn(mandates::follow(context.clone()));
    tasks.spawn(sweep::run(context.clone()));
    tasks.spawn(amendments::run(context.clone()));
    tasks.spawn(arrears::run(context.clone()));
    let surveyed = Arc::downgrade(&context);
    context.metrics.surveyed_by(Some(Box::new(move || {
        surveyed.upgrade().map_or_else(Survey::default, |context| survey::survey(&context))
    })));
    let queues: Vec<(CustomKind, UnboundedSender<OwnerKey>)> =
        CustomKind::ALL.into_iter().map(|kind| (kind, start(kind, context.clone(), &mut tasks))).collect();
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => {
                    if let Some((_, queue)) = queues.iter().find(|(kind, _)| *kind == request.0.kind) {
                        let _ = queue.send(request.0);
                    }
                }
                None => break,
            },
            Some(ended) = tasks.join_next() => {
                warn!(?ended, "a reconciler has ended; stepping down");
                break;
            }
        }
    }
}

/// Starts the looks at one kind; answers where to ask for them.
fn start(kind: CustomKind, context: Arc<Context>, tasks: &mut JoinSet<()>) -> UnboundedSender<OwnerKey> {
    let (sender, receiver) = mpsc::unbounded_channel::<OwnerKey>();
    let resource = kind.resource();
    let waiting = Arc::new(Queue::new(kind.name(), context.metrics.clone()));
    let (asked, clock) = (waiting.clone(), context.clock.clone());
    let queue =
        futures::stream::unfold(
            receiver,
            |mut receiver| async move { receiver.recv().await.map(|key| (key, receiver)) },
        )
        .map(move |key| {
            let mut reference: ObjectRef<DynamicObject> = ObjectRef::new_with(&key.name, resource.clone());
            reference.namespace = key.namespace;
            asked.asked((reference.namespace.clone(), reference.name.clone()), clock.monotonic());
            Ok::<_, std::convert::Infallible>(reference)
        });
    let store = context.caches.store(kind);
    tasks.spawn(async move {
        let config = Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
        let begun = waiting.clone();
        let looks = kube::runtime::applier(
            move |object: Arc<DynamicObject>, context: Arc<Context>| {
                begun.begins(&(object.namespace(), object.name_any()), context.clock.monotonic());
                guarded(kind, object, context).boxed()
            },
            |object: Arc<DynamicObject>, error: &ReconcileError, context: Arc<Context>| {
                Action::requeue(look::patience(&context, &object.uid().unwrap_or_default(), error))
            },
            context,
            store,
            Box::pin(queue),
            config,
        );
        looks
            .for_each(|ended| {
                if let Err(Error::ObjectNotFound(gone)) = ended {
                    waiting.gone(&(gone.namespace, gone.name));
                }
                std::future::ready(())
            })
            .await;
    });
    sender
}

/// One look, timed and counted; one that panics fails alone.
async fn guarded(
    kind: CustomKind,
    object: Arc<DynamicObject>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let begun = context.clock.monotonic();
    let look: BoxFuture<'_, _> = match kind {
        CustomKind::Tenant => look::look::<Tenants>(context.clone(), object.clone()).boxed(),
        CustomKind::AppDeployment => look::look::<Apps>(context.clone(), object.clone()).boxed(),
        CustomKind::Backup => look::look::<Backups>(context.clone(), object.clone()).boxed(),
        CustomKind::BackupRepository => look::look::<Repositories>(context.clone(), object.clone()).boxed(),
        CustomKind::BillingSink => sink::look(context.clone(), object.clone()).boxed(),
    };
    let result = AssertUnwindSafe(look).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(ReconcileError::Panicked(said.unwrap_or("without a word").to_owned()))
    });
    let outcome = match &result {
        Ok(_) => "ok",
        Err(error) => error.code(),
    };
    let took = context.clock.monotonic().saturating_sub(begun);
    context.metrics.reconciled(&kind.name(), outcome, took);
    let uid = object.uid().unwrap_or_default();
    let object = OwnerKey { kind, namespace: object.namespace(), name: object.name_any() };
    match &result {
        Ok(_) => context.retries.succeeded(&uid),
        Err(ReconcileError::Cluster(error)) if error.is_conflict() => {
            debug!(%object, uid, %error, "somebody was faster; looking again");
        }
        Err(error) if error.is_waited_for(&context.waits, &*context.clock) => {
            debug!(%object, uid, %error, "the ledger does not answer; looking again");
        }
        Err(error) => warn!(%object, uid, %error, "a look failed and is tried again"),
    }
    result
}
