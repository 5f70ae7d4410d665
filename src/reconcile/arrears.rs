//! What billing was not yet told, read from the ledger again and again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tracing::debug;

use super::{Context, survey};
use crate::{
    cluster::CustomKind,
    domain::{Kind, TenantName, Timestamp, Uid},
    ledger::{LaneState, LaneView, StoreError, Want},
    telemetry::{Arrears, Owed},
};

/// How often it is read, at most.
const EVERY: Duration = Duration::from_secs(10);
/// Reading takes one part in so many of the time, at most: it looks at every lane there is.
const SHARE: u32 = 50;
/// Lanes in a page.
const PAGE: u32 = 5_000;
/// The ledger is asked whose a stream is for so many of them; then a list of all that the caches have is cheaper.
const FEW: usize = 64;

/// Reads for as long as the term lasts.
pub(super) async fn run(context: Arc<Context>) {
    let mut known = Arrears::default();
    loop {
        let begun = context.clock.monotonic();
        match read(&context).await {
            Ok(read) => {
                context.waits.worked(Want::Read, &*context.clock);
                known = read;
            }
            // What was owed is owed still, and grows older.
            Err(error) => {
                context.waits.failed(Want::Read, &error, &*context.clock);
                debug!(%error, "what billing was not yet told could not be read");
            }
        }
        context.metrics.owes(&known, context.clock.now());
        let took = context.clock.monotonic().saturating_sub(begun);
        tokio::time::sleep(EVERY.max(took * SHARE)).await;
    }
}

async fn read(context: &Context) -> Result<Arrears, StoreError> {
    let named = survey::named(context);
    let mut arrears = Arrears::default();
    for destination in context.ledger.destinations().await? {
        arrears.destinations.insert(destination, Owed::default());
    }
    for label in named.labels() {
        arrears.tenants.insert(label.to_owned(), None);
    }
    let mut tenants = Tenants::of(context);
    let mut last: Option<LaneView> = None;
    loop {
        let after = last.as_ref().map(|lane| (&lane.destination, &lane.uid));
        let page = context.ledger.lanes(after, true, PAGE).await?;
        for lane in &page {
            let tenant = tenants.of_stream(&lane.uid).await?;
            add(&mut arrears, lane, named.label(tenant.as_ref()));
        }
        if page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            return Ok(arrears);
        }
        last = page.into_iter().last();
    }
}

fn add(arrears: &mut Arrears, lane: &LaneView, tenant: &str) {
    let oldest = arrears.tenants.entry(tenant.to_owned()).or_default();
    *oldest = older(*oldest, lane.oldest_undelivered);
    let owed = arrears.destinations.entry(lane.destination.clone()).or_default();
    match lane.state {
        LaneState::Parked => owed.parked += 1,
        LaneState::Open => {
            owed.events += u64::try_from(lane.head.get() - lane.acked.get()).unwrap_or(0);
            owed.oldest = older(owed.oldest, lane.oldest_undelivered);
        }
    }
}

fn older(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// Whose a stream is.
struct Tenants<'a> {
    context: &'a Context,
    /// By UID, of those that were asked for and, once it is filled, of the objects in the caches.
    known: HashMap<Uid, Option<TenantName>>,
    filled: bool,
}

impl<'a> Tenants<'a> {
    fn of(context: &'a Context) -> Self {
        Self { context, known: HashMap::new(), filled: false }
    }

    /// By the ledger; by the caches, but for what is gone, if many are asked for.
    async fn of_stream(&mut self, uid: &Uid) -> Result<Option<TenantName>, StoreError> {
        if !self.filled && self.known.len() == FEW {
            self.fill();
        }
        if let Some(tenant) = self.known.get(uid) {
            return Ok(tenant.clone());
        }
        let tenant = self.context.ledger.head(uid).await?.map(|head| head.subject.tenant);
        self.known.insert(uid.clone(), tenant.clone());
        Ok(tenant)
    }

    fn fill(&mut self) {
        self.filled = true;
        let mut namespaces: BTreeMap<String, Option<TenantName>> = BTreeMap::new();
        for kind in Kind::ALL {
            for object in self.context.caches.store(CustomKind::of(kind)).state() {
                let (Some(uid), Some(name)) = (&object.metadata.uid, &object.metadata.name) else { continue };
                let tenant = match &object.metadata.namespace {
                    None => Some(TenantName::new(name)),
                    Some(namespace) => namespaces
                        .entry(namespace.clone())
                        .or_insert_with_key(|it| self.context.member(Some(it)).map(|member| member.tenant))
                        .clone(),
                };
                self.known.insert(Uid::new(uid), tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DestinationId, Sequence};

    fn lane(destination: &str, owes: i64, state: LaneState, oldest: i64) -> LaneView {
        LaneView {
            destination: DestinationId::new(destination),
            uid: Uid::new("uid"),
            acked: Sequence::new(1),
            first: Sequence::new(1),
            head: Sequence::new(1 + owes),
            state,
            park_reason: None,
            attempts: 0,
            next_at: Timestamp::from_micros(0),
            last_error: None,
            oldest_undelivered: Some(Timestamp::from_micros(oldest)),
        }
    }

    #[test]
    fn a_destination_lags_by_what_flows_and_a_tenant_by_what_is_parked_too() {
        let mut arrears = Arrears::default();
        add(&mut arrears, &lane("billing", 3, LaneState::Open, 50), "acme");
        add(&mut arrears, &lane("billing", 2, LaneState::Open, 40), "initech");
        add(&mut arrears, &lane("billing", 9, LaneState::Parked, 10), "acme");
        add(&mut arrears, &lane("archive", 1, LaneState::Open, 30), "acme");
        let (billing, archive) = (DestinationId::new("billing"), DestinationId::new("archive"));
        let at = |micros| Some(Timestamp::from_micros(micros));
        assert_eq!(arrears.destinations[&billing], Owed { oldest: at(40), events: 5, parked: 1 });
        assert_eq!(arrears.destinations[&archive], Owed { oldest: at(30), events: 1, parked: 0 });
        assert_eq!(arrears.tenants, BTreeMap::from([("acme".to_owned(), at(10)), ("initech".to_owned(), at(40))]));
    }
}
