//! `trueup controller`: wait for the lease, begin an epoch, reconcile and deliver until either ends.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use jiff::{Span, SpanRelativeTo, ToSpan as _};
use kube::Client;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Failure,
    ask_receiver::AskReceiver,
    failure::UNREACHABLE,
    start::{Start, identify},
    when::When,
    who,
};
use crate::{
    cluster::{Caches, Cluster, Events, Lease, RequestMetrics},
    domain::{Clock, Epoch, Shard, SystemClock, SystemRandom},
    ledger::{self, Appender, AppenderLimits, Installation, Store, Waits, Want, pruner},
    lifecycle::TABLES,
    outbox::{self, Relay},
    reconcile::{self, Applied, Context, SweepOptions},
    telemetry::{self, Health, Metrics},
};

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The ledger: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:trueup.db", hide_env_values = true)]
    pub database_url: String,
    /// The kubeconfig file. Without it: the environment's, or the pod's own.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Trueup's own namespace: its Lease, its installation's name and the sinks' secrets are there.
    #[arg(long, env = "TRUEUP_NAMESPACE", default_value = "trueup-system")]
    pub namespace: String,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    #[arg(long, env = "TRUEUP_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The image that backups' Jobs store with: this program and restic.
    #[arg(long, env = "TRUEUP_MOVER_IMAGE", default_value = concat!("trueup.dev/mover:", env!("CARGO_PKG_VERSION")))]
    pub mover_image: String,
    /// How long the Lease lasts, in seconds. A leader that dies is replaced after about as long.
    #[arg(long, env = "TRUEUP_LEASE_SECONDS", default_value = "3", value_parser = clap::value_parser!(u64).range(1..=300))]
    pub lease_seconds: u64,
    /// How long a request to the API server may take, in milliseconds. Must be shorter than the Lease.
    #[arg(long, env = "TRUEUP_REQUEST_TIMEOUT_MS", default_value = "1500", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub request_timeout_ms: u64,
    /// A reference receiver that is asked what it has applied: where it knows more than the ledger, nothing is appended.
    #[arg(long, env = "TRUEUP_RECEIVER", value_name = "URL")]
    pub receiver: Option<String>,
    /// How often ledger and cluster are compared, in seconds.
    #[arg(long, env = "TRUEUP_SWEEP_SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub sweep_seconds: u64,
    /// How many streams one sweep may close whose objects are gone. Without it: the larger of 10 and 1 %.
    #[arg(long, env = "TRUEUP_SWEEP_LIMIT", value_name = "STREAMS")]
    pub sweep_limit: Option<u64>,
    /// How long transitions are kept, as in `400d`. Each resource's newest one stays for ever, and so does what some sink was
    /// not sent yet. Without this, everything is kept.
    #[arg(long, env = "TRUEUP_KEEP_TRANSITIONS", value_name = "SPAN", value_parser = keep)]
    pub keep_transitions: Option<Span>,
    /// How many tenants the metrics name in their label `tenant`, the oldest first; the others are `other`. 0 leaves the label
    /// out.
    #[arg(long, env = "TRUEUP_METRICS_TENANTS", value_name = "TENANTS", default_value = "1000", value_parser = clap::value_parser!(u16).range(0..=1_000))]
    pub metrics_tenants: u16,
    /// Record and show, but change nothing in the cluster.
    #[arg(long, env = "TRUEUP_OBSERVE_ONLY")]
    pub observe_only: bool,
}

/// Runs until `stop` is cancelled, leadership ends for good, or something is wrong that waiting cannot mend.
pub async fn run(args: Args, stop: CancellationToken) -> Result<(), Failure> {
    if args.request_timeout_ms >= args.lease_seconds * 1000 {
        return Err(Failure::usage(&format!(
            "--request-timeout-ms {} must be shorter than --lease-seconds {}: a write must end before the lease does",
            args.request_timeout_ms, args.lease_seconds
        )));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::usage(&format!("listening on {} for metrics and health: {error}; give another --listen", args.listen))
    })?;
    let store = ledger::open(&args.database_url, TABLES).map_err(|error| Failure::usage(&error))?;
    let unusable = |error: prometheus::Error| Failure::usage(&format!("setting up the metrics: {error}"));
    let metrics = Arc::new(Metrics::new().map_err(unusable)?);
    let requests = RequestMetrics::new(metrics.registry(), clock.clone()).map_err(unusable)?;
    let receiver = args.receiver.as_deref().map(AskReceiver::new).transpose()?;
    let waits = Arc::<Waits>::default();
    let health = Arc::new(Health::new(waits.clone(), clock.clone()));
    health.waits_for(vec!["its start".into()]);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, health.clone(), metrics.clone(), stop.clone()));
    let start = Start { args: &args, store: &*store, requests: &requests, waits: &waits, clock: &*clock };
    let Some(client) = start.until_reachable(&health, &stop).await? else { return Ok(()) };
    health.waits_for(vec!["the first watches".into()]);
    let caches = Caches::start(&client, &mut tasks);
    tasks.spawn(report_readiness(caches.clone(), health));

    let identity = format!("{}-{}", who::host(), uuid::Uuid::new_v4());
    let duration = Duration::from_secs(args.lease_seconds);
    let mut lease =
        Lease::new(client.clone(), &args.namespace, "trueup-shard-0", identity.clone(), duration, clock.clone());
    let candidate = Candidate { args, client, store, waits, clock, metrics, caches, identity, receiver };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = lease.acquire() => {}
        }
        let ended = candidate.lead(&mut lease, &stop).await;
        candidate.metrics.stands_down(candidate.clock.now());
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

/// A process that leads whenever it holds the lease.
struct Candidate {
    args: Args,
    client: Client,
    store: Arc<dyn Store>,
    waits: Arc<Waits>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    caches: Arc<Caches>,
    identity: String,
    receiver: Option<AskReceiver>,
}

impl Candidate {
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
                random: Arc::new(SystemRandom),
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
            events: Events::new(self.client.clone(), &self.identity),
            clock: self.clock.clone(),
            installation,
            behind: reconcile::Behind::default(),
            receivers: self.receiver.iter().map(|it| Arc::new(it.clone()) as Arc<dyn Applied>).collect(),
            sweep: SweepOptions { every: Duration::from_secs(self.args.sweep_seconds), limit: self.args.sweep_limit },
            metrics: self.metrics.clone(),
            tenants_named: usize::from(self.args.metrics_tenants),
            namespace: self.args.namespace.clone(),
            mover_image: self.args.mover_image.clone(),
            observe_only: self.args.observe_only,
            mandates: reconcile::Mandates::default(),
            written: reconcile::Written::default(),
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

/// How long to keep something that people may ask about: not for minutes.
fn keep(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|_| "write a span of time, such as 400d".to_owned())?;
    let day = SpanRelativeTo::days_are_24_hours();
    match span.compare((1.day(), day)) {
        Ok(std::cmp::Ordering::Less) => Err("it must be a day at least".to_owned()),
        Ok(_) => Ok(span),
        Err(_) => Err("give it in days or weeks, since months and years have no fixed length".to_owned()),
    }
}

async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>, stop: CancellationToken) {
    if let Err(error) = telemetry::serve(listener, health, metrics, stop.clone()).await {
        tracing::error!(%error, "metrics and health are served no longer; ending");
        stop.cancel();
    }
}

async fn report_readiness(caches: Arc<Caches>, health: Arc<Health>) {
    loop {
        let waiting: Vec<String> =
            caches.waiting_for().into_iter().map(|name| format!("the first list of {name}")).collect();
        let ready = waiting.is_empty();
        health.waits_for(waiting);
        if ready {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::keep;

    #[test]
    fn transitions_are_kept_for_a_day_at_least() {
        assert!(keep("400d").is_ok() && keep("52w").is_ok() && keep("36h").is_ok());
        assert!(keep("1h").unwrap_err().contains("a day at least"));
        assert!(keep("1y").unwrap_err().contains("days or weeks"));
        assert!(keep("-3d").unwrap_err().contains("a day at least"));
        assert!(keep("long").unwrap_err().contains("such as 400d"));
    }
}
