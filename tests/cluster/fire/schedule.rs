//! What goes wrong, and when: a list made from a seed, so that a run can be repeated.

use std::{fmt, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// How many controllers there are.
pub const REPLICAS: usize = 3;

/// What a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Whichever controller leads by then.
    Leader,
    /// One of the controllers, whether it leads or not.
    Replica(usize),
    /// All of them in the same moment.
    Replicas,
    Database,
    ApiServer,
    /// The API server's own database.
    Etcd,
    Receiver,
}

/// Which of a controller's links is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    ApiServer,
    Database,
    Receiver,
    All,
}

/// How a link is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Packets vanish both ways, and nobody is told.
    Silent,
    /// Both ends are told that the connection is reset.
    Reset,
    /// Every fourth packet is lost.
    Lossy,
    /// What comes back comes in a trickle, and late.
    Slow,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SIGKILL; it is started again after a while.
    Kill(Target),
    /// SIGSTOP, and SIGCONT after a while.
    Stop(Target),
    /// SIGKILL of the database, whose standby then takes over.
    FailOver,
    /// A link of one controller is cut for a while. Other faults go on meanwhile.
    Cut(Target, Link, How),
}

/// A fault and when it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Whether to wait first until somebody leads again, so that there is something to hit.
    pub led: bool,
    /// How long to let things be after that.
    pub rest: Duration,
    pub fault: Fault,
    /// How long until what was killed is started again, what was stopped goes on, and what was cut is mended.
    pub lasts: Duration,
}

/// The faults of one run, until there are so many kills.
pub fn schedule(seed: u64, kills: usize) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut steps = vec![];
    let mut killed = 0;
    while killed < kills {
        let fault = match random.random_range(0..100) {
            0..63 => Fault::Kill(victim(&mut random)),
            63..66 => Fault::FailOver,
            66..80 => Fault::Stop(victim(&mut random)),
            _ => cut(&mut random),
        };
        killed += match fault {
            Fault::Kill(Target::Replicas) => REPLICAS,
            Fault::Kill(_) | Fault::FailOver => 1,
            Fault::Stop(_) | Fault::Cut(..) => 0,
        };
        let mut millis = |most: u64| Duration::from_millis(random.random_range(0..most));
        let (rest, short, long) = (millis(1200), millis(1500), Duration::from_secs(1) + millis(9000));
        let lasts = if matches!(fault, Fault::Kill(_) | Fault::FailOver) { short } else { long };
        steps.push(Step { led: random.random_range(0..10) < 8, rest, fault, lasts });
    }
    steps
}

fn victim(random: &mut StdRng) -> Target {
    match random.random_range(0..100) {
        0..45 => Target::Leader,
        45..66 => Target::Replica(random.random_range(0..REPLICAS)),
        66..69 => Target::Replicas,
        69..81 => Target::Database,
        81..92 => Target::Receiver,
        92..97 => Target::ApiServer,
        _ => Target::Etcd,
    }
}

fn cut(random: &mut StdRng) -> Fault {
    let whose = match random.random_range(0..3) {
        0 => Target::Replica(random.random_range(0..REPLICAS)),
        _ => Target::Leader,
    };
    let link = [Link::ApiServer, Link::Database, Link::Receiver, Link::All].choose(random).copied();
    let how = [How::Silent, How::Silent, How::Reset, How::Lossy, How::Slow].choose(random).copied();
    Fault::Cut(whose, link.unwrap_or(Link::All), how.unwrap_or(How::Silent))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { led, rest, fault, lasts } = self;
        let when = if *led { "once somebody leads, " } else { "" };
        write!(f, "{when}after {} ms: {fault:?}, for {} ms", rest.as_millis(), lasts.as_millis())
    }
}

#[test]
fn a_seed_means_the_same_faults_each_time_and_hits_everything() {
    let steps = schedule(7, 200);
    assert_eq!(steps, schedule(7, 200));
    assert_ne!(steps, schedule(8, 200));
    for target in
        [Target::Leader, Target::Replicas, Target::Database, Target::ApiServer, Target::Etcd, Target::Receiver]
    {
        assert!(steps.iter().any(|step| step.fault == Fault::Kill(target)), "{target:?} is never killed");
    }
    assert!(steps.iter().any(|step| step.fault == Fault::FailOver), "the standby never takes over");
    for link in [Link::ApiServer, Link::Database, Link::Receiver, Link::All] {
        for how in [How::Silent, How::Reset, How::Lossy, How::Slow] {
            let cuts = |step: &Step| matches!(step.fault, Fault::Cut(_, of, by) if of == link && by == how);
            assert!(steps.iter().any(cuts), "the link to {link:?} is never {how:?}");
        }
    }
}
