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
    /// Starts one. Waits first while there are too many.
    pub fn up(topic: &str, mode: Mode) -> Self {
        let mut running = ENDED.wait_while(RUNNING.lock().unwrap(), |running| *running >= AT_ONCE).unwrap();
        *running += 1;
        drop(running);
        let name = format!("test-{topic}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut up = tool();
        up.args(["up", &name, "--unsafe-no-fsync", "--owner", &std::process::id().to_string(), "--mode"]);
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
