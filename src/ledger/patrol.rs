//! The audit of the ledger in bounded steps, for a process that has other things to do.

use std::collections::HashSet;

use super::{
    audit::Auditor,
    audit::Report,
    invariants::{self, Violation},
    store::{Store, StoreError},
    types::{Row, RowQuery},
};
use crate::domain::{Position, Shard, Tables, Uid};

/// So many violations are remembered, so that each is told once.
const REMEMBERED: usize = 1_000;

/// Where an audit in steps has come to.
#[derive(Debug, Default)]
pub struct Patrol {
    /// The last stream that was checked.
    stream: Option<Uid>,
    /// The last row that was checked in the order of positions.
    row: Option<Row>,
    /// Violations of this round so far, and of the one before.
    round: u64,
    last_round: u64,
    told: HashSet<String>,
}

/// What a step has found.
#[derive(Debug)]
pub struct Step {
    /// Violations that no step has told of before.
    pub new: Vec<Violation>,
    /// How many violations stand, as far as is known: those of the last whole round, or of this one if they are more.
    pub standing: u64,
}

impl Patrol {
    /// Checks the next `count` streams, with their lanes, and as many rows in the order of their positions.
    pub async fn step(&mut self, store: &dyn Store, tables: Tables, count: u32) -> Result<Step, StoreError> {
        let mut report = Report::default();
        let Some(installation) = store.stored_installation().await? else {
            return Ok(Step { new: vec![], standing: 0 });
        };
        let auditor = Auditor { store, tables, installation };
        let destinations = store.destinations().await?;
        self.rows(&auditor, count, &mut report).await?;
        self.stream = auditor.streams_behind(self.stream.as_ref(), count, &destinations, &mut report).await?;
        self.round += report.violated;
        if self.stream.is_none() {
            self.last_round = std::mem::take(&mut self.round);
        }
        if self.told.len() > REMEMBERED {
            self.told.clear();
        }
        let new = report.violations.into_iter().filter(|violation| self.told.insert(violation.to_string())).collect();
        Ok(Step { new, standing: self.round.max(self.last_round) })
    }

    async fn rows(&mut self, auditor: &Auditor<'_>, count: u32, report: &mut Report) -> Result<(), StoreError> {
        let after = self.row.as_ref().map(|row| (row.shard, row.position));
        let page = auditor.store.rows(&RowQuery { after, limit: count, ..RowQuery::default() }).await?;
        let mut found = Vec::new();
        if page.is_empty()
            && let Some(last) = self.row.take()
        {
            auditor.shard_head(last, &mut found).await?;
        }
        // Asked for behind the page: what is not in it may have been removed at any time before.
        let mut pruned: Option<(Shard, Position)> = None;
        for row in page {
            let previous = self.row.take_if(|last| last.shard == row.shard);
            if pruned.is_none_or(|(shard, _)| shard != row.shard) {
                pruned = Some((row.shard, auditor.store.pruned_until(row.shard).await?));
            }
            let pruned_until = pruned.map(|(_, until)| until).unwrap_or_default();
            invariants::in_shard(pruned_until, previous.as_ref(), &row, &mut found);
            self.row = Some(row);
        }
        report.add(found);
        Ok(())
    }
}
