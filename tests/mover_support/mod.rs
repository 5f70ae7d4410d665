//! A pod without Kubernetes: a shared folder, the mover as a process, and the test as the dump container.

#![allow(clippy::unwrap_used, reason = "test code, which clippy knows only inside test functions")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use trueup::domain::{Clock as _, Ended, Failure, Hash, Manifest, SystemClock};

/// The Backup that the tests' movers work for.
pub(crate) const UID: &str = "8f3c2c1e-7d0a-4b43-9a35-0f7f5a0f3a11";
const KEY: &str = "correct-horse-battery";
/// Far more than anything here takes, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_mins(2);

/// Waits for a condition; fails naming it when it does not come true.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    while !condition() {
        assert!(clock.monotonic() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Bytes that do not compress and are the same every time.
pub(crate) fn pseudo_random(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

/// Their SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.into()
}

fn restic() -> Command {
    static CHECKED: OnceLock<()> = OnceLock::new();
    CHECKED.get_or_init(|| {
        let found = Command::new("restic").arg("version").output();
        assert!(
            found.is_ok_and(|it| it.status.success()),
            "these tests need the restic program: apt-get install restic (Debian's package 'restic')"
        );
    });
    Command::new("restic")
}

/// A repository in a temporary folder, which it shares with its cache.
pub(crate) struct Repository {
    root: std::sync::Arc<TempDir>,
    address: String,
    key: String,
}

impl Repository {
    /// One that is not there yet.
    pub(crate) fn planned() -> Self {
        let root = tempfile::tempdir().unwrap();
        let address = root.path().join("repository").to_str().unwrap().to_owned();
        Self { root: root.into(), address, key: KEY.into() }
    }

    /// One that is there, and empty: a copy, because restic takes seconds to make one.
    pub(crate) fn made() -> Self {
        static TEMPLATE: OnceLock<Repository> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let template = Self::planned();
            template.run(&["init"]);
            template
        });
        let repository = Self::planned();
        let status = Command::new("cp").arg("-a").arg(template.folder()).arg(repository.folder()).status().unwrap();
        assert!(status.success());
        repository
    }

    /// The same with another key in hand.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { root: self.root.clone(), address: self.address.clone(), key: key.into() }
    }

    /// Another place, with the same key in hand.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self { root: self.root.clone(), address: address.into(), key: self.key.clone() }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("repository")
    }

    fn configure<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("RESTIC_REPOSITORY", &self.address)
            .env("RESTIC_PASSWORD", &self.key)
            .env("RESTIC_CACHE_DIR", self.root.path().join("cache"))
            .stdin(Stdio::null())
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.configure(restic().args(arguments)).output().unwrap();
        assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(crate) fn snapshots(&self) -> Vec<serde_json::Value> {
        serde_json::from_slice(&self.run(&["snapshots", "--no-lock", "--json"])).unwrap()
    }

    pub(crate) fn dump(&self, snapshot: &str, file: &str) -> Vec<u8> {
        self.run(&["dump", "--no-lock", snapshot, &format!("/{file}")])
    }

    pub(crate) fn locks(&self) -> usize {
        let files = fs::read_dir(self.folder().join("locks")).unwrap();
        // A file that is still being written is no lock yet.
        files.filter(|it| !it.as_ref().unwrap().file_name().to_string_lossy().contains("-tmp-")).count()
    }

    pub(crate) fn waits_for_a_lock(&self) {
        until("restic has locked the repository", || self.locks() > 0);
    }

    pub(crate) fn holds_nothing_and_is_unlocked(&self) {
        assert!(self.snapshots().is_empty(), "{:?}", self.snapshots());
        assert_eq!(self.locks(), 0, "a lock was left");
    }

    /// A living restic that has the repository to itself, standing still.
    pub(crate) fn exclusively_held(&self) -> Holder {
        let mut command = restic();
        let child = self.configure(command.arg("check")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // A restic that has written its lock looks for others' after a pause, so it is caught well before its end.
        self.waits_for_a_lock();
        let holder = Holder(child);
        Process(holder.0.id()).signal("STOP");
        assert_eq!(self.locks(), 1, "restic was done too soon");
        holder
    }
}

/// A restic that holds a lock until it is killed.
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn killed(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Some process of this machine that a test has started, directly or not.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn signal(self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name} {}", self.0);
    }

    /// Runs, or could; a zombie does not.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.0).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
    }
}

/// The fields of a process's `stat` after its name: state, parent, and so on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

/// What the containers of one pod share, and how the mover is started in it.
pub(crate) struct Pod {
    folder: TempDir,
    uid: String,
    repository: Repository,
}

impl Pod {
    pub(crate) fn new(repository: &Repository) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
        assert!(made.success());
        fs::write(folder.path().join("tool"), "pg_dump (PostgreSQL) 17.2\n").unwrap();
        Self { folder, uid: UID.into(), repository: repository.with_key(&repository.key) }
    }

    /// The same for another Backup.
    pub(crate) fn of(self, uid: &str) -> Self {
        Self { uid: uid.into(), ..self }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pipe(&self) -> PathBuf {
        self.folder().join("pipe")
    }

    pub(crate) fn write_exit_code(&self, code: &str) {
        let draft = self.folder().join("exit.tmp");
        fs::write(&draft, format!("{code}\n")).unwrap();
        fs::rename(draft, self.folder().join("exit")).unwrap();
    }

    /// Starts a backup.
    pub(crate) fn start(&self) -> Mover {
        self.start_with(&[])
    }

    /// Starts a backup with some more arguments.
    pub(crate) fn start_with(&self, more: &[&str]) -> Mover {
        let path = |name: &str| self.folder().join(name).to_str().unwrap().to_owned();
        let (pipe, exit, tool) = (path("pipe"), path("exit"), path("tool"));
        let arguments = [
            ["mover", "backup"],
            ["--pipe", &pipe],
            ["--exit-file", &exit],
            ["--tool-file", &tool],
            ["--file", "shop.dump"],
            ["--backup-uid", &self.uid],
            ["--backup", "nightly"],
            ["--namespace", "acme-prod"],
            ["--sequence", "2"],
        ];
        self.mover(&[&arguments.concat(), more].concat())
    }

    /// Stores these bytes with a mover.
    pub(crate) fn stores(&self, bytes: &[u8]) -> Manifest {
        let mover = self.start();
        let mut dump = Dump::open(self);
        dump.write(bytes);
        dump.end(self, "0");
        mover.ended().sealed()
    }

    /// Starts forgetting.
    pub(crate) fn forget(&self) -> Mover {
        self.mover(&["mover", "forget", "--backup-uid", &self.uid])
    }

    fn mover(&self, arguments: &[&str]) -> Mover {
        drop(restic());
        let log = self.folder().join("log");
        let result = self.folder().join("result");
        let _ = fs::remove_file(&result);
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        self.repository
            .configure(command.args(arguments).arg("--termination-log").arg(&result))
            .stderr(File::create(&log).unwrap());
        Mover { child: command.spawn().unwrap(), log, result }
    }
}

/// The dump container.
pub(crate) struct Dump(File);

impl Dump {
    /// Opens the pipe, which waits for the mover to open it.
    pub(crate) fn open(pod: &Pod) -> Self {
        Self(fs::OpenOptions::new().write(true).open(pod.pipe()).unwrap())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_refused(&mut self) -> bool {
        self.0.write_all(b"more").is_err()
    }

    /// Closes the pipe and leaves an exit code.
    pub(crate) fn end(self, pod: &Pod, code: &str) {
        drop(self);
        pod.write_exit_code(code);
    }
}

/// The mover's process.
pub(crate) struct Mover {
    child: Child,
    log: PathBuf,
    result: PathBuf,
}

/// What a mover left behind.
pub(crate) struct Outcome {
    status: ExitStatus,
    log: String,
    result: String,
}

impl Mover {
    pub(crate) fn signal(&self, name: &str) {
        Process(self.child.id()).signal(name);
    }

    /// Kills it as nothing can be prepared for.
    pub(crate) fn killed(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has logged this.
    pub(crate) fn says(&self, words: &str) {
        until(&format!("the mover says '{words}'"), || fs::read_to_string(&self.log).unwrap().contains(words));
    }

    /// The restic that stores the dump, once it runs.
    pub(crate) fn restic(&self) -> Process {
        let parent = self.child.id().to_string();
        let find = || {
            let pids = fs::read_dir("/proc").unwrap().filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
            let mut ours = pids.filter(|pid: &u32| stat(*pid).is_some_and(|fields| fields[1] == parent));
            ours.find(|pid| {
                let mut words = Vec::new();
                let opened = File::open(format!("/proc/{pid}/cmdline"));
                opened.is_ok_and(|mut it| it.read_to_end(&mut words).is_ok())
                    && words.split(|byte| *byte == 0).nth(1) == Some(b"backup")
            })
        };
        let mut found = None;
        until("the mover has started restic", || {
            found = find();
            found.is_some()
        });
        Process(found.unwrap())
    }

    /// The most memory it has had, in KiB.
    pub(crate) fn peak_kibibytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Outcome {
        let mut status = None;
        until("the mover ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        Outcome {
            status: status.unwrap(),
            log: fs::read_to_string(&self.log).unwrap(),
            result: fs::read_to_string(&self.result).unwrap_or_default(),
        }
    }
}

impl Outcome {
    pub(crate) fn everything_said(&self) -> String {
        format!("{}{}", self.log, self.result)
    }

    fn parsed(&self) -> Ended {
        Manifest::parse(&self.result).unwrap_or_else(|fault| panic!("{fault}; its log:\n{}", self.log))
    }

    /// What it did, which must have ended with exit code 0.
    pub(crate) fn ended_well(&self) -> Ended {
        assert!(self.status.success(), "{:?} {}\n{}", self.status, self.result, self.log);
        self.parsed()
    }

    /// The manifest of the artifact that it must have made.
    pub(crate) fn sealed(&self) -> Manifest {
        match self.ended_well() {
            Ended::Sealed(manifest) => manifest,
            other => panic!("not a manifest: {other:?}"),
        }
    }

    /// Why it must have failed, with exit code 1.
    pub(crate) fn failed(&self) -> Failure {
        assert_eq!(self.status.code(), Some(1), "{}\n{}", self.result, self.log);
        match self.parsed() {
            Ended::Failed(failure) => failure,
            other => panic!("not a failure: {other:?}"),
        }
    }
}
