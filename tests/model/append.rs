//! Looking, appending and taking over.

use super::{
    mutations::Mutation,
    protocol::Protocol,
    system::{Batch, Look, Phase, Process, STREAMS, System, Word},
};

impl Protocol {
    /// What a look at a resource comes to, if anything.
    pub fn look(&self, system: &System, stream: usize) -> Option<Look> {
        let newest = system.ledger.newest(stream);
        let sequence = newest.map_or(0, |row| row.sequence);
        match Word::next(self.shape.first, newest.map(|row| row.to), system.gone[stream]) {
            Some(to) => Some(Look::Drafted { after: sequence, to, in_doubt: false }),
            None => (system.status[stream] != sequence).then_some(Look::Recorded { sequence }),
        }
    }

    /// One statement: it moves the shard's row from where it was read, or does nothing.
    pub fn write(&self, system: &mut System, batch: Batch) -> bool {
        let ledger = &mut system.ledger;
        let mine = ledger.epoch == batch.epoch || self.has(Mutation::DropTheFence);
        let unmoved = ledger.head == batch.head || self.has(Mutation::WriteWithoutComparing);
        if !mine || !unmoved {
            return false;
        }
        for row in batch.in_order() {
            ledger.head = row.position;
            ledger.rows.push(row);
            let lane = &mut system.lanes[usize::from(row.stream)];
            if lane.phase == Phase::Idle && !self.has(Mutation::WakeNobody) {
                lane.phase = Phase::Ready;
            }
        }
        true
    }

    /// Sends the batch and hears what came of it. What was decided ahead is next if it was written.
    pub fn commit(&self, system: &mut System, process: usize) {
        let Some(batch) = system.processes[process].batch.take() else { return };
        if !self.write(system, batch) {
            return self.forget(system, process);
        }
        let Process { looks, ahead, .. } = &mut system.processes[process];
        let early = ahead.filter(|_| self.has(Mutation::TellAheadWithTheFirst));
        let told = batch.rows.into_iter().chain(early.into_iter().flat_map(|ahead| ahead.batch.rows));
        for row in told.flatten() {
            looks[usize::from(row.stream)] = Look::Recorded { sequence: row.sequence };
        }
    }

    /// The database says that it did not do it.
    pub fn refuse(&self, system: &mut System, process: usize) {
        system.processes[process].batch = None;
        self.forget(system, process);
    }

    /// Sends the batch and hears nothing. The database has done it, or may still do it.
    pub fn doubt(&self, system: &mut System, process: usize, done: bool) {
        let Some(batch) = system.processes[process].batch.take() else { return };
        if done {
            self.write(system, batch);
        } else {
            Self::leave(system, batch);
        }
        self.forget(system, process);
        for row in batch.rows.into_iter().flatten() {
            let look = &mut system.processes[process].looks[usize::from(row.stream)];
            match look {
                _ if self.has(Mutation::TakeDoubtForDone) => *look = Look::Recorded { sequence: row.sequence },
                Look::Drafted { in_doubt, .. } => *in_doubt = true,
                Look::None | Look::Recorded { .. } => {}
            }
        }
    }

    /// How the shard would stand is not known after all, nor what was decided ahead on the strength of it.
    fn forget(&self, system: &mut System, process: usize) {
        let Process { known, ahead, .. } = &mut system.processes[process];
        if !self.has(Mutation::RememberWhatFailed) {
            *known = None;
        }
        if !self.has(Mutation::KeepAheadBehindAnotherTry) && !self.has(Mutation::WriteAheadWhereverTheShardStands) {
            *ahead = None;
        }
    }

    /// The batch is tried no more. Whoever waits for it is told that nobody knows what became of it.
    pub fn leave_unresolved(system: &mut System, process: usize) {
        for look in system.processes[process].looks.iter_mut().filter(|look| look.is_in_doubt()) {
            *look = Look::None;
        }
    }

    /// The database has a statement whose sender no longer listens.
    fn leave(system: &mut System, batch: Batch) {
        system.late.push(batch);
        system.late.sort_unstable();
    }

    /// Begins the next term. Whatever lanes are held fall due at once.
    pub fn take_over(&self, system: &mut System, process: usize) {
        system.ledger.epoch += u8::from(!self.has(Mutation::TakeOverInTheSameTerm) || system.ledger.epoch == 0);
        system.processes[process].term = Some(system.ledger.epoch);
        if self.has(Mutation::LeasesNeverEnd) {
            return;
        }
        for stream in 0..STREAMS {
            if system.lanes[stream].phase == Phase::Held {
                Self::end_lease(system, stream);
            }
        }
    }

    /// Ends the term, and gives the Lease up if it is held. What it was about to do is dropped, what it sent may still
    /// arrive, and claims that were begun may end. It leads again some day, and remembers.
    pub fn step_down(system: &mut System, process: usize) {
        let Process { permitted, term, looks, batch, known, ahead, .. } = &mut system.processes[process];
        (*permitted, *term, *looks, *ahead) = (false, None, [Look::None; STREAMS], None);
        system.lease = system.lease.filter(|holder| usize::from(*holder) != process);
        if let Some(batch) = batch.take() {
            *known = None;
            Self::leave(system, batch);
        }
    }

    /// Ends the process. Another begins in its place, and knows nothing. (Its Lease runs out before anybody can take it.)
    pub fn crash(system: &mut System, process: usize) {
        Self::step_down(system, process);
        let Process { claims, known, .. } = &mut system.processes[process];
        (*claims, *known) = Default::default();
        for request in &mut system.wire {
            request.from = request.from.filter(|from| usize::from(*from) != process);
        }
        system.wire.sort_unstable();
    }
}
