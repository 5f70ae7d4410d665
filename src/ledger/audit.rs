//! Walks a whole ledger, page by page, and checks every invariant that can be judged from it alone.
//!
//! The ledger may be in use meanwhile. Heads are read before the rows and lanes that must match them, so whatever was
//! written in between is newer than what is being checked, and is left for the next audit.

use std::collections::{HashMap, VecDeque};

use super::{
    invariants::{self, Violation, Walked},
    store::{Store, StoreError},
    types::{Head, Installation, LaneView, PrunedRow, Row, RowQuery, Voided},
};
use crate::domain::{DestinationId, Position, Sequence, Shard, Tables, Uid};

/// How many heads, rows or lanes are in memory at once.
const PAGE: u32 = 500;

/// More are counted, but not kept: a ledger that is wrong everywhere must not fill the memory.
const KEPT: usize = 1_000;

/// What an audit found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Streams that were walked.
    pub resources: u64,
    /// Rows that were checked.
    pub transitions: u64,
    /// Acknowledged events, all lanes together.
    pub deliveries: u64,
    /// The first violations, in the order in which they were found.
    pub violations: Vec<Violation>,
    /// How many there are in all.
    pub violated: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.violated == 0
    }

    /// Adds violations that somebody found elsewhere, in the cluster say.
    pub fn add(&mut self, found: Vec<Violation>) {
        self.violated += u64::try_from(found.len()).unwrap_or(u64::MAX);
        self.violations.extend(found.into_iter().take(KEPT.saturating_sub(self.violations.len())));
    }
}

/// Audits the whole of `store`.
pub async fn audit(store: &dyn Store, tables: Tables) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let Some(installation) = store.stored_installation().await? else { return Ok(report) };
    let auditor = Auditor { store, tables, installation };
    auditor.shards(&mut report).await?;
    auditor.streams(&mut report).await?;
    auditor.voids(&mut report).await?;
    Ok(report)
}

pub(super) struct Auditor<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) tables: Tables,
    pub(super) installation: Installation,
}

impl Auditor<'_> {
    /// Every row in the order of shard and position.
    async fn shards(&self, report: &mut Report) -> Result<(), StoreError> {
        let mut previous: Option<Row> = None;
        loop {
            let after = previous.as_ref().map(|row| (row.shard, row.position));
            let page = self.store.rows(&RowQuery { after, limit: PAGE, ..RowQuery::default() }).await?;
            if page.is_empty() {
                break;
            }
            // Asked for behind the page: what is not in it may have been removed at any time before.
            let mut pruned: Option<(Shard, Position)> = None;
            for row in page {
                let mut found = Vec::new();
                if let Some(last) = previous.take_if(|last| last.shard != row.shard) {
                    self.shard_head(last, &mut found).await?;
                }
                if pruned.is_none_or(|(shard, _)| shard != row.shard) {
                    pruned = Some((row.shard, self.store.pruned_until(row.shard).await?));
                }
                let pruned_until = pruned.map(|(_, until)| until).unwrap_or_default();
                invariants::in_shard(pruned_until, previous.as_ref(), &row, &mut found);
                report.add(found);
                report.transitions += 1;
                previous = Some(row);
            }
        }
        let mut found = Vec::new();
        if let Some(last) = previous {
            self.shard_head(last, &mut found).await?;
        } else {
            invariants::shard_head(&self.store.shard(Shard::default()).await?, None, &mut found);
        }
        report.add(found);
        Ok(())
    }

    /// `last` was the newest row of its shard; meanwhile there may be newer ones.
    pub(super) async fn shard_head(&self, last: Row, found: &mut Vec<Violation>) -> Result<(), StoreError> {
        let shard = self.store.shard(last.shard).await?;
        let behind = Position::new(shard.head.get() - 1);
        let newest = if shard.head == last.position {
            Some(last)
        } else {
            let query = RowQuery { after: Some((shard.id, behind)), limit: 1, ..RowQuery::default() };
            self.store.rows(&query).await?.into_iter().find(|row| row.shard == shard.id)
        };
        invariants::shard_head(&shard, newest.as_ref(), found);
        Ok(())
    }

    /// What goes in the place of rows, each against its row.
    async fn voids(&self, report: &mut Report) -> Result<(), StoreError> {
        let mut last: Option<Voided> = None;
        loop {
            let after = last.as_ref().map(|voided| (&voided.destination, &voided.uid, voided.sequence));
            let page = self.store.voids(after, PAGE).await?;
            for voided in &page {
                let mut found = Vec::new();
                let row = self.store.row(&voided.uid, voided.sequence).await?;
                invariants::voided(voided, row.as_ref(), &mut found);
                report.add(found);
            }
            match page.into_iter().next_back() {
                Some(voided) => last = Some(voided),
                None => return Ok(()),
            }
        }
    }

    /// Every stream: its rows in order, its head, and its lanes.
    async fn streams(&self, report: &mut Report) -> Result<(), StoreError> {
        let destinations = self.store.destinations().await?;
        let mut after: Option<Uid> = None;
        loop {
            after = self.streams_behind(after.as_ref(), PAGE, &destinations, report).await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The same for the next streams behind `after`. Answers the last of them; `None` if there are no more.
    pub(super) async fn streams_behind(
        &self,
        after: Option<&Uid>,
        count: u32,
        destinations: &[DestinationId],
        report: &mut Report,
    ) -> Result<Option<Uid>, StoreError> {
        let heads = self.store.heads(after, false, count).await?;
        let last = heads.last().map(|head| head.subject.uid.clone());
        report.resources += u64::try_from(heads.len()).unwrap_or(0);
        self.rows_of(&heads, after, last.as_ref(), report).await?;
        for destination in destinations {
            self.lanes_of(&heads, after, destination, report).await?;
        }
        Ok(last)
    }

    /// The rows of all streams behind `after` and up to `last` (`None`: to the end), of which `heads` are the heads.
    async fn rows_of(
        &self,
        heads: &[Head],
        after: Option<&Uid>,
        last: Option<&Uid>,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let uids: Vec<Uid> = heads.iter().map(|head| head.subject.uid.clone()).collect();
        let pruned = self.store.pruned(&uids).await?;
        let pruned: HashMap<&Uid, &PrunedRow> = pruned.iter().map(|row| (&row.uid, row)).collect();
        let mut heads: VecDeque<&Head> = heads.iter().collect();
        let mut walked: Option<Walked> = None;
        let mut place = after.map(|uid| (uid.clone(), Sequence::new(i64::MAX)));
        let mut headless: Option<Uid> = None;
        loop {
            let page = self.store.stream_rows(place.as_ref().map(|(uid, sequence)| (uid, *sequence)), PAGE).await?;
            let ends = page.is_empty();
            for row in page {
                if last.is_some_and(|last| row.uid > *last) {
                    self.finish(&mut heads, walked, None, report);
                    return Ok(());
                }
                place = Some((row.uid.clone(), row.sequence));
                walked = self.finish_before(&mut heads, walked, &row.uid, report);
                let Some(head) = heads.front().filter(|head| head.subject.uid == row.uid) else {
                    if headless.as_ref() != Some(&row.uid) {
                        headless = Some(row.uid.clone());
                        self.headless(&row, report).await?;
                    }
                    continue;
                };
                if row.sequence <= head.sequence {
                    let mut found = Vec::new();
                    let previous = walked.as_ref().map(|walked| &walked.newest);
                    let pruned = pruned.get(&row.uid).copied();
                    // It may have lost more since the page's marks were read.
                    let more = match previous {
                        None if row.sequence > pruned.map_or(Sequence::FIRST, |row| row.sequence.next()) => {
                            self.store.pruned(std::slice::from_ref(&row.uid)).await?.pop()
                        }
                        _ => None,
                    };
                    let pruned = more.as_ref().or(pruned);
                    invariants::in_stream(self.tables, &self.installation, head, pruned, previous, &row, &mut found);
                    report.add(found);
                    walked = Some(Walked::on(walked, row));
                }
            }
            if ends {
                self.finish(&mut heads, walked, None, report);
                return Ok(());
            }
        }
    }

    /// Checks the heads of all streams before `uid`, whose rows have all been walked. Answers what was walked of `uid`.
    fn finish_before(
        &self,
        heads: &mut VecDeque<&Head>,
        walked: Option<Walked>,
        uid: &Uid,
        report: &mut Report,
    ) -> Option<Walked> {
        match walked {
            Some(walked) if walked.newest.uid == *uid => Some(walked),
            walked => {
                self.finish(heads, walked, Some(uid), report);
                None
            }
        }
    }

    /// Checks the heads of all streams before `until`, the first of which `walked` may belong to.
    fn finish(
        &self,
        heads: &mut VecDeque<&Head>,
        mut walked: Option<Walked>,
        until: Option<&Uid>,
        report: &mut Report,
    ) {
        while let Some(head) = heads.pop_front_if(|head| until.is_none_or(|until| head.subject.uid < *until)) {
            let mut found = Vec::new();
            let of_it = walked.take_if(|walked| walked.newest.uid == head.subject.uid);
            invariants::head(self.tables, head, of_it.as_ref(), &mut found);
            report.add(found);
        }
    }

    /// A row without a head, unless its stream was opened meanwhile.
    async fn headless(&self, row: &Row, report: &mut Report) -> Result<(), StoreError> {
        if self.store.head(&row.uid).await?.is_none() {
            report.add(vec![invariants::no_head(row)]);
        }
        Ok(())
    }

    /// The lanes to `destination` of the streams in `heads`, which are all those behind `after` up to the last of them.
    async fn lanes_of(
        &self,
        heads: &[Head],
        after: Option<&Uid>,
        destination: &DestinationId,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let mut wanted: VecDeque<&Uid> = heads.iter().map(|head| &head.subject.uid).collect();
        let mut after = after.cloned().unwrap_or_else(|| Uid::new(""));
        while let Some(last) = wanted.back().copied().cloned() {
            let page = self.store.lanes(Some((destination, &after)), false, PAGE).await?;
            let ours = |lane: &LaneView| lane.destination == *destination && lane.uid <= last;
            let lanes: Vec<_> = page.into_iter().take_while(ours).collect();
            let Some(reached) = lanes.last().map(|lane| lane.uid.clone()) else {
                return self.laneless(destination, wanted, report).await;
            };
            for lane in &lanes {
                let mut found = Vec::new();
                invariants::lane(lane, &mut found);
                report.add(found);
                report.deliveries += lane.delivered();
                let mut without = VecDeque::new();
                while let Some(uid) = wanted.pop_front_if(|uid| **uid <= lane.uid) {
                    if *uid != lane.uid {
                        without.push_back(uid);
                    }
                }
                self.laneless(destination, without, report).await?;
            }
            after = reached;
        }
        Ok(())
    }

    /// Streams without a lane, unless the destination hears of some only, or was closed meanwhile.
    async fn laneless(
        &self,
        destination: &DestinationId,
        uids: VecDeque<&Uid>,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        if uids.is_empty() || self.store.selectors().await?.iter().any(|(selective, _)| selective == destination) {
            return Ok(());
        }
        if self.store.destinations().await?.contains(destination) {
            report.add(uids.into_iter().map(|uid| invariants::no_lane(destination, uid)).collect());
        }
        Ok(())
    }
}
