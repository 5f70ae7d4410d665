//! What must hold in every state, and what must be reached at all for that to mean something.

use stateright::Property;

use super::{
    calm,
    protocol::{Protocol, Shape},
    system::{Batch, Phase, Row, STREAMS, Standing, System, Word},
};

pub const DENSE: &str = "dense: positions and sequences have no gap and no repeat";
pub const LEGAL: &str = "legal: each row follows the one before it by the state table, in state and in hash";
pub const FENCED: &str = "fenced: terms never go down along the positions";
pub const IN_TIME: &str = "in time: no row is recorded earlier than the one before it";
pub const ONE_LEADS: &str = "one leads: no two processes have the ledger's term";
pub const STATUS_NEVER_LEADS: &str = "status never leads: it shows nothing that is not in the ledger";
pub const IN_ORDER: &str = "in order: no event is on its way whose predecessor was not applied";
pub const IDENTICAL: &str = "identical: what is sent and what is applied are the ledger's rows, unaltered";
pub const ACKED_IS_APPLIED: &str = "acked is applied: no lane is acknowledged beyond what the receiver has";
pub const ONE_HOLDS: &str = "one holds: whoever's lease lasts holds the lane";
pub const LOST_CLAIMS_CHANGE_NOTHING: &str = "lost claims change nothing: who lost a lane cannot acknowledge";
pub const IDLE_OWES_NOTHING: &str = "idle owes nothing: a lane at rest has everything behind it";
pub const COMPLETE: &str = "complete: once nothing goes wrong, all is told, shown, and quiet";

pub fn all(shape: Shape) -> Vec<Property<Protocol>> {
    let mut all = everywhere();
    if shape.ahead {
        all.extend(ahead());
    }
    all
}

fn everywhere() -> Vec<Property<Protocol>> {
    vec![
        Property::always(DENSE, |_, system: &System| dense(&system.ledger.rows) && positions_end_at_the_head(system)),
        Property::always(LEGAL, |_, system: &System| legal(&system.ledger.rows)),
        Property::always(FENCED, |_, system: &System| fenced(system)),
        Property::always(IN_TIME, |_, system: &System| system.ledger.rows.is_sorted_by_key(|row| row.recorded)),
        Property::always(ONE_LEADS, |_, system: &System| leaders(system) <= 1),
        Property::always(STATUS_NEVER_LEADS, |_, system: &System| {
            (0..STREAMS).all(|stream| system.status[stream] <= system.ledger.sequence(stream))
        }),
        Property::always(IN_ORDER, |_, system: &System| {
            let known = |row: &Row| system.applied[usize::from(row.stream)].len();
            system.wire.iter().all(|request| usize::from(request.row.sequence) <= known(&request.row) + 1)
        }),
        Property::always(IDENTICAL, |_, system: &System| {
            let told = system.applied.iter().flatten().chain(system.wire.iter().map(|request| &request.row));
            told.into_iter().all(|row| system.ledger.row(usize::from(row.stream), row.sequence) == Some(row))
        }),
        Property::always(ACKED_IS_APPLIED, |_, system: &System| {
            (0..STREAMS).all(|stream| usize::from(system.lanes[stream].acked) <= system.applied[stream].len())
        }),
        Property::always(ONE_HOLDS, |_, system: &System| one_holds(system)),
        Property::always(LOST_CLAIMS_CHANGE_NOTHING, |_, system: &System| !system.changed_by_a_lost_claim),
        Property::always(IDLE_OWES_NOTHING, |_, system: &System| {
            let owes = |stream: usize| system.lanes[stream].acked < system.ledger.sequence(stream);
            (0..STREAMS).all(|stream| system.lanes[stream].phase != Phase::Idle || !owes(stream))
        }),
        Property::always(COMPLETE, calm::completes),
        Property::sometimes("two processes believe that they lead", |_, system: &System| {
            system.processes.iter().filter(|process| process.term.is_some()).count() == 2
        }),
        Property::sometimes("a write of a deposed leader is still on its way", |_, system: &System| {
            system.late.iter().any(|batch| batch.epoch < system.ledger.epoch)
        }),
        Property::sometimes("two writes from the same place race", |_, system: &System| {
            let heads = system.processes.iter().filter_map(|process| process.batch.as_ref());
            heads.chain(&system.late).filter(|batch| batch.head == system.ledger.head).count() == 2
        }),
        Property::sometimes("an event is on its way that the receiver has", |_, system: &System| {
            let known = |row: &Row| system.applied[usize::from(row.stream)].len();
            system.wire.iter().any(|request| usize::from(request.row.sequence) <= known(&request.row))
        }),
        Property::sometimes("a lane has a new holder while the last one still works on it", |_, system: &System| {
            (0..STREAMS).any(|stream| system.processes.iter().all(|process| process.claims[stream].is_some()))
        }),
        Property::sometimes("the ledger has rows of two terms", |_, system: &System| {
            system.ledger.rows.iter().any(|row| row.epoch != system.ledger.rows[0].epoch)
        }),
        Property::sometimes("the receiver has a stream to its end", |_, system: &System| {
            system.applied.iter().any(|rows| rows.last().is_some_and(|row| row.to == Word::Deleted))
        }),
    ]
}

/// What must be reached where batches are decided ahead.
pub fn ahead() -> Vec<Property<Protocol>> {
    vec![
        Property::sometimes("a batch is decided ahead behind one that will not be written", |_, system: &System| {
            let lost = |batch: Batch| batch.epoch != system.ledger.epoch;
            system.processes.iter().any(|process| process.ahead.is_some() && process.batch.is_some_and(lost))
        }),
        Property::sometimes("a batch that was decided ahead is the next", |_, system: &System| {
            system.processes.iter().any(|process| process.ahead.is_some() && process.batch.is_none())
        }),
        Property::sometimes("somebody remembers how the shard stood before another led", |_, system: &System| {
            let passed = |known: Standing| known.epoch < system.ledger.epoch && known.head < system.ledger.head;
            system.processes.iter().any(|process| process.known.is_some_and(passed))
        }),
    ]
}

fn dense(rows: &[Row]) -> bool {
    let of = |stream: usize| rows.iter().filter(move |row| usize::from(row.stream) == stream).map(|row| row.sequence);
    rows.iter().map(|row| row.position).eq(1..=count(rows.len()))
        && (0..STREAMS).all(|stream| of(stream).eq(1..=count(of(stream).count())))
}

fn positions_end_at_the_head(system: &System) -> bool {
    usize::from(system.ledger.head) == system.ledger.rows.len()
}

fn legal(rows: &[Row]) -> bool {
    (0..STREAMS).all(|stream| {
        let mut before: Option<&Row> = None;
        rows.iter().filter(|row| usize::from(row.stream) == stream).all(|row| {
            let last = before.replace(row);
            row.from == last.map(|last| last.to)
                && Word::allows(row.from, row.to)
                && row.previous == last.map_or(0, |row| row.digest())
        })
    })
}

fn fenced(system: &System) -> bool {
    let rows = &system.ledger.rows;
    rows.is_sorted_by_key(|row| row.epoch) && rows.iter().all(|row| row.epoch <= system.ledger.epoch)
}

fn leaders(system: &System) -> usize {
    system.processes.iter().filter(|process| process.term == Some(system.ledger.epoch)).count()
}

fn one_holds(system: &System) -> bool {
    let lasting = system.processes.iter().flat_map(|process| process.claims.iter().enumerate());
    lasting
        .filter_map(|(stream, claim)| Some((system.lanes[stream], claim.filter(|claim| !claim.over)?)))
        .all(|(lane, claim)| lane.phase == Phase::Held && lane.token == Some(claim.token) && !lane.over)
}

fn count(number: usize) -> u8 {
    u8::try_from(number).expect("there are few rows")
}
