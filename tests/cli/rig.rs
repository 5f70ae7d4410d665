//! A ledger in a folder, and the program to ask about it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use sqlx::Connection as _;
use tempfile::TempDir;
use trueup::{
    domain::{
        Billable, DestinationId, Effective, Era, InstallationId, Kind, Labels, Random as _, Sequence, Shard, State,
        SystemRandom, TenantName, Timestamp, Uid,
    },
    ledger::{ClaimRequest, Draft, Installation, Outcome, Settlement, SqliteStore, Store, Subject},
    lifecycle::TABLES,
};

pub const TUESDAY: &str = "2026-11-17T09:00:00Z";
pub const WEB: &str = "uid-web";

/// A folder with a ledger in it, and the program to ask about it.
pub struct Rig {
    pub folder: TempDir,
}

impl Rig {
    /// A tenant; an application that was deleted and created again; one destination with a parked lane.
    pub fn new() -> Self {
        let rig = Self { folder: TempDir::new().unwrap() };
        run(fill(&rig.ledger()));
        rig
    }

    pub fn empty() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.ledger().display())
    }

    /// A kubeconfig that names `server`.
    pub fn kubeconfig(&self, server: &str) -> String {
        let path = self.folder.path().join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: '{server}'}}}}], users: [{{name: u, user: {{}}}}]}}"
        );
        std::fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Runs `trueup` with this ledger and nothing else of the environment.
    pub fn trueup(&self, args: &[&str]) -> Answer {
        self.trueup_at(&self.url(), args)
    }

    pub fn trueup_at(&self, database_url: &str, args: &[&str]) -> Answer {
        let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
            .args(args)
            .env_clear()
            .env("DATABASE_URL", database_url)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        Answer::of(&output)
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// It failed with `code`, said why in one line that has all of `words`, and answered nothing.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert_eq!(self.err.trim_end().lines().count(), 1, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "no '{word}' in {self:?}");
        }
    }

    #[track_caller]
    pub fn last_line(&self) -> &str {
        self.out.lines().last().expect("an answer")
    }
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// `minutes` after Tuesday, nine o'clock.
pub fn minute(minutes: u64) -> Timestamp {
    at(TUESDAY).plus(Duration::from_mins(minutes))
}

pub fn subject(uid: &str, kind: Kind, namespace: Option<&str>, name: &str) -> Subject {
    Subject {
        uid: Uid::new(uid),
        kind,
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        tenant: TenantName::new("acme"),
        account: "acct-1".into(),
        plan: "small".into(),
        previous_uid: None,
    }
}

pub fn draft(subject: &Subject, after: i64, to: &'static str, reason: &str, effective: Effective) -> Draft {
    let replicas = u32::from(to == "Available") * 2;
    Draft {
        subject: subject.clone(),
        after: (after > 0).then(|| Sequence::new(after)),
        to: State::of(to),
        reason: reason.into(),
        message: "A sentence.".into(),
        generation: 1,
        effective,
        billable: Billable {
            replicas,
            cpu_millicores: u64::from(replicas) * 100,
            memory_bytes: u64::from(replicas) * (128 << 20),
            storage_bytes: 0,
        },
        evidence: None,
        amends: None,
        labels: Labels::default(),
    }
}

pub async fn fill(path: &Path) {
    let store = SqliteStore::new(path, TABLES).unwrap();
    store.migrate().await.unwrap();
    let installation =
        Installation { id: InstallationId::new("installation"), cluster_uid: Uid::new("cluster"), era: Era::new(0) };
    store.installation(&installation).await.unwrap();
    let destination = DestinationId::new("billing");
    store.open_destination(&destination, minute(0)).await.unwrap();

    let tenant = subject("uid-acme", Kind::Tenant, None, "acme");
    let old = subject("uid-old", Kind::AppDeployment, Some("acme-prod"), "web");
    let web = subject(WEB, Kind::AppDeployment, Some("acme-prod"), "web");
    let reported = |minutes| Effective::reported(minute(minutes), minute(minutes));
    let day = 24 * 60;
    let mut failed = draft(&web, 3, "Failed", "ProgressDeadlineExceeded", reported(2 * day));
    failed.evidence = Some("panic: no such table\n\x1b[2Jat main.rs:1".into());
    let history = [
        (0, draft(&tenant, 0, "Provisioning", "Created", reported(0))),
        (0, draft(&tenant, 1, "Active", "Provisioned", reported(0))),
        (1, draft(&old, 0, "Pending", "Created", reported(1))),
        (2, draft(&old, 1, "Terminating", "DeletionRequested", reported(2))),
        (3, draft(&old, 2, "Deleted", "Deleted", Effective::observed(minute(2), minute(3)))),
        (4, draft(&web, 0, "Pending", "Created", reported(4))),
        (5, draft(&web, 1, "Progressing", "RolloutStarted", reported(5))),
        (day, draft(&web, 2, "Available", "RolledOut", Effective::inferred(minute(6), minute(day)))),
        (day + 1, draft(&web, 3, "Progressing", "SpecChanged", reported(day + 1))),
        (2 * day, Draft { after: Some(Sequence::new(4)), ..failed }),
    ];
    let epoch = store.take_over(Shard::default(), "test").await.unwrap();
    for (minutes, draft) in history {
        let outcome = store.append(Shard::default(), epoch, minute(minutes), &[draft]).await.unwrap();
        assert!(matches!(outcome[..], [Outcome::Appended(_)]), "{outcome:?}");
    }
    deliver(&store, &destination).await;
}

/// Everything is acknowledged, but the last two of the new application's, which are refused.
async fn deliver(store: &SqliteStore, destination: &DestinationId) {
    let refused = Settlement::Park {
        through: Sequence::new(3),
        reason: "permanent-refusal".into(),
        error: "422 Unprocessable Content: account acct-1 is closed".into(),
    };
    settle(
        store,
        destination,
        |uid, head| {
            if uid.as_str() == WEB { refused.clone() } else { Settlement::Acked { through: head } }
        },
    )
    .await;
}

/// What was parked is forgotten, and everything is acknowledged.
pub async fn settle_everything(store: &SqliteStore) {
    let destination = DestinationId::new("billing");
    store.close_destination(&destination).await.unwrap();
    store.open_destination(&destination, minute(0)).await.unwrap();
    settle(store, &destination, |_, head| Settlement::Acked { through: head }).await;
}

async fn settle(store: &SqliteStore, destination: &DestinationId, verdict: impl Fn(&Uid, Sequence) -> Settlement) {
    let now = minute(2 * 24 * 60);
    let token = SystemRandom.token();
    let lease = Duration::from_secs(10);
    let request =
        ClaimRequest { destination: destination.clone(), lanes: 10, retries: 5, rows: 10, lease, token: token.clone() };
    for claim in store.claim(&request, now).await.unwrap() {
        let settlement = verdict(&claim.uid, claim.head);
        let held = store.settle(&[(destination.clone(), claim.uid, token.clone(), settlement)], now).await.unwrap();
        assert_eq!(held, [true]);
    }
}

/// Does to the ledger what its triggers forbid.
pub fn tamper(path: &Path, sql: &'static str) {
    run(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("DROP TRIGGER transition_is_not_updated").execute(&mut connection).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}
