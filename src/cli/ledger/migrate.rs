//! `trueup ledger migrate`: a ledger moves to another database, as it is.

use std::path::PathBuf;

use super::{
    backup::{self, Scratch, said},
    take::{Taken, append_failure},
};
use crate::{
    cli::{
        Failure, describe,
        reading::{self, Ledger},
        text::{GOOD, PLAIN, Text},
    },
    domain::{Clock as _, InstallationId, SystemClock},
    ledger::{self, AppendError, Installation},
    lifecycle::TABLES,
};

/// What the source is called afterwards, so that no controller takes it for the ledger.
const MOVED: &str = "moved-";

/// Move the ledger to another database: from SQLite to PostgreSQL, say, to run several replicas.
///
/// Stop the controller first. Everything comes along as it is: ids, sequences, hashes, what each destination has
/// acknowledged, what people decided. The copy is read back and every invariant checked in it. Then the source is renamed, so that
/// no controller goes on there by mistake; nothing else of it changes. It takes room for two copies of the ledger in --scratch.
#[derive(clap::Args)]
pub struct Args {
    /// Where the ledger is: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    // Neither comes from the environment, which names the ledger that is in use.
    #[arg(long, value_name = "URL")]
    from: String,
    /// The empty database that it goes to.
    #[arg(long, value_name = "URL")]
    to: String,
    /// A directory with room for two copies of the ledger.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

// The addresses may hold passwords.
impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("migrate::Args")
    }
}

/// Moves it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let (from, to, now) = (&args.from, &args.to, SystemClock::default().now());
    if ledger::is_in_use(from).await.map_err(|error| reading::failure(&error))? {
        return Err(Failure::usage(
            &"nothing was moved: somebody has the ledger at --from open. Stop the controller (`kubectl scale deployment … \
              --replicas 0`) and whatever else reads it, and run this again",
        ));
    }
    let scratch = Scratch::make(&args.scratch)?;
    // From here on, a controller that starts in spite of that begins a later epoch, which is found out at the end.
    let mut source = Taken::begin(&Ledger::at(from), "trueup ledger migrate").await?;
    let file = scratch.path("source.jsonl");
    let taken = ledger::backup(from, &file, TABLES, now).await.map_err(|error| backup::failure(&error))?;
    ledger::restore(&file, to, TABLES).await.map_err(|error| backup::failure(&error))?;

    let back = ledger::backup(to, &scratch.path("target.jsonl"), TABLES, now).await;
    let back = back.map_err(|error| backup::failure(&error))?;
    let (target, _) = Ledger::at(to).open().await?;
    let report = ledger::audit(&*target, TABLES).await.map_err(|error| reading::failure(&error))?;
    if back.rows != taken.rows || back.shards != taken.shards || !report.is_clean() {
        return Err(Failure::violated(&format!(
            "the copy is not the ledger: {} came of {}, and it breaks invariants in {} places. The source is as it was; drop \
             the database at --to, run `trueup audit --ledger-only` on --from, and try again",
            said(&back),
            said(&taken),
            describe::grouped(report.violated)
        )));
    }
    let id = InstallationId::new(format!("{MOVED}{}", source.installation.id));
    let renamed = Installation { id, ..source.installation.clone() };
    let named = source.store.replace_installation(source.shard, source.epoch, &renamed).await;
    named.map_err(|error| overtaken(&error))?;
    source.installation = renamed;
    reading::emit(&[
        Text::new(GOOD, "migrate: ").and(PLAIN, format!("{}; read back, all invariants hold", said(&taken))),
        Text::plain(format!(
            "The source is installation {} from now on, which no controller takes for its own. Point DATABASE_URL at the new \
             one, and start the controller.",
            source.installation.id
        )),
    ]);
    Ok(())
}

fn overtaken(error: &AppendError) -> Failure {
    match error {
        AppendError::Fenced { .. } => Failure::usage(
            &"a controller has begun to write the source meanwhile, so the copy is old already: stop the controller, drop the \
              database at --to, and run this again",
        ),
        _ => append_failure(error),
    }
}
