//! Which claimed lanes go into one message. Pure.

use crate::{ledger::Claim, sinks::Room};

/// Parts claims into groups that each fit one message: as few as can be, in their order, lanes that failed before apart
/// from those that did not.
///
/// Each lane keeps its next event; of those behind it, as many as there is room for. What is left out is claimed again.
/// Without `room`, each lane is a group, cut to `bytes`.
pub(super) fn pack(claims: Vec<Claim>, room: Option<Room>, bytes: usize) -> Vec<Vec<Claim>> {
    let Some(room) = room else {
        let alone = |claim| {
            let mut group = vec![claim];
            cut(&mut group, usize::MAX, bytes);
            group
        };
        return claims.into_iter().map(alone).collect();
    };
    let bytes = room.bytes.min(bytes);
    let (retries, fresh): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.attempts > 0);
    let mut groups = Vec::new();
    for claims in [fresh, retries] {
        let (mut group, mut first_events) = (Vec::new(), 0_usize);
        for claim in claims {
            let first = size(&claim, 0);
            let full = group.len() >= room.lanes.min(room.events).max(1) || first_events + first > bytes;
            if full && !group.is_empty() {
                groups.push(std::mem::take(&mut group));
                first_events = 0;
            }
            first_events += first;
            group.push(claim);
        }
        if !group.is_empty() {
            groups.push(group);
        }
    }
    for group in &mut groups {
        cut(group, room.events, bytes);
    }
    groups
}

/// How many bytes the bodies of `claims` are.
pub(super) fn bytes(claims: &[Claim]) -> usize {
    claims.iter().flat_map(|claim| &claim.rows).map(|row| row.body.len()).sum()
}

/// Cuts the lanes of a group so that they fit: in turn, each is given its next event while there is room.
fn cut(group: &mut [Claim], events: usize, bytes: usize) {
    let mut kept: Vec<usize> = group.iter().map(|claim| claim.rows.len().min(1)).collect();
    let (mut events_left, mut bytes_left) =
        (events.saturating_sub(group.len()), bytes.saturating_sub(group.iter().map(|claim| size(claim, 0)).sum()));
    let mut growing: Vec<usize> = (0..group.len()).collect();
    while !growing.is_empty() {
        growing.retain(|&lane| {
            let Some(row) = group[lane].rows.get(kept[lane]) else { return false };
            if events_left == 0 || row.body.len() > bytes_left {
                return false;
            }
            events_left -= 1;
            bytes_left -= row.body.len();
            kept[lane] += 1;
            true
        });
    }
    for (claim, kept) in group.iter_mut().zip(kept) {
        claim.rows.truncate(kept);
    }
}

fn size(claim: &Claim, row: usize) -> usize {
    claim.rows.get(row).map_or(0, |row| row.body.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::{DestinationId, EventId, Sequence, Timestamp, Token, Uid},
        ledger::OutboxRow,
    };

    fn claim(lane: usize, attempts: u32, sizes: &[usize]) -> Claim {
        let row = |(n, size): (i64, &usize)| OutboxRow {
            sequence: Sequence::new(n),
            event_id: EventId::new(format!("{lane}-{n}")),
            body: vec![b'x'; *size],
            recorded_at: Timestamp::from_micros(0),
        };
        Claim {
            destination: DestinationId::new("d"),
            uid: Uid::new(lane.to_string()),
            token: Token::new("t"),
            acked: Sequence::new(0),
            head: Sequence::new(99),
            attempts,
            rewinds: 0,
            doubt: None,
            rows: (1..).zip(sizes).map(row).collect(),
        }
    }

    proptest! {
        #[test]
        fn every_lane_goes_once_with_its_next_events_and_every_message_fits(
            lanes in prop::collection::vec((0_u32..2, prop::collection::vec(1_usize..400, 1..6)), 0..30),
            most_lanes in 1_usize..8, events in 1_usize..20, bytes in 400_usize..2_000,
        ) {
            let claims: Vec<Claim> =
                lanes.iter().enumerate().map(|(n, (attempts, sizes))| claim(n, *attempts, sizes)).collect();
            let room = Room { lanes: most_lanes, events, bytes };
            let groups = pack(claims.clone(), Some(room), usize::MAX);
            for group in &groups {
                prop_assert!(group.len() <= most_lanes);
                prop_assert!(group.iter().map(|claim| claim.rows.len()).sum::<usize>() <= events);
                prop_assert!(super::bytes(group) <= bytes);
                prop_assert!(group.iter().all(|claim| claim.attempts == group[0].attempts));
            }
            let mut packed: Vec<Claim> = groups.into_iter().flatten().collect();
            packed.sort_by_key(|claim| claim.uid.as_str().parse::<usize>().unwrap());
            prop_assert_eq!(packed.len(), claims.len());
            for (packed, claim) in packed.iter().zip(&claims) {
                prop_assert!(!packed.rows.is_empty());
                prop_assert_eq!(&packed.rows[..], &claim.rows[..packed.rows.len()]);
            }
        }
    }

    #[test]
    fn a_lane_alone_is_cut_to_what_may_be_held_but_keeps_its_next_event() {
        let groups = pack(vec![claim(0, 0, &[10, 10, 10]), claim(1, 0, &[50, 1])], None, 20);
        let kept: Vec<usize> = groups.iter().map(|group| group[0].rows.len()).collect();
        assert_eq!(kept, [2, 1]);
    }

    #[test]
    fn room_is_shared_and_not_taken_by_the_first() {
        let room = Room { lanes: 2, events: 4, bytes: 1_000 };
        let groups = pack(vec![claim(0, 0, &[1; 9]), claim(1, 0, &[1; 9])], Some(room), usize::MAX);
        let kept: Vec<usize> = groups[0].iter().map(|claim| claim.rows.len()).collect();
        assert_eq!(kept, [2, 2]);
    }
}
