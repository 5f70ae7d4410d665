//! What held at a moment in the past.

use super::Inner;
use crate::{
    domain::{Effective, Sequence, TimeSource, Timestamp},
    ledger::{
        past::{Believed, Doubt, Held, PastQuery, PastState},
        types::{Head, Subject},
    },
};

impl Inner {
    pub(super) fn past(&self, head: &Head, query: &PastQuery) -> Option<PastState> {
        let Subject { uid, kind, namespace, name, tenant, .. } = &head.subject;
        let known_by = |as_of: Timestamp| {
            let rows = self.streams.get(uid).into_iter().flatten().rev().filter_map(|(_, place)| self.rows.get(place));
            rows.into_iter().find(|row| row.effective.at <= query.at && row.recorded_at <= as_of)
        };
        let gone = head.closed_at.is_some_and(|closed| closed <= query.at) && head.recorded_at <= query.then();
        let row = known_by(query.as_of);
        let kept = self.row(uid, Sequence::FIRST).is_some();
        let wanted = head.opened_at <= query.at
            && (row.is_some() || !kept)
            && query.kind.is_none_or(|wanted| wanted == *kind)
            && query.tenant.as_ref().is_none_or(|wanted| wanted == row.map_or(tenant, |row| &row.tenant))
            && (query.ended || !gone);
        let next = row.and_then(|row| self.row(uid, row.sequence.next())).filter(|next| {
            let Effective { not_before, source, .. } = next.effective;
            source == TimeSource::Inferred && not_before <= query.at && next.recorded_at <= query.as_of
        });
        wanted.then(|| PastState {
            uid: uid.clone(),
            kind: *kind,
            namespace: namespace.clone(),
            name: name.clone(),
            held: row.map(|row| Held {
                sequence: row.sequence,
                state: row.to.clone(),
                effective: row.effective,
                recorded_at: row.recorded_at,
                body: row.body.clone(),
            }),
            believed: match known_by(query.then()) {
                Some(row) => Believed::Row { sequence: row.sequence, state: row.to.clone() },
                None if kept => Believed::Nothing,
                None => Believed::NotKept,
            },
            doubt: next.map(|next| Doubt { state: next.to.clone(), effective: next.effective }),
        })
    }
}
