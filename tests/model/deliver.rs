//! Claiming, sending and acknowledging.

use super::{
    mutations::Mutation,
    protocol::Protocol,
    system::{Claim, Phase, Process, ROWS, Request, Row, Stage, System},
};

impl Protocol {
    /// Whether a lane may be claimed.
    pub fn is_due(&self, system: &System, stream: usize) -> bool {
        let lane = system.lanes[stream];
        match lane.phase {
            Phase::Idle => false,
            Phase::Ready => true,
            Phase::Held => lane.over || self.has(Mutation::ClaimWithoutLease),
        }
    }

    /// Holds a lane under a token that nobody else has.
    pub fn hold(system: &mut System, process: usize, stream: usize) {
        let used = |token: u8| {
            let claims = system.processes.iter().flat_map(|process| process.claims.iter().flatten());
            claims
                .map(|claim| claim.token)
                .chain(system.lanes.iter().filter_map(|lane| lane.token))
                .any(|it| it == token)
        };
        let token = (0..u8::MAX).find(|token| !used(*token)).expect("there are few claims");
        let lane = &mut system.lanes[stream];
        (lane.phase, lane.token, lane.over) = (Phase::Held, Some(token), false);
        let through = lane.acked;
        let claim = Claim { token, stage: Stage::Held, through, last: through, head: through, over: false };
        system.processes[process].claims[stream] = Some(claim);
    }

    /// Reads the rows of a lane that is held, in a statement of its own.
    pub fn read_rows(system: &mut System, process: usize, stream: usize) {
        let head = system.ledger.sequence(stream);
        let Some(claim) = &mut system.processes[process].claims[stream] else { return };
        claim.head = head;
        claim.last = head.min(claim.through + ROWS);
        claim.stage = if claim.last > claim.through { Stage::Sending } else { Stage::Ended };
    }

    /// Sends the next row of a claim.
    pub fn send(&self, system: &mut System, process: usize, stream: usize) {
        let System { ledger, processes, .. } = system;
        let Some(claim) = &mut processes[process].claims[stream] else { return };
        let place = if self.has(Mutation::SendTheNewestOnly) { claim.last } else { claim.through + 1 };
        let Some(mut row) = ledger.row(stream, place).copied() else { return };
        if self.has(Mutation::RenderOnSending) {
            row.epoch = ledger.epoch;
        }
        claim.stage = Stage::Waiting;
        if self.has(Mutation::AckBeforeTheAnswer) {
            (claim.through, claim.stage) = (place, Stage::Ended);
        }
        Self::post(system, row, u8::try_from(process).ok());
    }

    /// Puts an event on the wire.
    pub fn post(system: &mut System, row: Row, from: Option<u8>) {
        system.wire.push(Request { row, from });
        system.wire.sort_unstable();
    }

    /// The receiver takes an event: it applies the next one, and knows again what it has.
    pub fn receive(system: &mut System, row: Row) -> bool {
        let applied = &mut system.applied[usize::from(row.stream)];
        if usize::from(row.sequence) == applied.len() + 1 {
            applied.push(row);
        }
        usize::from(row.sequence) <= applied.len()
    }

    /// The sender of `request` hears that it was accepted.
    pub fn answer(system: &mut System, request: Request) {
        let Some(claim) = Self::waiting(system, request) else { return };
        claim.through = claim.through.max(request.row.sequence);
        claim.stage = if claim.through < claim.last { Stage::Sending } else { Stage::Ended };
    }

    /// The sender of `request` gives up on its answer. The event may have arrived, and may arrive yet.
    pub fn give_up(&self, system: &mut System, request: Request) {
        let Some(claim) = Self::waiting(system, request) else { return };
        claim.stage = Stage::Ended;
        if self.has(Mutation::AckOnSilence) {
            claim.through = request.row.sequence;
        }
    }

    fn waiting(system: &mut System, request: Request) -> Option<&mut Claim> {
        let process = &mut system.processes[usize::from(request.from?)];
        process.claims[usize::from(request.row.stream)].as_mut().filter(|claim| claim.stage == Stage::Waiting)
    }

    /// Tells the ledger what came of a claim. One that no longer holds its lane changes nothing.
    pub fn settle(&self, system: &mut System, process: usize, stream: usize) {
        let Some(claim) = system.processes[process].claims[stream].take() else { return };
        let head = system.ledger.sequence(stream);
        let lane = &mut system.lanes[stream];
        let holds = lane.token == Some(claim.token);
        if !holds && !self.has(Mutation::AckWithoutToken) {
            return;
        }
        let through = if self.has(Mutation::AckToTheHead) { head } else { claim.through.min(head) };
        lane.acked = lane.acked.max(through);
        let newest = if self.has(Mutation::RestByAnOldHead) { claim.head } else { head };
        lane.phase = if lane.acked >= newest { Phase::Idle } else { Phase::Ready };
        (lane.token, lane.over) = (None, false);
        system.changed_by_a_lost_claim |= !holds;
    }

    /// Whether somebody alive still works on the claim that holds a lane.
    pub fn is_worked_on(system: &System, stream: usize) -> bool {
        let token = system.lanes[stream].token;
        let holds = |process: &Process| process.claims[stream].is_some_and(|claim| Some(claim.token) == token);
        system.processes.iter().any(holds)
    }

    /// The lease on a lane ends, whether its holder notices or not.
    pub fn end_lease(system: &mut System, stream: usize) {
        let lane = &mut system.lanes[stream];
        lane.over = true;
        for claim in system.processes.iter_mut().filter_map(|process| process.claims[stream].as_mut()) {
            claim.over |= Some(claim.token) == lane.token;
        }
    }
}
