//! One process of Trueup, as `trueup controller` puts it together, on a simulated cluster and a ledger in memory.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use trueup::{
    cluster::{Caches, Cluster, CustomKind, Events, Lease},
    domain::{Clock, Era, InstallationId, SeededRandom, Shard, Uid},
    ledger::{self, Appender, AppenderLimits, Installation, MemoryStore, Store, Waits},
    lifecycle::TABLES,
    outbox::{self, Relay},
    reconcile::{self, SweepOptions},
    telemetry::Metrics,
};

use crate::{apiserver::ApiServer, clock::SimulatedClock};

const SHARD: Shard = Shard::new(0);
const LEASE: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_millis(1_500);
/// Nothing that is waited for takes longer, on the simulated clock.
const PATIENCE: Duration = Duration::from_mins(5);

/// A cluster, a ledger, and one process that leads.
pub struct Simulation {
    pub server: ApiServer,
    pub ledger: Arc<dyn Store>,
    pub client: Client,
    clock: Arc<dyn Clock>,
    tasks: JoinSet<()>,
}

impl Simulation {
    /// Everything but the process.
    pub async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::start());
        let server = ApiServer::start(clock.clone());
        let ledger: Arc<dyn Store> = Arc::new(MemoryStore::new(TABLES));
        let installation = Installation {
            id: InstallationId::new("simulated"),
            cluster_uid: Uid::new("simulated-cluster"),
            era: Era::new(0),
        };
        ledger.migrate().await.unwrap();
        ledger.installation(&installation).await.unwrap();
        let client = server.client();
        Self { server, ledger, client, clock, tasks: JoinSet::new() }
    }

    /// Starts a process that takes the Lease and leads. `seed` decides its chances.
    pub fn lead(&mut self, seed: u64) {
        let (client, ledger, clock) = (self.client.clone(), self.ledger.clone(), self.clock.clone());
        self.tasks.spawn(async move {
            let mut watches = JoinSet::new();
            let caches = Caches::start(&client, &mut watches);
            let identity = format!("process-{seed}");
            let mut lease =
                Lease::new(client.clone(), "default", "trueup-shard-0", identity.clone(), LEASE, clock.clone());
            lease.acquire().await;
            let epoch = ledger.take_over(SHARD, &identity).await.unwrap();
            let installation = ledger.stored_installation().await.unwrap().unwrap();
            let waits = Arc::<Waits>::default();
            let metrics = Arc::new(Metrics::new().unwrap());
            let (appender, _appending) =
                Appender::start(ledger.clone(), SHARD, epoch, clock.clone(), AppenderLimits::default(), waits.clone());
            let parts = outbox::Parts {
                store: ledger.clone(),
                clock: clock.clone(),
                random: Arc::new(SeededRandom::new(seed)),
                commits: appender.commits(),
                metrics: metrics.delivery.clone(),
                waits: waits.clone(),
            };
            let context = Arc::new(reconcile::Context {
                caches: caches.clone(),
                cluster: Cluster::new(client.clone(), lease.term(), REQUEST),
                ledger,
                appender,
                waits,
                relay: Arc::new(Relay::new(parts, CancellationToken::new())),
                events: Events::new(client, &identity),
                clock,
                installation,
                behind: reconcile::Behind::default(),
                receivers: vec![],
                sweep: SweepOptions { every: Duration::from_mins(1), limit: None },
                metrics,
                tenants_named: 0,
                namespace: "default".into(),
                mover_image: "trueup:simulated".into(),
                observe_only: false,
                mandates: reconcile::Mandates::default(),
                written: reconcile::Written::default(),
                looked: reconcile::Looked::default(),
                readiness: reconcile::Readiness::default(),
                retries: reconcile::Retries::default(),
            });
            let reconciling = async {
                while !caches.waiting_for().is_empty() {
                    sleep(Duration::from_millis(20)).await;
                }
                reconcile::run(context).await;
            };
            tokio::select! {
                () = lease.keep() => {}
                () = reconciling => {}
            }
        });
    }

    pub fn tenants(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &CustomKind::Tenant.resource())
    }

    pub async fn create_tenant(&self, tenant: &Value) {
        let tenant: DynamicObject = serde_json::from_value(tenant.clone()).unwrap();
        self.tenants().create(&PostParams::default(), &tenant).await.unwrap();
    }

    pub async fn change_tenant(&self, name: &str, spec: &Value) {
        let patch = serde_json::json!({ "spec": spec });
        self.tenants().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn delete_tenant(&self, name: &str) {
        self.tenants().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Lets simulated time pass until `name` satisfies `check`; it is given `None` once it is gone.
    pub async fn until(&self, what: &str, name: &str, check: impl Fn(Option<&DynamicObject>) -> bool) {
        let mut waited = Duration::ZERO;
        loop {
            let found = self.tenants().get_opt(name).await.unwrap();
            if check(found.as_ref()) {
                return;
            }
            assert!(waited < PATIENCE, "{what} did not come true within {PATIENCE:?}: {found:#?}");
            sleep(Duration::from_millis(100)).await;
            waited += Duration::from_millis(100);
        }
    }

    /// Every invariant that the ledger alone can break.
    pub async fn assert_clean(&self) {
        let report = ledger::audit(self.ledger.as_ref(), TABLES).await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.violations);
    }
}
