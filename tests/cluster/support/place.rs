//! A cluster with Trueup's definitions, rights and sink, a receiver, and a ledger's address: what controllers run on.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use serde_json::json;

use super::{Access, Cluster, Mode, PATIENCE, Process, Servers, eventually, rights, secret, sink};

/// Trueup's own namespace.
pub const SYSTEM: &str = "trueup-system";
const LOOPBACK: &str = "127.0.0.1";
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Where the ledger is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Database {
    /// In a file.
    Sqlite,
    /// On a server of its own, which may be killed.
    Postgres,
}

/// How a controller is started.
#[derive(Clone, Debug, Default)]
pub struct ControllerOptions {
    /// Instead of the place's own ledger.
    pub database_url: Option<String>,
    /// Instead of the controller's own kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// Where to listen, instead of on any free port.
    pub listen: Option<String>,
    /// A network namespace to run in, instead of the test's own.
    pub network: Option<PathBuf>,
    /// More words for the command line.
    pub args: Vec<String>,
}

/// Everything but the controllers.
pub struct Place {
    // First, so that it goes first: it writes to what goes later.
    receiver: Mutex<Option<Process>>,
    /// The cluster.
    pub cluster: Cluster,
    database: Servers,
    /// The ledger's address.
    pub ledger: String,
    /// Where all of it listens.
    address: &'static str,
    receiver_port: u16,
    folder: tempfile::TempDir,
}

impl Place {
    /// Starts a cluster and a receiver on loopback, and tells the cluster what it must know.
    pub async fn new(topic: &str, database: Database) -> Self {
        Self::at(topic, database, LOOPBACK).await
    }

    /// The same on another address of this machine, by which the ledger's server is reached, too.
    pub async fn at(topic: &str, database: Database, address: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("trueup-test-").tempdir().expect("a temporary directory");
        // The server starts while the cluster does: both mostly wait.
        let starting = std::thread::spawn(move || match database {
            Database::Sqlite => Servers::none(),
            Database::Postgres if address == LOOPBACK => Servers::one(),
            Database::Postgres => Servers::pair(address),
        });
        let cluster = Cluster::up_at(topic, Mode::Kwok, address);
        let database = starting.join().expect("starting PostgreSQL");
        let ledger = database.url().await;
        let ledger = ledger.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("ledger.db").display()));
        let receiver_port = free_port();
        let place = Self { receiver: Mutex::new(None), cluster, database, ledger, address, receiver_port, folder };
        place.start_receiver();
        let access = Access::by(&place.cluster.admin()).await;
        install(&access).await;
        let url = format!("{}/events", place.receiver_url());
        access.create(&sink("billing", &url, &json!({}))).await;
        place
    }

    /// Starts a controller, whose log and name are called `name`.
    pub fn controller(&self, name: &str, options: &ControllerOptions) -> Process {
        let kubeconfig = options.kubeconfig.clone().unwrap_or_else(|| self.cluster.controller());
        let mut command = trueup();
        command.arg("controller").arg("--listen").arg(options.listen.as_deref().unwrap_or("127.0.0.1:0"));
        command.arg("--database-url").arg(options.database_url.as_ref().unwrap_or(&self.ledger));
        command.arg("--kubeconfig").arg(kubeconfig).args(&options.args);
        let mut command = match &options.network {
            Some(network) => within(network, &command),
            None => command,
        };
        Process::start(&format!("controller {name}"), &mut command, &self.log(name))
    }

    /// The log of the controller that is called `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// A folder that goes with the place.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the receiver answers.
    pub fn receiver_url(&self) -> String {
        format!("http://{}:{}", self.address, self.receiver_port)
    }

    /// The receiver's port.
    pub fn receiver_port(&self) -> u16 {
        self.receiver_port
    }

    /// Sends the receiver a signal, by its name.
    pub fn signal_receiver(&self, signal: &str) {
        if let Some(receiver) = &*self.receiver.lock().unwrap() {
            receiver.signal(signal);
        }
    }

    /// Kills the receiver.
    pub fn kill_receiver(&self) {
        if let Some(receiver) = self.receiver.lock().unwrap().take() {
            receiver.kill();
        }
    }

    /// The ledger's servers.
    pub fn database(&self) -> &Servers {
        &self.database
    }

    /// Kills the ledger's server. Answers whether there is one.
    pub fn kill_postgres(&self) -> bool {
        self.database.kill()
    }

    /// Starts the ledger's server again.
    pub fn revive_postgres(&self) {
        self.database.restart();
    }

    /// Starts the receiver, again on the same file if it was killed.
    pub fn start_receiver(&self) {
        let folder = self.folder.path();
        let keys = folder.join("keys");
        std::fs::write(&keys, KEY).expect("writing the signing keys");
        let mut command = trueup();
        command.arg("receiver").arg("--secret-file").arg(keys);
        command.arg("--listen").arg(format!("{}:{}", self.address, self.receiver_port));
        command.arg("--database").arg(format!("sqlite:{}", folder.join("receiver.db").display()));
        *self.receiver.lock().unwrap() =
            Some(Process::start("the receiver", &mut command, &folder.join("receiver.log")));
    }
}

/// The program, with nothing of this process's environment that it would listen to: the one that cargo built, or the one that
/// `TRUEUP_UNDER_TEST` names, such as an image's.
pub fn trueup() -> Command {
    let built = || env!("CARGO_BIN_EXE_trueup").into();
    let mut command = Command::new(std::env::var_os("TRUEUP_UNDER_TEST").unwrap_or_else(built));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("TRUEUP_") || matches!(name.as_str(), "DATABASE_URL" | "KUBECONFIG") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// The same command in another network namespace. It stays one process: what enters becomes the program.
fn within(network: &Path, command: &Command) -> Command {
    let mut entering = Command::new("nsenter");
    entering.arg(format!("--net={}", network.display())).arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => entering.env(name, value),
            None => entering.env_remove(name),
        };
    }
    entering
}

/// What an administrator does before the first controller starts.
pub async fn install(access: &Access) {
    for crd in trueup::api::crds() {
        let name = crd.metadata.name.clone().expect("a definition's name");
        let mut manifest = serde_json::to_value(crd).expect("a definition");
        manifest["apiVersion"] = json!("apiextensions.k8s.io/v1");
        manifest["kind"] = json!("CustomResourceDefinition");
        access.apply(&manifest).await;
        eventually(PATIENCE, &format!("{name} is served"), || async {
            let found = access.get("CustomResourceDefinition", None, &name).await;
            let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let served = conditions.iter().any(|found| found["type"] == "Established" && found["status"] == "True");
            served.then_some(()).ok_or_else(|| format!("it says {conditions:?}"))
        })
        .await;
    }
    access.apply(&super::namespace(SYSTEM)).await;
    rights::grant(access, rights::CONTROLLER, &rights::rules_of_the_chart()).await;
    access.apply(&secret(SYSTEM, "billing", "keys", KEY)).await;
}

/// A port of loopback that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}
