//! A throwaway cluster: there is one while the value lives.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

/// At most so many at once: each takes half a gigabyte and, while it starts, both cores.
const AT_ONCE: u32 = 3;

static RUNNING: Mutex<u32> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// What a cluster is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// An API server and its controllers.
    ControlPlane,
    /// The same, and simulated nodes.
    Kwok,
}

/// A running cluster.
pub struct Cluster {
    name: String,
    folder: PathBuf,
}

impl Cluster {
    /// Makes the programs, for whoever starts one later where nothing can be fetched.
    pub fn build() {
        let mut building = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster/build"));
        let built = building.arg("control-plane").stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(built.is_ok_and(|status| status.success()), "hack/cluster/build control-plane failed");
    }

    /// Starts one on loopback. Waits first while there are too many.
    pub fn up(topic: &str, mode: Mode) -> Self {
        Self::up_at(topic, mode, "127.0.0.1")
    }

    /// Starts one whose API server listens on `address`, which is this machine's.
    pub fn up_at(topic: &str, mode: Mode, address: &str) -> Self {
        let mut running = ENDED.wait_while(RUNNING.lock().unwrap(), |running| *running >= AT_ONCE).unwrap();
        *running += 1;
        drop(running);
        let name = format!("test-{topic}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut up = tool();
        up.args(["up", &name, "--unsafe-no-fsync", "--owner", &std::process::id().to_string()]);
        up.args(["--address", address, "--mode"]);
        up.arg(match mode {
            Mode::ControlPlane => "control-plane",
            Mode::Kwok => "kwok",
        });
        let output = up.stdin(Stdio::null()).output().expect("running hack/cluster/cluster");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            end();
            panic!("starting cluster {name}: {errors}");
        }
        let folder = said.lines().last().map(PathBuf::from).expect("the cluster's folder");
        Self { name, folder }
    }

    /// Sends a signal to one of its processes, by their names. Fine if it has ended.
    pub fn signal(&self, process: &str, signal: &str) {
        tool().args(["kill", &self.name, process, signal]).stdin(Stdio::null()).output().expect("running the cluster");
    }

    /// Starts one of its processes again. Waits until the API server answers.
    pub fn restart(&self, process: &str) {
        let output = tool().args(["restart", &self.name, process]).stdin(Stdio::null()).output().expect("running it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "starting {process} of cluster {} again: {said}", self.name);
    }

    /// The port of its API server.
    pub fn port(&self) -> u16 {
        let url = std::fs::read_to_string(self.folder.join("url")).expect("the API server's address");
        url.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect("its port")
    }

    /// Everything is allowed with it.
    pub fn admin(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// The controller's own; allows what was granted.
    pub fn controller(&self) -> PathBuf {
        self.folder.join("trueup.kubeconfig")
    }

    /// One line for each finished write, whoever made it.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match tool().args(["down", &self.name]).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                eprintln!("taking cluster {} down: {}", self.name, String::from_utf8_lossy(&output.stderr));
            }
            Err(error) => eprintln!("taking cluster {} down: {error}", self.name),
        }
        end();
    }
}

/// Makes room for another one.
fn end() {
    *RUNNING.lock().unwrap() -= 1;
    ENDED.notify_one();
}

fn tool() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster/cluster"))
}
