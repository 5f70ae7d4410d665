//! `trueup controller`: wait for the lease, begin an epoch, reconcile and deliver until either ends.

mod candidate;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use jiff::{Span, SpanRelativeTo, ToSpan as _};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::candidate::Candidate;
use super::{Failure, ask_receiver::AskReceiver, start::Start, who};
use crate::{
    cluster::{Caches, RequestMetrics},
    domain::{Clock, Random, SystemClock, SystemRandom},
    ledger::{self, Waits},
    lifecycle::TABLES,
    reconcile::Applied,
    sinks::{self, SinkBuilder},
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
    let receivers = args.receiver.as_deref().map(AskReceiver::new).transpose()?;
    let receivers = receivers.into_iter().map(|receiver| Arc::new(receiver) as Arc<dyn Applied>).collect();
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
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let build: SinkBuilder = Arc::new(sinks::build);
    let candidate =
        Candidate { args, client, store, waits, clock, random, metrics, caches, identity, receivers, sinks: build };
    candidate.stand(&stop).await
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
