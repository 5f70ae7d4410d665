//! `trueup doctor`: what is wrong with an installation, and what to do about it.
//!
//! `ask` and `sinks` find facts out, `checks` judges them: it is pure, so that every situation is tested without a cluster.

mod ask;
mod checks;
mod facts;
mod finding;
mod rights;
mod sinks;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;

use self::{
    facts::{Facts, Ledger as LedgerFacts, Trouble},
    finding::{Finding, Health, exit_code},
};
use super::{
    Failure,
    reading::{self, Output, emit, emit_json},
    text::{BAD, BUSY, DIM, GOOD, PLAIN, Text},
};
use crate::{
    cluster::{self, ConnectError},
    domain::{Clock, SystemClock},
    ledger::{self, StoreError},
    lifecycle::TABLES,
};

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kubeconfig file. Without it: the environment's, or the pod's own.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Trueup's own namespace.
    #[arg(long, env = "TRUEUP_NAMESPACE", default_value = "trueup-system")]
    namespace: String,
    /// The service account, in Trueup's own namespace, whose rights are asked about. Without it, those of whoever asks.
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// Leave the database out, where it cannot be reached from here.
    #[arg(long)]
    cluster_only: bool,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    ledger: reading::Ledger,
}

/// Looks, judges and says so.
pub async fn run(args: Args) -> Result<(), Failure> {
    let clock = SystemClock::default();
    let findings = checks::check(&facts(&args, &clock).await?);
    match args.output {
        Output::Json => emit_json(&Answer { healthy: exit_code(&findings) == 0, findings: &findings })?,
        Output::Table => emit(&lines(&findings)),
    }
    match exit_code(&findings) {
        0 => Ok(()),
        code => Err(Failure::new(&"", code)),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    healthy: bool,
    findings: &'a [Finding],
}

async fn facts(args: &Args, clock: &dyn Clock) -> Result<Facts, Failure> {
    let client = cluster::connect(args.kubeconfig.as_deref()).await;
    let (api, cluster) = match &client {
        Err(error @ ConnectError::Configuration(_)) => return Err(Failure::usage(error)),
        Err(error) => {
            let unreachable = matches!(error, ConnectError::Unreachable { .. });
            (Err(Trouble { said: error.to_string(), unreachable }), None)
        }
        Ok(client) => {
            let cluster = ask::cluster(client, &args.namespace, args.service_account.as_deref()).await;
            let api = ask::api_server(client, clock).await;
            (api.map_err(|said| Trouble { said, unreachable: true }), Some(cluster))
        }
    };
    let ledger = if args.cluster_only { None } else { Some(ledger_facts(args.ledger.url(), clock).await) };
    // Last, so that what the Lease says is not older than it seems.
    Ok(Facts { now: clock.now(), api, cluster, ledger })
}

async fn ledger_facts(url: &str, clock: &dyn Clock) -> Result<LedgerFacts, Trouble> {
    let trouble = |error: &StoreError| Trouble { said: error.to_string(), unreachable: error.is_transient() };
    let before = clock.now();
    let checkup = ledger::checkup(url).await.map_err(|error| trouble(&error))?;
    let asked = (before, clock.now());
    let installation = match ledger::open_existing(url, TABLES).await {
        Ok((_, installation)) => Some(installation),
        Err(StoreError::NoInstallation { .. } | StoreError::NotALedger { .. }) => None,
        Err(error) => return Err(trouble(&error)),
    };
    Ok(LedgerFacts { checkup, installation, asked })
}

fn lines(findings: &[Finding]) -> Vec<Text> {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut lines = vec![];
    for finding in findings {
        let (style, word) = match finding.health {
            Health::Ok => (GOOD, "ok  "),
            Health::Warn => (BUSY, "warn"),
            Health::Fail => (BAD, "fail"),
        };
        let mut line =
            Text::new(style, word).and(DIM, format!("  {:width$}  ", finding.check)).and(PLAIN, &finding.found);
        if let Some(advice) = &finding.advice {
            line = line.and(DIM, format!("; {advice}"));
        }
        lines.push(line);
    }
    lines
}
