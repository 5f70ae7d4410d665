//! One process among those that may lead: what it does from waiting for the lease to giving it up.

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Args;
use crate::{
    cli::{Failure, failure::UNREACHABLE, start::identify, when::When},
    cluster::{Caches, Cluster, Events, Lease},
    domain::{Clock, Epoch, Random, Shard},
    ledger::{Appender, AppenderLimits, Installation, Store, Waits, Want, pruner},
    outbox::{self, Relay},
    reconcile::{self, Applied, Context, SweepOptions},
    sinks::SinkBuilder,
    telemetry::Metrics,
};

/// How a term ended.
enum Ended {
    /// The process is to end.
    Stopped,
    /// It did not begin; another one may.
    NotBegun,
    /// Another term may begin.
    SteppedDown,
    /// This process must not lead: cluster and ledger do not belong together any more.
    Wrong(Failure),
}

/// A process that leads whenever it holds the lease, and all that it is made of.
pub struct Candidate {
    /// What it was started with.
    pub args: Args,
    /// The way to the cluster.
    pub client: Client,
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// Says that the ledger is waited for, while it is.
    pub waits: Arc<Waits>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For jitter and tokens.
    pub random: Arc<dyn Random>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// What the watches have seen.
    pub caches: Arc<Caches>,
    /// What no other process is called.
    pub identity: String,
    /// Receivers that can be asked what they have applied.
    pub receivers: Vec<Arc<dyn Applied>>,
    /// What makes sinks.
    pub sinks: SinkBuilder,
}

impl Candidate {
    /// Waits for the lease, leads, and waits again, until `stop` is cancelled or something is wrong that waiting cannot mend.
    pub async fn stand(&self, stop: &CancellationToken) -> Result<(), Failure> {
        let duration = Duration::from_secs(self.args.lease_seconds);
        let (client, namespace) = (self.client.clone(), &self.args.namespace);
        let mut lease =
            Lease::new(client, namespace, "trueup-shard-0", self.identity.clone(), duration, self.clock.clone());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = lease.acquire() => {}
            }
            let ended = self.lead(&mut lease, stop).await;
            self.metrics.stands_down(self.clock.now());
            lease.release().await;
            match ended {
                Ended::Stopped => break,
                // Waiting mends no wrong ledger.
                Ended::Wrong(failure) => return Err(failure),
                Ended::NotBegun => {}
                Ended::SteppedDown => info!("stepped down; waiting for the lease again"),
            }
        }
        Ok(())
    }

    /// Begins an epoch, then makes sure that the ledger is still this cluster's: whoever gives it to another, or begins
    /// an era, does so in an epoch of its own, so that what is read here holds for as long as this one.
    async fn take_over(&self, shard: Shard) -> Result<(Epoch, Installation), Ended> {
        let epoch = match self.store.take_over(shard, &self.identity).await {
            Ok(epoch) => epoch,
            Err(error) => {
                if !self.waits.failed(Want::Lead, &error, &*self.clock) {
                    warn!(%error, "this term did not begin");
                }
                return Err(Ended::NotBegun);
            }
        };
        self.waits.worked(Want::Lead, &*self.clock);
        match identify(&self.client, &self.args.namespace, &*self.store).await {
            Ok(installation) => Ok((epoch, installation)),
            Err(failure) if failure.code() == UNREACHABLE || failure.is_refusal() => {
                warn!(%failure, "this term did not begin");
                Err(Ended::NotBegun)
            }
            Err(failure) => Err(Ended::Wrong(failure)),
        }
    }

    /// Leads until the lease is lost, the epoch is fenced or `stop` is cancelled.
    ///
    /// Everything that acts lives in this future or in what it cancels: when it ends, nothing acts any more.
    async fn lead(&self, lease: &mut Lease, stop: &CancellationToken) -> Ended {
        let shard = Shard::new(0);
        let (epoch, installation) = match self.take_over(shard).await {
            Ok(taken) => taken,
            Err(Ended::NotBegun) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return if stop.is_cancelled() { Ended::Stopped } else { Ended::NotBegun };
            }
            Err(ended) => return ended,
        };
        info!(%epoch, "leading");
        self.metrics.leads(epoch.get());
        let (appender, appending) = Appender::start(
            self.store.clone(),
            shard,
            epoch,
            self.clock.clone(),
            AppenderLimits::default(),
            self.waits.clone(),
        );
        let metrics = self.metrics.clone();
        appender.stats().tell(move |what| metrics.appending(what));
        let fenced = appender.fenced().clone();
        let over = CancellationToken::new();
        let relay = Arc::new(Relay::new(
            outbox::Parts {
                store: self.store.clone(),
                clock: self.clock.clone(),
                random: self.random.clone(),
                commits: appender.commits(),
                metrics: self.metrics.delivery.clone(),
                waits: self.waits.clone(),
            },
            over.clone(),
        ));
        let context = Arc::new(Context {
            caches: self.caches.clone(),
            cluster: Cluster::new(
                self.client.clone(),
                lease.term(),
                Duration::from_millis(self.args.request_timeout_ms),
            ),
            ledger: self.store.clone(),
            appender,
            waits: self.waits.clone(),
            relay: relay.clone(),
            sinks: self.sinks.clone(),
            events: Events::new(self.client.clone(), &self.identity),
            clock: self.clock.clone(),
            installation,
            behind: reconcile::Behind::default(),
            receivers: self.receivers.clone(),
            sweep: SweepOptions { every: Duration::from_secs(self.args.sweep_seconds), limit: self.args.sweep_limit },
            metrics: self.metrics.clone(),
            tenants_named: usize::from(self.args.metrics_tenants),
            namespace: self.args.namespace.clone(),
            mover_image: self.args.mover_image.clone(),
            observe_only: self.args.observe_only,
            mandates: reconcile::Mandates::default(),
            written: reconcile::Written::default(),
            in_flight: if epoch.get() > 1 {
                reconcile::InFlight::after_another(self.clock.monotonic())
            } else {
                reconcile::InFlight::default()
            },
            looked: reconcile::Looked::default(),
            readiness: reconcile::Readiness::default(),
            retries: reconcile::Retries::default(),
        });
        let reconciling = async {
            while !self.caches.waiting_for().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            reconcile::run(context.clone()).await;
        };
        let pruning = async {
            match self.args.keep_transitions {
                None => std::future::pending().await,
                Some(span) => {
                    // Of a ledger that lost rows, no others go.
                    let horizon =
                        || (!context.behind.holds_everything()).then(|| When::Ago(span).before(self.clock.now()));
                    pruner::run(self.store.clone(), horizon, over.clone()).await;
                }
            }
        };
        let mut stopped = false;
        tokio::select! {
            () = stop.cancelled() => stopped = true,
            () = lease.keep() => warn!("the lease is lost"),
            () = fenced.cancelled() => warn!("another process has begun a later epoch"),
            () = reconciling => {}
            () = pruning => {}
        }
        over.cancel();
        relay.stop().await;
        appending.abort();
        if stopped { Ended::Stopped } else { Ended::SteppedDown }
    }
}
