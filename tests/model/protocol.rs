//! Who may do what next, and what can go wrong.

use std::{collections::HashSet, sync::Mutex};

use stateright::{Model, Property};

use super::{
    mutations::Mutation,
    properties,
    system::{LEADERS, Lane, Ledger, Look, Phase, Process, Request, STREAMS, Stage, System, Word},
};

/// The protocol, perhaps with a mistake in it.
pub struct Protocol {
    pub mutation: Option<Mutation>,
    pub shape: Shape,
    /// States from which all is well in the end, as far as they are known.
    pub calm: Mutex<HashSet<u64>>,
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub streams: usize,
    /// What a stream opens with: the earlier, the more rows it gets.
    pub first: Word,
    /// How many of them have their first row already, and everybody has it.
    pub standing: usize,
    /// How many resources may vanish.
    pub vanishing: usize,
    /// Whether a process remembers how the shard stood, and decides the next batch while one is being written.
    pub ahead: bool,
    /// Whether anybody delivers.
    pub relay: bool,
    /// How many things may go wrong in one run.
    pub faults: u8,
}

/// A step. Processes, streams and places on the wire by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Vanish(usize),
    Acquire(usize),
    TakeOver(usize),
    Notice(usize),
    Look(usize, usize),
    Decide(usize),
    DecideAhead(usize),
    Commit(usize),
    LeaveUnresolved(usize),
    Project(usize, usize),
    Hold(usize, usize),
    ReadRows(usize, usize),
    Send(usize, usize),
    Receive(usize),
    Settle(usize, usize),
    LaneFallsDue(usize),
    LateWrite(usize),
    Crash(usize),
    LeaseEnds,
    CommitRefused(usize),
    AnswerOfCommitLost(usize),
    CommitDelayed(usize),
    LaneLeaseEnds(usize),
    AnswerLost(usize),
    Duplicate(usize),
    GiveUp(usize),
}

impl Action {
    /// Whether something goes wrong.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Crash(_)
                | Self::LeaseEnds
                | Self::CommitRefused(_)
                | Self::AnswerOfCommitLost(_)
                | Self::CommitDelayed(_)
                | Self::LaneLeaseEnds(_)
                | Self::AnswerLost(_)
                | Self::Duplicate(_)
                | Self::GiveUp(_)
        )
    }
}

impl Protocol {
    pub fn new(mutation: Option<Mutation>, shape: Shape) -> Self {
        Self { mutation, shape, calm: Mutex::default() }
    }

    pub fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// What may happen without anything going wrong, in the order in which calm prefers it.
    pub fn steps(&self, system: &System) -> Vec<Action> {
        let mut steps = Vec::with_capacity(16);
        let System { lanes, processes, lease, wire, .. } = system;
        for (number, process) in processes.iter().enumerate() {
            let holds = lease.is_some_and(|holder| usize::from(holder) == number);
            if process.permitted && !holds {
                steps.push(Action::Notice(number));
            }
            if process.permitted && process.term.is_none() {
                steps.push(Action::TakeOver(number));
            }
            if !process.permitted && lease.is_none() {
                steps.push(Action::Acquire(number));
            }
        }
        steps.extend((0..system.late.len()).map(Action::LateWrite));
        steps.extend((0..wire.len()).map(Action::Receive));
        for (stream, lane) in lanes.iter().enumerate() {
            let left = lane.phase == Phase::Held && !lane.over && !Self::is_worked_on(system, stream);
            if left && !self.has(Mutation::LeasesNeverEnd) {
                steps.push(Action::LaneFallsDue(stream));
            }
        }
        for (number, process) in processes.iter().enumerate() {
            self.work(system, number, process, &mut steps);
        }
        steps
    }

    fn work(&self, system: &System, number: usize, process: &Process, steps: &mut Vec<Action>) {
        let leads = process.term.is_some();
        for (stream, claim) in process.claims.iter().enumerate() {
            match claim.map(|claim| claim.stage) {
                Some(Stage::Held) => steps.push(Action::ReadRows(number, stream)),
                Some(Stage::Sending) => steps.push(Action::Send(number, stream)),
                Some(Stage::Ended) => steps.push(Action::Settle(number, stream)),
                None if leads && self.shape.relay && self.is_due(system, stream) => {
                    steps.push(Action::Hold(number, stream));
                }
                Some(Stage::Waiting) | None => {}
            }
        }
        match process.batch {
            Some(_) => {
                steps.push(Action::Commit(number));
                if self.ahead(process).is_some() {
                    steps.push(Action::DecideAhead(number));
                }
            }
            None if process.looks.iter().any(|look| matches!(look, Look::Drafted { .. })) => {
                steps.push(Action::Decide(number));
                if process.looks.iter().any(|look| look.is_in_doubt()) {
                    steps.push(Action::LeaveUnresolved(number));
                }
            }
            None => {}
        }
        for (stream, look) in process.looks.iter().enumerate().take(self.shape.streams) {
            match look {
                Look::Recorded { .. } => steps.push(Action::Project(number, stream)),
                Look::None if leads && self.look(system, stream).is_some() => steps.push(Action::Look(number, stream)),
                Look::None | Look::Drafted { .. } => {}
            }
        }
    }

    /// What may go wrong.
    fn faults(system: &System, faults: &mut Vec<Action>) {
        for (number, process) in system.processes.iter().enumerate() {
            if process.permitted || process.claims.iter().any(Option::is_some) {
                faults.push(Action::Crash(number));
            }
            if process.batch.is_some() {
                faults.extend([
                    Action::CommitRefused(number),
                    Action::AnswerOfCommitLost(number),
                    Action::CommitDelayed(number),
                ]);
            }
        }
        if system.lease.is_some() {
            faults.push(Action::LeaseEnds);
        }
        for stream in 0..STREAMS {
            let lane = system.lanes[stream];
            if lane.phase == Phase::Held && !lane.over && Self::is_worked_on(system, stream) {
                faults.push(Action::LaneLeaseEnds(stream));
            }
        }
        for (place, request) in system.wire.iter().enumerate() {
            faults.push(Action::Duplicate(place));
            if request.from.is_some() {
                faults.extend([Action::AnswerLost(place), Action::GiveUp(place)]);
            }
        }
    }

    /// A stream's first row, and all that comes of it.
    fn open(&self, system: &mut System, stream: usize) {
        system.processes[0].looks[stream] = self.look(system, stream).unwrap_or_default();
        self.decide(system, 0);
        self.commit(system, 0);
        system.processes[0].looks[stream] = Look::None;
        system.status[stream] = 1;
        if self.shape.relay {
            system.applied[stream] = system.ledger.row(stream, 1).copied().into_iter().collect();
            system.lanes[stream] = Lane { acked: 1, ..Lane::default() };
        }
    }

    /// Takes a request off the wire.
    fn take(system: &mut System, place: usize) -> Request {
        system.wire.remove(place)
    }

    /// What `action` makes of `before`.
    pub fn after(&self, before: &System, action: Action) -> System {
        let mut next = before.clone();
        let system = &mut next;
        match action {
            Action::Vanish(stream) => system.gone[stream] = true,
            Action::Acquire(process) => {
                system.lease = u8::try_from(process).ok();
                system.processes[process].permitted = true;
            }
            Action::TakeOver(process) => self.take_over(system, process),
            Action::Notice(process) => Self::step_down(system, process),
            Action::Look(process, stream) => {
                system.processes[process].looks[stream] = self.look(system, stream).unwrap_or_default();
            }
            Action::Decide(process) => self.decide(system, process),
            Action::DecideAhead(process) => system.processes[process].ahead = self.ahead(&before.processes[process]),
            Action::Commit(process) => self.commit(system, process),
            Action::LeaveUnresolved(process) => Self::leave_unresolved(system, process),
            Action::Project(process, stream) => {
                if let Look::Recorded { sequence } = std::mem::take(&mut system.processes[process].looks[stream]) {
                    system.status[stream] = sequence;
                }
            }
            Action::Hold(process, stream) => Self::hold(system, process, stream),
            Action::ReadRows(process, stream) => Self::read_rows(system, process, stream),
            Action::Send(process, stream) => self.send(system, process, stream),
            Action::Receive(place) => {
                let request = Self::take(system, place);
                if Self::receive(system, request.row) {
                    Self::answer(system, request);
                } else {
                    self.give_up(system, request);
                }
            }
            Action::Settle(process, stream) => self.settle(system, process, stream),
            Action::LaneFallsDue(stream) | Action::LaneLeaseEnds(stream) => Self::end_lease(system, stream),
            Action::LateWrite(place) => {
                let batch = system.late.remove(place);
                self.write(system, batch);
            }
            Action::Crash(process) => Self::crash(system, process),
            Action::LeaseEnds => system.lease = None,
            Action::CommitRefused(process) => self.refuse(system, process),
            Action::AnswerOfCommitLost(process) => self.doubt(system, process, true),
            Action::CommitDelayed(process) => self.doubt(system, process, false),
            Action::AnswerLost(place) => {
                let request = Self::take(system, place);
                Self::receive(system, request.row);
                self.give_up(system, request);
            }
            Action::Duplicate(place) => {
                let request = system.wire[place];
                Self::receive(system, request.row);
            }
            Action::GiveUp(place) => {
                let request = Self::take(system, place);
                self.give_up(system, request);
                Self::post(system, request.row, None);
            }
        }
        next
    }
}

impl Model for Protocol {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        // The first term has begun: until then nothing can happen, and which process is first makes no difference.
        let mut processes = [Process::default(); LEADERS];
        (processes[0].permitted, processes[0].term) = (true, Some(1));
        let mut system = System {
            ledger: Ledger { epoch: 1, ..Ledger::default() },
            lanes: Default::default(),
            processes,
            lease: Some(0),
            late: vec![],
            wire: vec![],
            applied: Default::default(),
            status: [0; STREAMS],
            gone: [false; STREAMS],
            faults: self.shape.faults,
            changed_by_a_lost_claim: false,
        };
        for stream in 0..self.shape.standing {
            self.open(&mut system, stream);
        }
        vec![system]
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        actions.extend(self.steps(system));
        if system.gone.iter().filter(|gone| **gone).count() < self.shape.vanishing {
            actions.extend((0..self.shape.streams).filter(|stream| !system.gone[*stream]).map(Action::Vanish));
        }
        if system.faults > 0 {
            Self::faults(system, actions);
        }
    }

    fn next_state(&self, before: &System, action: Action) -> Option<System> {
        let mut after = self.after(before, action);
        after.faults -= u8::from(action.is_fault());
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self.shape)
    }
}
