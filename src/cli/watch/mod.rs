//! `trueup watch`: the cluster, the ledger and billing side by side, live.

mod columns;
mod frame;
mod newest;
mod screen;
mod sources;
#[cfg(test)]
mod tests;
mod view;

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use jiff::SignedDuration;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Failure, ask_receiver::AskReceiver, reading, text::Text};
use crate::{
    cluster::{self, ConnectError},
    domain::{Clock, SystemClock},
};
use frame::Look;
use sources::{AskCluster, BillingSnapshot, ClusterSnapshot, LedgerSnapshot, Problem, ReadLedger, Reading};
use view::Everything;

/// Watch the cluster, the ledger and billing side by side.
///
/// One line for each resource: what the cluster shows of it, what the ledger recorded, what the receiver applied, and
/// whether they agree. End it with Ctrl-C. Exit codes of --once: 0, 2 wrong use, 3 something cannot be reached.
#[derive(clap::Args)]
pub struct Args {
    /// The reference receiver to ask, such as http://127.0.0.1:8090. Without it: what the ledger knows of deliveries.
    #[arg(long, env = "TRUEUP_RECEIVER", value_name = "URL")]
    receiver: Option<String>,
    /// The kubeconfig file. Without it: the environment's, or the pod's own.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The ledger: `sqlite:PATH` or `postgres://...`. It is only read. Without it: what the status says of it.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Trueup's own namespace, where its Lease is.
    #[arg(long, env = "TRUEUP_NAMESPACE", default_value = "trueup-system")]
    namespace: String,
    /// How often to look: seconds, or a span such as 250ms.
    #[arg(long, default_value = "250ms")]
    interval: Interval,
    /// Print one frame and end.
    #[arg(long, conflicts_with = "plain")]
    once: bool,
    /// Print a frame whenever something changed, one below the other, for logs. The default where nobody is looking.
    #[arg(long)]
    plain: bool,
    /// Show this beside the name.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Show the first line of this file as a banner; it is read again for each frame.
    #[arg(long, value_name = "FILE")]
    caption_file: Option<PathBuf>,
}

// The ledger's address may hold a password.
impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("watch::Args")
    }
}

/// How often to look.
#[derive(Clone, Copy, Debug)]
struct Interval(Duration);

impl FromStr for Interval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "write seconds, or a span such as 250ms; at least 50ms";
        let span = match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| EXPECTED)?,
            Err(_) => {
                text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok()).ok_or(EXPECTED)?
            }
        };
        if span < Duration::from_millis(50) { Err(EXPECTED) } else { Ok(Self(span)) }
    }
}

/// Shows it until `stop`.
pub async fn run(args: Args, stop: CancellationToken) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let receiver = args.receiver.as_deref().map(AskReceiver::new).transpose()?;
    let client = cluster::connect(args.kubeconfig.as_deref()).await.map_err(|error| match error {
        ConnectError::Configuration(_) | ConnectError::Refused { .. } => Failure::usage(&error),
        ConnectError::Unreachable { .. } => Failure::unreachable(&error),
    })?;
    let ledger = args.database_url.clone().map(ReadLedger::new);
    let ledger_reading = ledger.as_ref().map(|_| Reading::default());
    let mut watching = Watching { args, clock, ledger, known: Everything::default() };
    watching.known.ledger = ledger_reading;
    if watching.args.once {
        return watching.once(client, receiver).await;
    }
    let mut tasks = JoinSet::new();
    let cluster = watching.poll_cluster(client, &mut tasks);
    let billing = receiver.map(|receiver| watching.poll_billing(receiver, &mut tasks));
    let shown = if watching.args.plain || !screen::is_terminal() {
        watching.plain(cluster, billing, stop).await
    } else {
        watching.live(cluster, billing, stop).await
    };
    tasks.abort_all();
    shown
}

struct Watching {
    args: Args,
    clock: Arc<dyn Clock>,
    ledger: Option<ReadLedger>,
    known: Everything,
}

type Cluster = watch::Receiver<Reading<ClusterSnapshot>>;
type Billing = Option<watch::Receiver<Reading<BillingSnapshot>>>;

impl Watching {
    fn poll_cluster(&self, client: Client, tasks: &mut JoinSet<()>) -> Cluster {
        let (publish, published) = watch::channel(Reading::default());
        let ask = AskCluster::new(client, self.args.namespace.clone(), self.clock.clone());
        let (clock, interval) = (self.clock.clone(), self.args.interval.0);
        tasks.spawn(async move {
            sources::poll(publish, clock, interval, || {
                let ask = ask.clone();
                async move { ask.ask().await }
            })
            .await;
        });
        published
    }

    fn poll_billing(
        &self,
        receiver: AskReceiver,
        tasks: &mut JoinSet<()>,
    ) -> watch::Receiver<Reading<BillingSnapshot>> {
        let (publish, published) = watch::channel(Reading::default());
        let (clock, interval) = (self.clock.clone(), self.args.interval.0);
        tasks.spawn(async move {
            sources::poll(publish, clock, interval, || {
                let receiver = receiver.clone();
                async move { sources::ask_billing(&receiver).await }
            })
            .await;
        });
        published
    }

    /// One frame, or why there is none.
    async fn once(mut self, client: Client, receiver: Option<AskReceiver>) -> Result<(), Failure> {
        let ask = AskCluster::new(client, self.args.namespace.clone(), self.clock.clone());
        self.known.cluster.take_in(Ok(ask.ask().await.map_err(|problem| problem.failure)?), self.clock.now());
        if let Some(receiver) = receiver {
            let value = sources::ask_billing(&receiver).await.map_err(|problem| problem.failure)?;
            self.known.billing = Some(Reading { value, answered: true, trouble: None });
        }
        self.read_ledger().await.map_err(|problem| problem.failure)?;
        self.known.note_applied();
        reading::emit(&self.frame(screen::width(), None, false));
        Ok(())
    }

    /// Takes in what the others said last, and then the ledger: read last, it is ahead of all of them.
    async fn look(&mut self, cluster: &mut Cluster, billing: &mut Billing) {
        self.known.cluster = cluster.borrow_and_update().clone();
        self.known.billing = billing.as_mut().map(|billing| billing.borrow_and_update().clone());
        // Whatever is wrong with it is part of the view.
        let _ = self.read_ledger().await;
        self.known.note_applied();
    }

    async fn read_ledger(&mut self) -> Result<(), Problem> {
        match (&mut self.ledger, &mut self.known.ledger) {
            (Some(ledger), Some(reading)) => {
                let reading: &mut Reading<LedgerSnapshot> = reading;
                ledger.refresh(reading, self.clock.now()).await
            }
            _ => Ok(()),
        }
    }

    fn frame(&self, width: usize, height: Option<usize>, timeless: bool) -> Vec<Text> {
        let caption = self.args.caption_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let caption = caption.as_deref().and_then(|text| text.lines().next());
        let look = Look { width, height, title: self.args.title.as_deref(), caption, timeless };
        frame::draw(&self.known, look, self.clock.now())
    }

    /// Draws in place.
    async fn live(
        mut self,
        mut cluster: Cluster,
        mut billing: Billing,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        if !asked(&mut cluster, &mut billing, &stop).await {
            return Ok(());
        }
        let mut screen = screen::Screen::enter();
        loop {
            self.look(&mut cluster, &mut billing).await;
            let (width, height) = screen::size().unwrap_or((100, 30));
            if screen.show(&self.frame(width, Some(height), false), width).is_err() {
                return Ok(());
            }
            if !self.pause(&stop).await {
                return Ok(());
            }
        }
    }

    /// Prints what changed.
    async fn plain(
        mut self,
        mut cluster: Cluster,
        mut billing: Billing,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let mut last: Vec<String> = vec![];
        if !asked(&mut cluster, &mut billing, &stop).await {
            return Ok(());
        }
        loop {
            self.look(&mut cluster, &mut billing).await;
            let frame = self.frame(screen::width(), None, true).iter().map(Text::to_plain).collect();
            if frame != last {
                if !last.is_empty() {
                    reading::emit(&[Text::default()]);
                }
                reading::emit(&self.frame(screen::width(), None, false));
                last = frame;
            }
            if !self.pause(&stop).await {
                return Ok(());
            }
        }
    }

    /// Waits for the next turn; false if there is none.
    async fn pause(&self, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(self.args.interval.0) => true,
        }
    }
}

/// Waits until everybody was asked once: before that nothing is known. False if it is over.
async fn asked(cluster: &mut Cluster, billing: &mut Billing, stop: &CancellationToken) -> bool {
    let asked = async {
        let _ = cluster.changed().await;
        if let Some(billing) = billing {
            let _ = billing.changed().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => false,
        () = asked => true,
    }
}
