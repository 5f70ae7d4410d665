//! What drafts become: decided by what is read, by what is remembered, or ahead, behind what is being written.

use super::{
    mutations::Mutation,
    protocol::Protocol,
    system::{Batch, Decision, Ledger, Look, Process, Row, STREAMS, Standing, System, Word},
};

/// What becomes of one draft.
enum Outcome {
    Appended,
    Stale,
    Illegal,
}

impl Protocol {
    /// Decides what the drafts become: as it was decided ahead, or by what is remembered, or by what is read now. A process
    /// that is fenced steps down.
    pub fn decide(&self, system: &mut System, process: usize) {
        let Process { term, looks, known, ahead, .. } = &mut system.processes[process];
        let Some(epoch) = *term else { return };
        let again = looks.iter().any(|look| look.is_in_doubt());
        let memory = known.take();
        if self.has(Mutation::RefuseByMemory) && memory.is_some_and(|memory| memory.epoch != epoch) {
            Self::step_down(system, process);
            system.processes[process].known = memory;
            return;
        }
        let ahead = if again { None } else { ahead.take() };
        // What was decided ahead was dropped with any failure, which stands for its ticket; a position alone tells too little.
        let behind = |ahead: &Decision| memory.is_some_and(|memory| ahead.batch.head == memory.head);
        let begun = match ahead {
            Some(mut ahead) if self.has(Mutation::WriteAheadWhereverTheShardStands) => {
                ahead.batch.head = system.ledger.head;
                Some(ahead)
            }
            Some(ahead) => Some(ahead).filter(behind),
            None => memory.filter(|memory| memory.epoch == epoch).map(|memory| Decision::begin(memory, again)),
        };
        let decided = begun.and_then(|begun| self.by_memory(begun, *looks, again)).or_else(|| {
            let fenced = system.ledger.epoch != epoch && !self.has(Mutation::DropTheFence);
            (!fenced).then(|| self.by_reading(&system.ledger, looks, epoch, again))
        });
        let Some(Decision { batch, leaves }) = decided else { return Self::step_down(system, process) };
        system.processes[process].known = self.shape.ahead.then_some(leaves);
        if !batch.is_empty() {
            system.processes[process].batch = Some(batch);
            self.tell_early(system, process);
        }
    }

    /// What the drafts that were gathered meanwhile become behind the batch that is being written, if that can be told.
    pub fn ahead(&self, process: &Process) -> Option<Decision> {
        let (Some(written), Some(promised), None) = (process.batch, process.known, process.ahead) else { return None };
        let gathered: [Look; STREAMS] = std::array::from_fn(|stream| match written.rows[stream] {
            Some(_) => Look::None,
            None => process.looks[stream],
        });
        self.by_memory(Decision::begin(promised, false), gathered, false)
    }

    /// Decides by what may be out of date, which refuses nobody: who does not fit waits for the next batch. Nothing, if that
    /// is everybody, or if a stream is not known.
    fn by_memory(&self, mut decision: Decision, looks: [Look; STREAMS], again: bool) -> Option<Decision> {
        for (stream, look) in looks.into_iter().enumerate() {
            let Look::Drafted { after, to, in_doubt } = look else { continue };
            if in_doubt != again || decision.batch.rows[stream].is_some() {
                continue;
            }
            decision.leaves.newest[stream]?;
            self.outcome(&mut decision, stream, after, to);
        }
        (!decision.batch.is_empty()).then_some(decision)
    }

    /// Decides by how things stand at this moment, which holds for ever for whoever does not fit.
    fn by_reading(&self, ledger: &Ledger, looks: &mut [Look; STREAMS], epoch: u8, again: bool) -> Decision {
        let mut decision = Decision::begin(Standing { epoch, ..ledger.standing() }, again);
        for (stream, look) in looks.iter_mut().enumerate() {
            let Look::Drafted { after, to, in_doubt } = *look else { continue };
            if in_doubt != again {
                continue;
            }
            match self.outcome(&mut decision, stream, after, to) {
                Outcome::Appended => {}
                Outcome::Stale if in_doubt => *look = recognise(ledger, stream, after, to, epoch),
                Outcome::Stale | Outcome::Illegal => *look = Look::None,
            }
        }
        decision
    }

    /// Decides what one draft becomes, behind those that were taken before.
    fn outcome(&self, decision: &mut Decision, stream: usize, after: u8, to: Word) -> Outcome {
        let Decision { batch, leaves } = decision;
        let before = leaves.newest[stream];
        let stale = after != before.map_or(0, |row| row.sequence);
        if stale && !self.has(Mutation::AppendStaleDrafts) {
            leaves.head += u8::from(self.has(Mutation::CountWhatWasNotWritten));
            return Outcome::Stale;
        }
        let from = before.map(|row| row.to);
        if !stale && !Word::allows(from, to) {
            return Outcome::Illegal;
        }
        leaves.head += 1;
        let reused = self.has(Mutation::ReuseASequence) && before.is_some();
        let row = Row {
            position: leaves.head,
            stream: u8::try_from(stream).expect("there are few streams"),
            sequence: before.map_or(0, |row| row.sequence) + u8::from(!reused),
            from,
            to,
            epoch: batch.epoch,
            recorded: leaves.recorded,
            previous: before.map_or(0, Row::digest),
        };
        (batch.rows[stream], leaves.newest[stream]) = (Some(row), Some(row));
        Outcome::Appended
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
}

impl Decision {
    /// An empty batch behind `standing`. What is tried `again` is later than what was tried first, and none is recorded
    /// earlier than what is there.
    fn begin(standing: Standing, again: bool) -> Self {
        let leaves = Standing { recorded: standing.recorded.max(u8::from(again)), ..standing };
        Self { batch: Batch { epoch: standing.epoch, head: standing.head, rows: [None; STREAMS] }, leaves }
    }
}

/// What a stale draft is whose commit went unanswered: the row at its place may be its own.
fn recognise(ledger: &Ledger, stream: usize, after: u8, to: Word, epoch: u8) -> Look {
    match ledger.row(stream, after + 1) {
        Some(row) if row.epoch == epoch && row.to == to => Look::Recorded { sequence: ledger.sequence(stream) },
        _ => Look::None,
    }
}
