//! Interventions, and lanes that are made when a destination opens.

use super::Inner;
use crate::{
    domain::{DestinationId, Sequence, Tables, Timestamp, Uid},
    ledger::{
        interventions::{self, Action, Decided, Intervention, Refusal, Request, Standing},
        lanes::Lane,
        types::{Head, Opening, OutboxRow, Row, Voided},
    },
};

impl Inner {
    pub(super) fn open(&mut self, tables: Tables, opening: &Opening, now: Timestamp) -> bool {
        let selector = (!opening.selector.is_all()).then(|| opening.selector.clone());
        if let Some(known) = self.destinations.get_mut(&opening.id) {
            if selector.is_some() || known.is_some() {
                *known = Some(opening.selector.clone());
            }
            return false;
        }
        self.destinations.insert(opening.id.clone(), selector);
        let chosen: Vec<Head> = self.heads.values().filter(|head| opening.chooses(&head.subject)).cloned().collect();
        for head in chosen {
            let first = self.first(tables, &head, opening.start.cutoff());
            let key = (opening.id.clone(), head.subject.uid.clone());
            // What a destination left behind that was never closed stays as it is.
            if !self.lanes.contains_key(&key) {
                self.set_lane(&key, Lane::beginning(first, head.sequence, now));
            }
        }
        true
    }

    /// Where a lane begins that hears of nothing recorded before `cutoff`.
    fn first(&self, tables: Tables, head: &Head, cutoff: Timestamp) -> Sequence {
        let rows = || self.streams.get(&head.subject.uid).into_iter().flatten().filter_map(|(_, at)| self.rows.get(at));
        let Some(since) = rows().find(|row| row.recorded_at >= cutoff) else {
            return if head.closed_at.is_none() { head.sequence } else { head.sequence.next() };
        };
        let ended = |row: &Row| tables.of(head.subject.kind).is_final(&row.to);
        let before = rows().find(|row| row.sequence.next() == since.sequence).filter(|row| !ended(row));
        before.map_or(since.sequence, |row| row.sequence)
    }

    pub(super) fn intervene(&mut self, request: &Request, now: Timestamp) -> Result<(), Refusal> {
        let key = (request.destination.clone(), request.uid.clone());
        let lane = self.lanes.get(&key).cloned().ok_or(Refusal::NoLane)?;
        let (park_reason, last_error) = (lane.park_reason.clone(), lane.last_error.clone());
        let next = lane.acked.next();
        let standing = Standing {
            head: self.head_of(&request.uid),
            row: self.row(&request.uid, next).map(OutboxRow::from),
            voided: self.voids.contains_key(&(request.destination.clone(), request.uid.clone(), next)),
            lane,
        };
        let Decided { lane, voided } = interventions::decide(request, standing, now)?;
        if let Some(voided) = voided {
            self.voids.insert((request.destination.clone(), request.uid.clone(), voided.sequence), voided);
        }
        self.set_lane(&key, lane);
        self.note(request, now, (park_reason, last_error));
        Ok(())
    }

    fn note(&mut self, request: &Request, now: Timestamp, (park_reason, last_error): (Option<String>, Option<String>)) {
        let id = i64::try_from(self.interventions.len()).unwrap_or(i64::MAX) + 1;
        let request = request.clone();
        self.interventions.push(Intervention { id, recorded_at: now, request, park_reason, last_error, outcome: None });
    }

    pub(super) fn reinstate_void(&mut self, request: &Request, voided: &Voided) -> bool {
        let key = (voided.destination.clone(), voided.uid.clone(), voided.sequence);
        let is_new = !self.voids.contains_key(&key);
        if is_new {
            self.voids.insert(key, voided.clone());
            self.note(request, voided.recorded_at, (None, None));
        }
        is_new
    }

    pub(super) fn amendments_due(&self) -> impl Iterator<Item = &Intervention> {
        self.interventions.iter().filter(|made| made.request.action == Action::Amend && made.outcome.is_none())
    }

    pub(super) fn conclude_amendment(&mut self, intervention: i64, outcome: &str) {
        let made = self.interventions.iter_mut().find(|made| made.id == intervention && made.outcome.is_none());
        if let Some(made) = made {
            made.outcome = Some(outcome.to_owned());
        }
    }

    /// What is sent to `destination` at `sequence`.
    pub(super) fn sent(&self, destination: &DestinationId, uid: &Uid, sequence: Sequence) -> Option<OutboxRow> {
        let voided = self.voids.get(&(destination.clone(), uid.clone(), sequence)).map(|voided: &Voided| OutboxRow {
            sequence,
            event_id: voided.event_id.clone(),
            body: voided.body.clone(),
            recorded_at: voided.recorded_at,
        });
        voided.or_else(|| self.row(uid, sequence).map(OutboxRow::from))
    }
}
