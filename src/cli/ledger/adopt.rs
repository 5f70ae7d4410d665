//! `trueup ledger adopt`: a ledger that was moved belongs to the cluster that it was moved to.

use std::path::PathBuf;

use super::take::Taken;
use crate::{
    cli::{
        Failure,
        confirm::confirm,
        reading::{self, Ledger},
        text::{DIM, GOOD, PLAIN, Text},
    },
    cluster::{self, ConnectError, IdentityError},
    domain::{InstallationId, Uid},
    ledger::Installation,
};

/// Give the ledger to this cluster, after a move.
///
/// The ledger keeps its installation's id, under which receivers know its streams; one that is still empty takes the id that
/// the cluster knows. Stop the controller in the other cluster for good before: two clusters under one id would both charge.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kubeconfig file. Without it: the environment's, or the pod's own.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Trueup's own namespace.
    #[arg(long, env = "TRUEUP_NAMESPACE", default_value = "trueup-system")]
    namespace: String,
    /// Adopt without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    ledger: Ledger,
}

/// Adopts.
pub async fn run(args: Args) -> Result<(), Failure> {
    let client = cluster::connect(args.kubeconfig.as_deref()).await.map_err(|error| match error {
        ConnectError::Unreachable { .. } => Failure::unreachable(&error),
        _ => Failure::usage(&error),
    })?;
    let failure = |error: IdentityError| match &error {
        IdentityError::Api { source, .. } if !cluster::is_refusal(source) => Failure::unreachable(&error),
        _ => Failure::usage(&error),
    };
    let (store, ledger) = args.ledger.open().await?;
    let cluster = cluster::cluster_uid(&client).await.map_err(failure)?;
    let named = cluster::named_installation(&client, &args.namespace).await.map_err(failure)?;
    let empty = store.heads(None, false, 1).await.map_err(|error| reading::failure(&error))?.is_empty();
    let id = match &named {
        Some(named) if empty => named.id.clone(),
        _ => ledger.id.clone(),
    };
    let told = named.as_ref().map_or_else(|| "nothing".to_owned(), |named| says(&named.id, &named.cluster_uid));
    reading::emit(&[
        Text::new(DIM, "the ledger says    ").and(PLAIN, says(&ledger.id, &ledger.cluster_uid)),
        Text::new(DIM, "the cluster says   ").and(PLAIN, told),
        Text::new(DIM, "the cluster is     ").and(PLAIN, cluster.to_string()),
    ]);
    let adopted = Installation { id, cluster_uid: cluster.clone(), era: ledger.era };
    let agrees = named.is_some_and(|named| named.id == adopted.id && named.cluster_uid == cluster);
    if adopted == ledger && agrees {
        reading::emit(&[Text::new(GOOD, "adopt: they belong together already")]);
        return Ok(());
    }
    let what = format!("let this cluster charge as installation {}, and no other from now on", adopted.id);
    confirm(args.yes, adopted.id.as_str(), &what)?;
    let mut taken = Taken::begin(&args.ledger, "trueup ledger adopt").await?;
    taken.rename(adopted.clone()).await?;
    cluster::name_installation(&client, &args.namespace, &adopted).await.map_err(failure)?;
    reading::emit(&[Text::new(GOOD, "adopt: ").and(PLAIN, says(&adopted.id, &adopted.cluster_uid))]);
    Ok(())
}

fn says(id: &InstallationId, cluster: &Uid) -> String {
    format!("installation {id}, of the cluster whose kube-system is {cluster}")
}
