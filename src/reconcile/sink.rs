//! BillingSinks: from what was asked and a Secret to a destination that the relay serves.

use std::{sync::Arc, time::Duration};

use kube::{ResourceExt, core::DynamicObject, runtime::controller::Action};
use serde_json::json;

use super::{Context, ReconcileError, context::spec_of, deliveries, look::facts, sink_config};
use crate::{
    api::{BillingSinkSpec, Condition},
    cluster::{CustomKind, OwnerKey},
    domain::{DestinationId, Uid},
    ledger::Want,
    lifecycle::{
        Finalizer,
        mandate::Mandate,
        sink::{self, Observed},
    },
    outbox::Destination,
};

/// Looks at one sink.
pub(super) async fn look(context: Arc<Context>, object: Arc<DynamicObject>) -> Result<Action, ReconcileError> {
    let key = OwnerKey { kind: CustomKind::BillingSink, namespace: None, name: object.name_any() };
    let Some(spec) = spec_of::<BillingSinkSpec>(&object) else { return Ok(Action::await_change()) };
    let id = DestinationId::new(spec.destination_id.as_str());
    let configured = configure(&context, &object, &spec, &id).await?;
    let opening = sink_config::opening(&spec, context.all_tenants().into_iter(), context.clock.now());
    let (owed, delivery) = deliveries::seen(&*context.ledger, &context.relay, &id).await?;
    context.waits.worked(Want::Read, &*context.clock);
    let leaving = context.leaves_everything();
    let seen = Observed {
        trouble: configured.as_ref().err().or(opening.as_ref().err()).cloned(),
        rival: rival(&context, &object, &spec),
        owed,
        leaving,
        open_streams: leaving && !context.ledger.heads(None, true, 1).await?.is_empty(),
        delivery,
    };
    let shown: Vec<Condition> = serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default();
    let uid = Uid::new(object.uid().unwrap_or_default());
    let plan = sink::decide(&facts(&object, &spec, &shown, &uid, Mandate::Act), &seen, context.clock.now());

    if plan.finalizer == Finalizer::Add {
        context.cluster.add_finalizer(&key, &object).await?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    if plan.serve {
        if let Ok(Some(destination)) = configured {
            // Lanes first, under the shard's lock, so that no row slips between.
            if let Ok(opening) = &opening {
                context.ledger.open(opening, context.clock.now()).await?;
            }
            match disabled_before(&object, &shown).filter(|_| seen.delivery.is_none()) {
                Some(said) => context.relay.put_disabled(destination, said),
                None => context.relay.put(destination),
            }
        }
    } else if seen.rival.is_none() {
        context.relay.remove(&id).await;
    }
    if plan.forget {
        context.ledger.close_destination(&id).await?;
    }
    let status = json!(plan.status);
    let says_something = plan.status.observed_generation.is_some();
    if says_something && object.data["status"] != status {
        context.cluster.show(&key, uid.as_str(), &status).await?;
    }
    if plan.finalizer == Finalizer::Remove {
        context.cluster.remove_finalizer(&key, &object).await?;
        return Ok(Action::await_change());
    }
    Ok(Action::requeue(plan.look_again))
}

/// The destination that the spec and what it refers to make, if it is not served so already; or what is wrong with them.
async fn configure(
    context: &Context,
    object: &DynamicObject,
    spec: &BillingSinkSpec,
    id: &DestinationId,
) -> Result<Result<Option<Destination>, String>, ReconcileError> {
    let configured = match sink_config::read(context, spec).await? {
        Ok(configured) => configured,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let revision = format!("{}-{}", object.metadata.generation.unwrap_or(0), configured.versions);
    if context.relay.serves(id, &revision) {
        return Ok(Ok(None));
    }
    Ok((context.sinks)(&configured.config, context.clock.clone())
        .map(|sink| Some(Destination { id: id.clone(), revision, sink, limits: configured.limits }))
        .map_err(|fault| fault.to_string()))
}

/// Why the receiver wants nothing more, as the status has it from a process before this one.
///
/// A changed spec begins anew; so does a changed Secret, but only in the process that saw the change.
fn disabled_before(object: &DynamicObject, shown: &[Condition]) -> Option<String> {
    let current = object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation;
    let disabled = shown.iter().any(|condition| condition.reason == sink::DISABLED && condition.status == "True");
    let said = || object.data["status"]["lastError"].as_str().unwrap_or("the receiver answered 410").to_owned();
    (current && disabled).then(said)
}

/// An older sink that names the same destination: it has the lanes.
fn rival(context: &Context, object: &DynamicObject, spec: &BillingSinkSpec) -> Option<String> {
    let age = |sink: &DynamicObject| (sink.metadata.creation_timestamp.clone().map(|time| time.0), sink.name_any());
    context
        .caches
        .store(CustomKind::BillingSink)
        .state()
        .iter()
        .filter(|other| other.data["spec"]["destinationId"] == spec.destination_id.as_str())
        .filter(|other| other.uid() != object.uid() && age(other) < age(object))
        .map(|other| other.name_any())
        .min()
}
