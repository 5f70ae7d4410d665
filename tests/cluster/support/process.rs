//! A child process: started, stopped, killed, and gone with the test in whichever way that ends.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use super::eventually;

/// How many lines of a log are shown with a failure.
const TAIL: usize = 40;

/// One process, whose output goes to a file.
pub struct Process {
    name: String,
    log: PathBuf,
    pid: u32,
    child: Mutex<Child>,
    // Its standard input is a pipe that only the test holds: however the test ends, the pipe closes, and the watchdog
    // kills the process.
    watchdog: Mutex<Child>,
}

impl Process {
    /// Starts `command`; what it says is added to the file at `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let open = || OpenOptions::new().create(true).append(true).open(log).expect("the process's log");
        let child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("starting {name}: {error}"));
        let pid = child.id();
        let watchdog = Command::new("sh")
            .args(["-c", "read _; kill -KILL \"$0\""])
            .arg(pid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting the watchdog");
        Self {
            name: name.to_owned(),
            log: log.to_owned(),
            pid,
            child: Mutex::new(child),
            watchdog: Mutex::new(watchdog),
        }
    }

    /// Its number, while it lives.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, signal: &str) {
        let mut child = self.child.lock().unwrap();
        // A process that has ended is waited for first, so that its pid is still its own when the signal goes out.
        if child.try_wait().expect("asking for the process's state").is_none() {
            let sent = Command::new("kill").args(["-s", signal, &self.pid.to_string()]).status();
            assert!(sent.is_ok_and(|status| status.success()), "sending {signal} to {}", self.name);
        }
    }

    /// SIGKILL: it ends in the middle of whatever it does.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().ok();
        child.wait().expect("waiting for a killed process");
        self.release();
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        let status = self.child.lock().unwrap().try_wait().expect("asking for the process's state");
        if status.is_some() {
            self.release();
        }
        status
    }

    /// Waits for its end; answers the exit code.
    pub async fn exit_code(&self, deadline: Duration) -> i32 {
        let status = eventually(deadline, &format!("{} ends", self.name), || async {
            self.ended().ok_or_else(|| format!("it still runs; its log ends with\n{}", self.tail()))
        })
        .await;
        status.code().unwrap_or_else(|| panic!("{} was ended by signal {:?}", self.name, status.signal()))
    }

    /// Everything that it said, and those before it that had the same log.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }

    // The pid may now be given to another process, which must not be killed.
    fn release(&self) {
        let mut watchdog = self.watchdog.lock().unwrap();
        watchdog.kill().ok();
        watchdog.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Its directory goes with the test.
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}.log", self.name, self.pid));
            let whole =
                fs::copy(&self.log, &kept).map_or_else(|error| error.to_string(), |_| kept.display().to_string());
            eprintln!("--- the log of {} ({whole}) ends with\n{}\n---", self.name, self.tail());
        }
        self.kill();
    }
}

/// The last lines of the file at `log`.
pub fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
