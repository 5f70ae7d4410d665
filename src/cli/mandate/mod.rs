//! `trueup pause`, `resume`, `detach` and `attach`: how far Trueup may go, for one resource or for everything.
//!
//! What is said stands in an annotation, on the object or on the installation's ConfigMap, so that it needs no way to the
//! database, outlives every controller, and may as well be said by `kubectl` or from git. Whoever leads carries it out.

mod scope;
mod wait;
mod wish;

use std::{path::PathBuf, time::Duration};

use kube::Client;

use self::{scope::Scope, wish::Wish};
use super::{
    Failure, confirm,
    reading::emit,
    resource::PerhapsNamed,
    text::{GOOD, PLAIN, Text},
    who,
};
use crate::{
    cluster::{self, ConnectError, IdentityError},
    lifecycle::mandate::{Mandate, Said},
};

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    resource: PerhapsNamed,
    /// The whole installation, with everything that there is and will be.
    #[arg(long, conflicts_with_all = ["kind", "name", "namespace", "uid"])]
    all: bool,
    #[command(flatten)]
    how: How,
}

/// The same, for what cannot be taken back.
#[derive(Debug, clap::Args)]
pub struct AskingArgs {
    #[command(flatten)]
    args: Args,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// By whom, why, where and for how long.
#[derive(Debug, clap::Args)]
struct How {
    /// Why something is paused or detached. It is kept with it, and in the ledger where a row comes of it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who asks; without it, the user and the machine.
    #[arg(long = "as", value_name = "WHO")]
    who: Option<String>,
    /// How long to wait until the controller has carried it out, in seconds. 0: do not wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// The kubeconfig file. Without it: the environment's, or the pod's own.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Trueup's own namespace.
    #[arg(long, env = "TRUEUP_NAMESPACE", value_name = "NAMESPACE", default_value = "trueup-system")]
    trueup_namespace: String,
}

/// Stops every write to the cluster but status; the ledger records on.
pub async fn pause(args: Args) -> Result<(), Failure> {
    run(Wish::Pause, args, true).await
}

/// Ends that.
pub async fn resume(args: Args) -> Result<(), Failure> {
    run(Wish::Resume, args, true).await
}

/// Ends streams, takes finalizers off, and leaves everything that runs.
pub async fn detach(args: AskingArgs) -> Result<(), Failure> {
    run(Wish::Detach, args.args, args.yes).await
}

/// Takes in again what was detached.
pub async fn attach(args: Args) -> Result<(), Failure> {
    run(Wish::Attach, args, true).await
}

async fn run(wish: Wish, args: Args, yes: bool) -> Result<(), Failure> {
    let How { reason, who, wait, kubeconfig, trueup_namespace } = args.how;
    // What is taken back has nothing to be kept with.
    let by = if wish.mandate() == Mandate::Act {
        None
    } else {
        let who = who::who(who)?;
        Some(reason.map_or_else(|| who.clone(), |reason| format!("{who}: {reason}")))
    };
    let client = connect(kubeconfig.as_deref()).await?;
    let everything =
        cluster::said_of_installation(&client, &trueup_namespace).await.map_err(|error| stopped(&error))?;
    let scope = match args.resource.named() {
        Some(named) => Scope::one(&client, &named.resolve()?).await?,
        None if args.all => Scope::Everything,
        None => return Err(Failure::usage(&"which resource? Name it (KIND NAME), or say --all for everything")),
    };
    let known = match &scope {
        Scope::Everything => everything.clone(),
        Scope::One { said, .. } => said.clone(),
    };
    let (above, name) = (Some(&everything).filter(|_| !scope.is_everything()), scope.in_words());
    wish.allowed(&known, above, &name).map_err(|why| Failure::usage(&why))?;
    if wish == Wish::Detach {
        confirm::confirm(yes, "detach", &format!("let {name} be: {}", wish::CONSEQUENCE))?;
    }
    let said = Said { mandate: wish.mandate(), by };
    match &scope {
        Scope::Everything => {
            cluster::say_of_installation(&client, &trueup_namespace, &said).await.map_err(|error| stopped(&error))?;
        }
        Scope::One { key, .. } => {
            cluster::say_of(&client, key, &said).await.map_err(|error| unanswered("annotating it", &error))?;
        }
    }
    let Some(found) = wait::until_done(&client, wish, &scope, Duration::from_secs(wait)).await? else {
        emit(&[Text::plain("It was asked for; whoever leads carries it out.")]);
        return Ok(());
    };
    let mut lines = vec![Text::new(GOOD, format!("{}: ", wish.done())).and(PLAIN, found.in_words(&name))];
    lines.extend(wish.next(scope.is_everything()).map(Text::plain));
    emit(&lines);
    Ok(())
}

async fn connect(kubeconfig: Option<&std::path::Path>) -> Result<Client, Failure> {
    cluster::connect(kubeconfig).await.map_err(|error| match error {
        ConnectError::Unreachable { .. } => Failure::unreachable(&error),
        _ => Failure::usage(&error),
    })
}

fn stopped(error: &IdentityError) -> Failure {
    match error {
        IdentityError::Api { source, .. } if !cluster::is_refusal(source) => Failure::unreachable(error),
        IdentityError::Api { .. } => {
            Failure::usage(&format!("{error}; may you do that, and is --trueup-namespace the controller's own?"))
        }
        _ => Failure::usage(error),
    }
}

/// What a request that failed means.
fn unanswered(doing: &str, error: &kube::Error) -> Failure {
    let said = format!("{doing}: {error}");
    if cluster::is_refusal(error) { Failure::usage(&said) } else { Failure::unreachable(&said) }
}
