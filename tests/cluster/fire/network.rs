//! A network namespace for each controller, whose only link leads to everything else, and what goes wrong with that link.
//!
//! All of it is inside one more namespace that has no way out, so nothing on the machine is touched; and all of it is gone with
//! the test, since a namespace lives as long as a process in it.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use super::schedule::{How, Link};
use crate::support::{Cluster, PORTS};

/// Set for a test that is run once more inside.
const INSIDE: &str = "TRUEUP_FIRE_INSIDE";
/// Where everything listens that controllers talk to.
pub const HUB: &str = "10.91.0.1";
/// The database's port for whoever uses it, wherever it is just now.
pub const DATABASE: u16 = 5432;

/// No rule yet, whatever there was before.
const CHAINS: &str = "
table ip fire {
  chain inward {
    type filter hook input priority 0
  }
  chain outward {
    type filter hook output priority 0
  }
  chain led {
    type nat hook prerouting priority -100
  }
  chain led-here {
    type nat hook output priority -100
  }
}
flush table ip fire
";

/// Where the test runs.
pub enum Whereabouts {
    /// Outside; it was run inside, and passed.
    Outside,
    /// In a namespace of its own.
    Inside,
    /// Where no namespaces can be made.
    Without,
}

/// Runs the test of this name once more in a network namespace of its own.
pub fn go_inside(test: &str) -> Whereabouts {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["addr", "add", &format!("{HUB}/32"), "dev", "lo"]);
        return Whereabouts::Inside;
    }
    let possible = |program: &str, words: &[&str]| {
        Command::new(program)
            .args(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !possible("unshare", &["--net", "nft", "list", "ruleset"]) || !possible("ip", &["link"]) {
        return Whereabouts::Without;
    }
    // From in there, nothing can be fetched.
    Cluster::build();
    // It ends with this process, in whichever way that ends.
    let mut inside = Command::new("setpriv");
    inside.args(["--pdeathsig", "KILL", "unshare", "--net"]).arg(std::env::current_exe().expect("this program"));
    inside.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let status = inside.status().expect("running the test in a network namespace");
    assert!(status.success(), "the test failed in its network namespace: {status}");
    Whereabouts::Outside
}

/// A link that something is wrong with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    pub replica: usize,
    pub link: Link,
    pub how: How,
}

/// The ports at the hub.
#[derive(Clone, Copy)]
pub struct Ports {
    pub api_server: u16,
    pub receiver: u16,
}

/// How things stand.
struct State {
    cuts: Vec<Cut>,
    /// Where the database that is written to listens.
    database: u16,
}

/// One namespace and one link for each controller.
pub struct Network {
    holders: Vec<Child>,
    ports: Ports,
    state: Mutex<State>,
}

impl Network {
    /// Makes them.
    pub fn new(replicas: usize, ports: Ports) -> Self {
        let holders = (0..replicas).map(link).collect();
        let state = State { cuts: vec![], database: PORTS[0] };
        let network = Self { holders, ports, state: Mutex::new(state) };
        network.write(&network.state.lock().unwrap());
        network
    }

    /// The namespace of a controller.
    pub fn of(&self, replica: usize) -> PathBuf {
        namespace(&self.holders[replica])
    }

    /// Something goes wrong with a link.
    pub fn cut(&self, cut: Cut) {
        let mut state = self.state.lock().unwrap();
        state.cuts.push(cut);
        self.write(&state);
    }

    /// That is over.
    pub fn mend(&self, cut: Cut) {
        let mut state = self.state.lock().unwrap();
        if let Some(found) = state.cuts.iter().position(|it| *it == cut) {
            state.cuts.swap_remove(found);
        }
        self.write(&state);
    }

    /// Whoever connects to the database from now on comes to this port.
    pub fn lead_to(&self, database: u16) {
        let mut state = self.state.lock().unwrap();
        state.database = database;
        self.write(&state);
    }

    /// All rules at once: there is no moment with half of them.
    fn write(&self, state: &State) {
        let mut rules = String::from(CHAINS);
        for chain in ["led", "led-here"] {
            let (from, to) = (format!("ip daddr {HUB} tcp dport {DATABASE}"), format!("{HUB}:{}", state.database));
            rules.extend([format!("add rule ip fire {chain} {from} dnat to {to}\n")]);
        }
        for cut in &state.cuts {
            rules.push_str(&self.rules(*cut));
        }
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("starting nft");
        nft.stdin.take().expect("its input").write_all(rules.as_bytes()).expect("telling nft the rules");
        assert!(nft.wait().expect("waiting for nft").success(), "nft refused\n{rules}");
        for replica in 0..self.holders.len() {
            let slow = state.cuts.iter().any(|cut| cut.replica == replica && cut.how == How::Slow);
            let change = if slow { "replace" } else { "del" };
            let mut traffic = Command::new("tc");
            traffic.args(["qdisc", change, "dev", &hub_end(replica), "root"]);
            if slow {
                traffic.args(["tbf", "rate", "256kbit", "burst", "4k", "latency", "2s"]);
            }
            // There may be nothing to take away.
            let done = traffic.stderr(Stdio::null()).status().expect("running tc").success();
            assert!(done || !slow, "tc refused to slow a link down");
        }
    }

    fn rules(&self, cut: Cut) -> String {
        let port = match cut.link {
            Link::ApiServer => Some(self.ports.api_server.to_string()),
            Link::Database => Some(format!("{{ {}, {} }}", PORTS[0], PORTS[1])),
            Link::Receiver => Some(self.ports.receiver.to_string()),
            Link::All => None,
        };
        let end = hub_end(cut.replica);
        let verdict = match cut.how {
            How::Silent => "drop",
            // A reset on its way is not refused in its turn.
            How::Reset => "tcp flags & rst != rst reject with tcp reset",
            How::Lossy => "numgen random mod 4 == 0 drop",
            How::Slow => return String::new(),
        };
        let rule = |chain: &str, direction: &str, side: &str| {
            let port = port.as_ref().map_or(String::new(), |port| format!("tcp {side} {port} "));
            format!("add rule ip fire {chain} {direction} {end} {port}{verdict}\n")
        };
        rule("inward", "iifname", "dport") + &rule("outward", "oifname", "sport")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            holder.kill().ok();
            holder.wait().ok();
        }
    }
}

/// A namespace, which lives while the process does that holds it, and its link to the hub.
fn link(replica: usize) -> Child {
    let mut holding = Command::new("setpriv");
    holding.args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]);
    let holder = holding.stdin(Stdio::null()).spawn().expect("making a network namespace");
    let ours = std::fs::read_link("/proc/self/ns/net").expect("this network namespace");
    for _ in 0..500 {
        if std::fs::read_link(namespace(&holder)).is_ok_and(|its| its != ours) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (near, far) = (hub_end(replica), namespace(&holder).display().to_string());
    let (pid, subnet) = (holder.id().to_string(), format!("10.91.{}", replica + 1));
    run("ip", &["link", "add", &near, "type", "veth", "peer", "name", "uplink", "netns", &pid]);
    run("ip", &["addr", "add", &format!("{subnet}.1/30"), "dev", &near]);
    run("ip", &["link", "set", &near, "up"]);
    let there = format!("--net={far}");
    for words in [
        vec!["link", "set", "lo", "up"],
        vec!["link", "set", "uplink", "up"],
        vec!["addr", "add", &format!("{subnet}.2/30"), "dev", "uplink"],
        vec!["route", "add", "default", "via", &format!("{subnet}.1")],
    ] {
        run("nsenter", &[&[there.as_str(), "--", "ip"], words.as_slice()].concat());
    }
    holder
}

fn hub_end(replica: usize) -> String {
    format!("to-replica-{replica}")
}

fn namespace(holder: &Child) -> PathBuf {
    PathBuf::from(format!("/proc/{}/ns/net", holder.id()))
}

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
