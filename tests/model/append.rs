//! Looking, appending and taking over.

use super::{
    mutations::Mutation,
    protocol::Protocol,
    system::{Batch, Ledger, Look, Phase, Process, Row, STREAMS, System, Word},
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

    /// Reads how things stand and decides what the drafts become. A process that is fenced steps down.
    pub fn decide(&self, system: &mut System, process: usize) {
        let System { ledger, processes, .. } = system;
        let Process { term, looks, batch, .. } = &mut processes[process];
        let Some(epoch) = *term else { return };
        if ledger.epoch != epoch && !self.has(Mutation::DropTheFence) {
            return Self::step_down(system, process);
        }
        let mut head = ledger.head;
        let mut rows = [None; STREAMS];
        for (stream, look) in looks.iter_mut().enumerate() {
            let Look::Drafted { after, to, in_doubt } = *look else { continue };
            let before = ledger.newest(stream);
            let stale = after != before.map_or(0, |row| row.sequence);
            if stale && !self.has(Mutation::AppendStaleDrafts) {
                *look = if in_doubt { recognise(ledger, stream, after, to, epoch) } else { Look::None };
                head += u8::from(self.has(Mutation::CountWhatWasNotWritten));
                continue;
            }
            let from = before.map(|row| row.to);
            if !stale && !Word::allows(from, to) {
                *look = Look::None;
                continue;
            }
            head += 1;
            let reused = self.has(Mutation::ReuseASequence) && before.is_some();
            let sequence = before.map_or(0, |row| row.sequence) + u8::from(!reused);
            let previous = before.map_or(0, |row| row.digest());
            rows[stream] = Some(Row { position: head, stream: index(stream), sequence, from, to, epoch, previous });
        }
        if rows.iter().any(Option::is_some) {
            *batch = Some(Batch { epoch, head: ledger.head, rows });
            self.tell_early(system, process);
        }
    }

    /// Mistakes that are made between the decision and the commit.
    fn tell_early(&self, system: &mut System, process: usize) {
        let Some(batch) = system.processes[process].batch else { return };
        for row in batch.rows.into_iter().flatten() {
            if self.has(Mutation::ProjectBeforeTheCommit) {
                system.status[usize::from(row.stream)] = row.sequence;
            }
            if self.has(Mutation::TellBeforeTheCommit) {
                Self::post(system, row, None);
            }
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
        for row in batch.rows.into_iter().flatten() {
            ledger.head = row.position;
            ledger.rows.push(row);
            let lane = &mut system.lanes[usize::from(row.stream)];
            if lane.phase == Phase::Idle && !self.has(Mutation::WakeNobody) {
                lane.phase = Phase::Ready;
            }
        }
        true
    }

    /// Sends the batch and hears what came of it.
    pub fn commit(&self, system: &mut System, process: usize) {
        let Some(batch) = system.processes[process].batch.take() else { return };
        let written = self.write(system, batch);
        for row in batch.rows.into_iter().flatten().filter(|_| written) {
            system.processes[process].looks[usize::from(row.stream)] = Look::Recorded { sequence: row.sequence };
        }
    }

    /// Sends the batch and hears nothing. The database has done it, or may still do it.
    pub fn doubt(&self, system: &mut System, process: usize, done: bool) {
        let Some(batch) = system.processes[process].batch.take() else { return };
        if done {
            self.write(system, batch);
        } else {
            Self::leave(system, batch);
        }
        for row in batch.rows.into_iter().flatten() {
            let look = &mut system.processes[process].looks[usize::from(row.stream)];
            match look {
                _ if self.has(Mutation::TakeDoubtForDone) => *look = Look::Recorded { sequence: row.sequence },
                Look::Drafted { in_doubt, .. } => *in_doubt = true,
                Look::None | Look::Recorded { .. } => {}
            }
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
    /// arrive, and claims that were begun may end.
    pub fn step_down(system: &mut System, process: usize) {
        let Process { permitted, term, looks, batch, .. } = &mut system.processes[process];
        (*permitted, *term, *looks) = (false, None, [Look::None; STREAMS]);
        system.lease = system.lease.filter(|holder| usize::from(*holder) != process);
        if let Some(batch) = batch.take() {
            Self::leave(system, batch);
        }
    }

    /// Ends the process. Another begins in its place, and knows nothing. (Its Lease runs out before anybody can take it.)
    pub fn crash(system: &mut System, process: usize) {
        Self::step_down(system, process);
        system.processes[process].claims = Default::default();
        for request in &mut system.wire {
            request.from = request.from.filter(|from| usize::from(*from) != process);
        }
        system.wire.sort_unstable();
    }
}

/// What a stale draft is whose commit went unanswered: the row at its place may be its own.
fn recognise(ledger: &Ledger, stream: usize, after: u8, to: Word, epoch: u8) -> Look {
    match ledger.row(stream, after + 1) {
        Some(row) if row.epoch == epoch && row.to == to => Look::Recorded { sequence: ledger.sequence(stream) },
        _ => Look::None,
    }
}

/// A stream's number as rows carry it.
fn index(stream: usize) -> u8 {
    u8::try_from(stream).expect("there are few streams")
}
