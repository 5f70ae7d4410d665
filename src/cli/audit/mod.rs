//! `trueup audit`: whether everything that Trueup promises holds, here and now.

mod compare;
mod events;
mod report;

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::Client;

use super::{
    Failure,
    ask_receiver::AskReceiver,
    reading::{self, Ledger, Output},
};
use crate::{
    cluster::{self, ConnectError, IdentityError},
    domain::SystemClock,
    ledger::{
        self, Installation, Report, StoreError,
        invariants::{Invariant, Place, Violation},
    },
    lifecycle::TABLES,
};
use compare::{Comparison, Interrupted, Others};

/// Check every invariant: the ledger by itself, and against the cluster and a receiver.
///
/// What is on its way gets --wait seconds to arrive before it is judged. Exit codes: 0 all holds, 1 it does not, 2 wrong
/// use or configuration, 3 something cannot be reached.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ledger: Ledger,
    /// The kubeconfig file. Without it: the environment's, or the pod's own.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Check the ledger without the cluster.
    #[arg(long)]
    ledger_only: bool,
    /// Check a reference receiver too: its address, such as http://127.0.0.1:8090.
    #[arg(long, env = "TRUEUP_RECEIVER", value_name = "URL")]
    receiver: Option<String>,
    /// Compare each event that the receiver applied with what the ledger sends there, byte for byte.
    #[arg(long, requires = "receiver")]
    every_event: bool,
    /// How long to wait for what is under way, in seconds.
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3600))]
    wait: u64,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Checks everything, and says what it found.
pub async fn run(args: Args) -> Result<(), Failure> {
    let receiver = args.receiver.as_deref().map(AskReceiver::new).transpose()?;
    let (store, installation) = match args.ledger.try_open().await {
        Ok(opened) => opened,
        Err(error) => return damaged(&error, args.output),
    };
    let client = if args.ledger_only { None } else { Some(connect(&args, &installation).await?) };
    let clock = Arc::new(SystemClock::default());
    let others = Others { client, receiver: receiver.clone() };
    let compared =
        Comparison::new(&*store, others, clock, Duration::from_secs(args.wait), installation.era).run().await;
    let applied = match receiver.filter(|_| args.every_event) {
        Some(receiver) => events::compare(&*store, &receiver).await,
        None => Ok(vec![]),
    };
    let (compared, applied) = match (compared, applied) {
        (Ok(compared), Ok(applied)) => (compared, applied),
        (Err(Interrupted::Ledger(error)), _) | (_, Err(Interrupted::Ledger(error))) => {
            return damaged(&error, args.output);
        }
        (Err(Interrupted::Other(failure)), _) | (_, Err(Interrupted::Other(failure))) => return Err(failure),
    };
    let mut found = match ledger::audit(&*store, TABLES).await {
        Ok(found) => found,
        Err(error) => return damaged(&error, args.output),
    };
    found.add(compared.violations);
    found.add(applied);
    let names = report::Names::look_up(&*store, &found, compared.names).await;
    report::tell(&found, &names, &compared.notes, args.output)
}

/// Connects to the cluster that the ledger belongs to, and to no other.
async fn connect(args: &Args, installation: &Installation) -> Result<Client, Failure> {
    let client = cluster::connect(args.kubeconfig.as_deref()).await.map_err(|error| match error {
        ConnectError::Configuration(_) => {
            Failure::usage(&format!("{error}; or give --ledger-only to check the ledger alone"))
        }
        ConnectError::Refused { .. } => Failure::usage(&error),
        ConnectError::Unreachable { .. } => Failure::unreachable(&error),
    })?;
    let cluster = cluster::cluster_uid(&client).await.map_err(|error| Failure::unreachable(&error))?;
    if cluster != installation.cluster_uid {
        let ledger = installation.cluster_uid.clone();
        return Err(Failure::usage(&IdentityError::OtherCluster { ledger, cluster }));
    }
    Ok(client)
}

/// A ledger that cannot be read for damage is a violation; one that cannot be reached is not.
fn damaged(error: &StoreError, output: Output) -> Result<(), Failure> {
    let StoreError::Corrupt { what, .. } = error else { return Err(reading::failure(error)) };
    let mut found = Report::default();
    found.add(vec![Violation {
        invariant: Invariant::TamperEvident,
        place: Place::Everywhere,
        found: what.clone(),
        expected: "rows that can be read; restore the ledger from a backup".to_owned(),
    }]);
    report::tell(&found, &report::Names::default(), &[], output)
}
