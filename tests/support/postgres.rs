//! A real PostgreSQL server for tests and benchmarks: made in a temporary directory, reached over a socket there, gone afterwards.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Who the tests connect as: no superuser, as in production.
const ROLE: &str = "ledger";

/// What a crash of the machine would lose is not tested here, so nothing waits for the disk.
const HASTY: &[&str] = &["fsync=off", "full_page_writes=off", "max_connections=200", "shared_buffers=64MB"];

/// Starting takes a second; a loaded machine, more.
const DEADLINE: Duration = Duration::from_mins(1);

/// One running server.
pub struct Postgres {
    programs: PathBuf,
    directory: tempfile::TempDir,
    settings: Vec<String>,
    /// Where it listens besides its socket.
    listens: Option<(&'static str, u16)>,
    server: Mutex<Child>,
    // Its standard input is a pipe that only this process holds. When this process ends, in whichever way, the pipe
    // closes and the watchdog stops the server: a static is never dropped, and a panic may abort.
    _watchdog: Child,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of this binary share. Each takes a database of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server for one test that is going to hurt it.
    pub fn start() -> Self {
        Self::start_with(HASTY)
    }

    /// The same, listening on an address of this machine and trusting everybody who comes that way. Whatever is committed waits
    /// until a standby has it, too: see [`Postgres::standby`].
    pub fn start_at(address: &'static str, port: u16) -> Self {
        Self::launched(mirrored(address, port), Some((address, port)))
    }

    /// A standby of this server, which listens on another port of the same address and is told of every commit before whoever
    /// made it is.
    pub fn standby(&self, port: u16) -> Self {
        let (address, of) = self.listens.expect("a server that listens");
        let directory = own_directory();
        let copied = as_server(&self.programs.join("pg_basebackup"))
            .args(["--host", address, "--port", &of.to_string(), "--username=postgres", "--write-recovery-conf"])
            .args(["--checkpoint=fast", "--no-sync", "--pgdata"])
            .arg(directory.path().join("data"))
            .status()
            .expect("running pg_basebackup");
        assert!(copied.success(), "pg_basebackup failed: {copied}");
        Self::on(self.programs.clone(), directory, mirrored(address, port), Some((address, port)))
    }

    /// Makes a standby the server that is written to.
    pub fn promote(&self) {
        let mut promoting = as_server(&self.programs.join("pg_ctl"));
        promoting.args(["promote", "--wait", "--silent", "--pgdata"]).arg(self.directory.path().join("data"));
        let promoted = promoting.status().expect("running pg_ctl");
        assert!(promoted.success(), "promoting the standby failed: {promoted}");
    }

    /// A server with settings of its own, each `name=value`.
    pub fn start_with(settings: &'static [&'static str]) -> Self {
        Self::launched(settings.iter().map(|it| (*it).to_owned()).collect(), None)
    }

    fn launched(settings: Vec<String>, listens: Option<(&'static str, u16)>) -> Self {
        let (programs, directory) = (find_programs(), own_directory());
        let data = directory.path().join("data");
        let made = as_server(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("running initdb");
        assert!(made.success(), "initdb failed: {made}");
        if listens.is_some() {
            let rules = fs::OpenOptions::new().append(true).open(data.join("pg_hba.conf"));
            let everybody = "host all all all trust\nhost replication all all trust";
            writeln!(rules.expect("the server's rules"), "{everybody}").expect("opening the server");
        }
        Self::on(programs, directory, settings, listens)
    }

    /// Starts a server on data that is there.
    fn on(
        programs: PathBuf,
        directory: tempfile::TempDir,
        settings: Vec<String>,
        listens: Option<(&'static str, u16)>,
    ) -> Self {
        let server = launch(&programs, directory.path(), &settings);
        let watchdog = watch(directory.path());
        let (server, databases) = (Mutex::new(server), AtomicU32::new(0));
        let postgres = Self { programs, directory, settings, listens, server, _watchdog: watchdog, databases };
        postgres.wait_until_ready();
        postgres
    }

    /// The address of a new, empty database.
    pub async fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&self.url("postgres", "postgres")).await.expect("connecting as admin");
        let role = format!("DO $$ BEGIN CREATE ROLE {ROLE} LOGIN; EXCEPTION WHEN OTHERS THEN NULL; END $$");
        admin.execute(AssertSqlSafe(role)).await.expect("making the role");
        let database = format!("CREATE DATABASE {name} OWNER {ROLE}");
        admin.execute(AssertSqlSafe(database)).await.expect("making a database");
        admin.close().await.ok();
        self.url(ROLE, &name)
    }

    /// Kills the server as a power cut would, all of its processes at once, and does not start it again.
    pub fn kill(&self) {
        let mut server = self.server.lock().unwrap();
        // Backends notice that the first process is gone and end by themselves; whoever connects is refused at once.
        server.kill().expect("killing the server");
        server.wait().expect("the server's end");
    }

    /// Starts the server again after `kill`. Waits until it has recovered.
    pub fn restart(&self) {
        *self.server.lock().unwrap() = launch(&self.programs, self.directory.path(), &self.settings);
        self.wait_until_ready();
    }

    /// Sends a signal to every process of the server, by its name.
    pub fn signal(&self, signal: &str) {
        let mut server = self.server.lock().unwrap();
        // One that has ended is waited for first, so that its pid is still its own when the signal goes out.
        if server.try_wait().expect("asking for the server's state").is_some() {
            return;
        }
        let first = server.id().to_string();
        let backends = Command::new("ps").args(["-o", "pid=", "--ppid", &first]).output().expect("running ps").stdout;
        let backends = String::from_utf8_lossy(&backends).into_owned();
        // Backends come and go: one that is gone by now is no failure.
        let mut sending = Command::new("kill");
        sending.args(["-s", signal, &first]).args(backends.split_whitespace()).stderr(Stdio::null());
        sending.status().expect("running kill");
    }

    /// Where its socket is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn url(&self, user: &str, database: &str) -> String {
        match self.listens {
            Some((address, port)) => format!("postgres://{user}@{address}:{port}/{database}"),
            None => format!("postgres://{user}@localhost/{database}?host={}", self.directory.path().display()),
        }
    }

    fn wait_until_ready(&self) {
        let mut waited = Duration::ZERO;
        // By its socket, which is named after the port.
        let port = self.listens.map_or(5432, |(_, port)| port).to_string();
        loop {
            let mut asking = Command::new(self.programs.join("pg_isready"));
            asking
                .arg("-q")
                .arg("-h")
                .arg(self.directory.path())
                .args(["-p", &port, "-U", "postgres", "-d", "postgres"]);
            if asking.status().expect("running pg_isready").success() {
                return;
            }
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(waited < DEADLINE, "PostgreSQL did not start within {DEADLINE:?}; its log says:\n{}", log());
            // A server killed a moment ago may still hold its lock file; the new one then gives up at once.
            let mut server = self.server.lock().unwrap();
            if server.try_wait().expect("asking for the server's state").is_some() {
                *server = launch(&self.programs, self.directory.path(), &self.settings);
            }
            drop(server);
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut server = self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        server.kill().ok();
        server.wait().ok();
    }
}

/// The settings of a server at whose side there is a standby.
fn mirrored(address: &str, port: u16) -> Vec<String> {
    let listens = [format!("listen_addresses={address}"), format!("port={port}")];
    let mirrored = ["synchronous_standby_names=*", "wal_retrieve_retry_interval=200ms"].map(str::to_owned);
    HASTY.iter().map(|it| (*it).to_owned()).chain(listens).chain(mirrored).collect()
}

/// A directory that the server's user may use.
fn own_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("trueup-pg-").tempdir().expect("a temporary directory");
    if let Some((user, group)) = unprivileged() {
        chown(directory.path(), Some(user), Some(group)).expect("giving the directory to the server's user");
    }
    directory
}

fn launch(programs: &Path, directory: &Path, settings: &[String]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).expect("the server's log");
    let mut command = as_server(&programs.join("postgres"));
    command.arg("-D").arg(directory.join("data")).arg("-k").arg(directory);
    command.args(["-c", "listen_addresses="]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    let errors = log.try_clone().expect("the server's log");
    command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("starting PostgreSQL")
}

/// Waits for its input to end, stops the server that the lock file names, and removes the directory.
fn watch(directory: &Path) -> Child {
    const SCRIPT: &str = r#"
        cat > /dev/null
        pid=$(head -n 1 "$1/data/postmaster.pid" 2> /dev/null)
        if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = postgres ]; then
            kill -QUIT "$pid"
            n=0; while kill -0 "$pid" 2> /dev/null && [ $n -lt 100 ]; do sleep 0.05; n=$((n + 1)); done
        fi
        rm -rf "$1"
    "#;
    Command::new("sh")
        .args(["-c", SCRIPT, "watchdog"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starting the watchdog")
}

/// PostgreSQL refuses to run as root; then it runs as the user that its package made.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |flag: &str, user: &[&str]| -> u32 {
        let said = Command::new("id").arg(flag).args(user).output().expect("running id").stdout;
        String::from_utf8_lossy(&said).trim().parse().expect("a user 'postgres', which its package makes")
    };
    (id("-u", &[]) == 0).then(|| (id("-u", &["postgres"]), id("-g", &["postgres"])))
}

fn as_server(program: &Path) -> Command {
    match unprivileged() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={group}")]).arg("--clear-groups").arg(program);
            // It would otherwise start in a directory that it may not read.
            command.current_dir("/");
            command
        }
    }
}

fn find_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.reverse();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    found
        .into_iter()
        .find(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file())
        .expect("this needs a PostgreSQL server: apt-get install postgresql-15 (`make test` does)")
}
