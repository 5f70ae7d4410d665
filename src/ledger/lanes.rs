//! What a lane does next: one destination's place in one stream. Pure; all stores follow it.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::types::{Claim, ClaimRequest, LaneState, OutboxRow, Settlement};
use crate::domain::{DestinationId, Event, Sequence, Snapshot, Timestamp, Token, Uid};

/// No lease lasts longer. One that ends further ahead was written under a clock that has since stepped back.
pub const MAX_LEASE: Duration = Duration::from_mins(15);

/// No retry waits longer. One that is due further ahead was written under a clock that has since stepped back.
pub const MAX_DELAY: Duration = Duration::from_hours(1);

/// So many 409 answers without progress, and the lane waits for a person.
pub const MAX_REWINDS: u32 = 3;

/// The receiver expects a sequence that the stream has not reached: it knows rows that this ledger does not.
pub const RECEIVER_AHEAD: &str = "receiver-ahead";

/// The receiver keeps asking for the same place and never takes what is sent.
pub const REWIND_LOOP: &str = "rewind-loop";

/// What became of the next event when it was last sent is not known, and the receiver may no longer know it again.
pub const AMBIGUOUS: &str = "ambiguous";

/// The event that should be sent next is not in the ledger.
pub const ROW_MISSING: &str = "row-missing";

/// What a lane is waiting for. The numbers are the stores'.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// For the stream's next row: everything was acknowledged.
    Idle = 0,
    /// For somebody to claim it. Its due time only says who came first, so a clock that steps cannot delay it.
    Ready = 1,
    /// For a retry to fall due.
    Waiting = 2,
    /// For its holder, until the lease ends.
    Held = 3,
    /// For a person.
    Parked = 4,
}

impl Phase {
    /// The phase that a store wrote as `number`.
    pub const fn from_number(number: i16) -> Option<Self> {
        Some(match number {
            0 => Self::Idle,
            1 => Self::Ready,
            2 => Self::Waiting,
            3 => Self::Held,
            4 => Self::Parked,
            _ => return None,
        })
    }

    /// The number that a store writes.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// As people are shown it.
    pub const fn shown(self) -> LaneState {
        match self {
            Self::Parked => LaneState::Parked,
            Self::Idle | Self::Ready | Self::Waiting | Self::Held => LaneState::Open,
        }
    }
}

/// A lane without its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lane {
    /// The last acknowledged sequence; 0 before the first.
    pub acked: Sequence,
    /// What it waits for.
    pub phase: Phase,
    /// Since when it is ready or parked, or until when it waits or is held. Without meaning when idle.
    pub due_at: Timestamp,
    /// Who holds it.
    pub token: Option<Token>,
    /// Failed tries since the last success.
    pub attempts: u32,
    /// 409 answers since the last progress.
    pub rewinds: u32,
    /// How far it was when the first of these came. Only what lies beyond is progress: a receiver that takes its events
    /// and forgets them would otherwise be sent the same ones for ever.
    pub furthest: Sequence,
    /// Why it is parked, in one word.
    pub park_reason: Option<String>,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// The place where it begins: at 1 with the stream's first row, elsewhere with a snapshot of the row there.
    pub first: Sequence,
    /// When its holder, or the last one, took it.
    pub held_at: Option<Timestamp>,
    /// When its next row was first sent without anybody knowing what became of that.
    pub doubt_since: Option<Timestamp>,
}

impl Lane {
    /// A lane that has everything before it: ready at once.
    pub const fn opened(now: Timestamp) -> Self {
        Self {
            acked: Sequence::new(0),
            first: Sequence::FIRST,
            held_at: None,
            doubt_since: None,
            phase: Phase::Ready,
            due_at: now,
            token: None,
            attempts: 0,
            rewinds: 0,
            furthest: Sequence::new(0),
            park_reason: None,
            last_error: None,
        }
    }

    /// A lane that begins at `first` in a stream whose newest row is `head`.
    pub fn beginning(first: Sequence, head: Sequence, now: Timestamp) -> Self {
        let mut lane = Self { acked: Sequence::new(first.get() - 1), first, ..Self::opened(now) };
        lane.rest(head, Phase::Ready, now);
        lane
    }

    /// Its stream has a new row.
    pub fn wake(&mut self, now: Timestamp) {
        if self.phase == Phase::Idle {
            self.phase = Phase::Ready;
            self.due_at = now;
        }
    }

    /// Whether it may be claimed.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let reached = |max: Duration| self.due_at <= now || self.due_at > now.plus(max);
        match self.phase {
            Phase::Idle | Phase::Parked => false,
            Phase::Ready => true,
            Phase::Waiting => reached(MAX_DELAY),
            Phase::Held => reached(MAX_LEASE),
        }
    }

    /// How long until it is due; `None` if no time will make it so.
    pub fn due_in(&self, now: Timestamp) -> Option<Duration> {
        match self.phase {
            Phase::Idle | Phase::Parked => None,
            _ if self.is_due(now) => Some(Duration::ZERO),
            _ => Some(self.due_at.since(now)),
        }
    }

    /// It is claimed.
    ///
    /// Whoever held it until now is gone without a word, and may have sent its next row.
    pub fn hold(&mut self, token: &Token, lease: Duration, now: Timestamp) {
        if self.phase == Phase::Held {
            self.doubt_since = self.doubt_since.or(self.held_at);
        }
        self.phase = Phase::Held;
        self.held_at = Some(now);
        self.token = Some(token.clone());
        self.due_at = now.plus(lease.min(MAX_LEASE));
    }

    /// What it is once its holder has said what came of the claim. `head` is the stream's newest sequence.
    ///
    /// The caller has checked that the holder still holds it.
    #[must_use]
    pub fn settled(&self, head: Sequence, settlement: &Settlement, now: Timestamp) -> Self {
        let mut lane = Self { token: None, ..self.clone() };
        match settlement {
            Settlement::Acked { through } => {
                lane.advance(*through, head);
                lane.attempts = 0;
                lane.last_error = None;
                lane.doubt_since = None;
                lane.rest(head, Phase::Ready, now);
            }
            Settlement::Retry { through, delay, error } => {
                lane.advance(*through, head);
                lane.attempts = lane.attempts.saturating_add(1);
                lane.last_error = Some(clean(error));
                lane.rest(head, Phase::Waiting, now.plus((*delay).min(MAX_DELAY)));
            }
            Settlement::Doubt { through, delay, age, error } => {
                lane.advance(*through, head);
                lane.attempts = lane.attempts.saturating_add(1);
                lane.last_error = Some(clean(error));
                lane.doubt_since = lane.doubt_since.or(Some(now.minus(*age)));
                lane.rest(head, Phase::Waiting, now.plus((*delay).min(MAX_DELAY)));
            }
            Settlement::Rewind { expected, error } => {
                lane.last_error = Some(clean(error));
                // Whatever became of what was sent, the receiver has said where it is.
                lane.doubt_since = None;
                lane.rewind((*expected).max(Sequence::FIRST), head, now);
            }
            Settlement::Park { through, reason, error } => {
                lane.advance(*through, head);
                lane.last_error = Some(clean(error));
                lane.park(reason, now);
            }
        }
        lane
    }

    /// It waits for a person from now on.
    pub fn park(&mut self, reason: &str, now: Timestamp) {
        self.phase = Phase::Parked;
        self.due_at = now;
        self.token = None;
        self.park_reason = Some(clean(reason));
    }

    /// Acknowledged up to `through`: never backwards, and never beyond what there is.
    fn advance(&mut self, through: Sequence, head: Sequence) {
        let through = through.min(head);
        if through > self.acked {
            self.acked = through;
            self.attempts = 0;
            self.doubt_since = None;
            if self.acked > self.furthest {
                self.rewinds = 0;
            }
        }
    }

    /// A person lets it go on, wherever it is now.
    pub(super) fn release(&mut self, head: Sequence, now: Timestamp) {
        self.attempts = 0;
        self.rewinds = 0;
        self.furthest = Sequence::new(0);
        self.doubt_since = None;
        self.park_reason = None;
        self.last_error = None;
        self.rest(head, Phase::Ready, now);
    }

    fn rewind(&mut self, expected: Sequence, head: Sequence, now: Timestamp) {
        if expected > head.next() {
            return self.park(RECEIVER_AHEAD, now);
        }
        // What came before its beginning is not for this receiver: it is offered the snapshot again.
        let expected = expected.max(self.first);
        let acked = Sequence::new(expected.get() - 1);
        // A receiver that is further than was known (an answer was lost) is not asking for the same again. Nor is that
        // progress: one that jumps back and forth must end up parked.
        if acked <= self.acked {
            self.rewinds += 1;
            self.furthest = self.furthest.max(self.acked);
        }
        if self.rewinds >= MAX_REWINDS {
            return self.park(REWIND_LOOP, now);
        }
        self.acked = acked;
        self.rest(head, Phase::Ready, now);
    }

    /// Idle if nothing is owed, else `phase` from `due_at`.
    fn rest(&mut self, head: Sequence, phase: Phase, due_at: Timestamp) {
        self.phase = if self.acked >= head { Phase::Idle } else { phase };
        self.due_at = due_at;
    }
}

/// A lane's name.
pub(super) type LaneKey = (DestinationId, Uid);

/// Ends `claims` on `lanes`, which holds those that were found, and says which of them still held their lane.
///
/// `head_of` answers a stream's newest sequence as read after the lanes were locked: read before, it could miss a row
/// whose append has already found this lane awake, and nobody would wake it again.
pub(super) fn settle(
    lanes: &mut BTreeMap<LaneKey, Lane>,
    head_of: impl Fn(&Uid) -> Sequence,
    claims: &[(DestinationId, Uid, Token, Settlement)],
    now: Timestamp,
) -> Vec<bool> {
    let settle = |(destination, uid, token, settlement): &(DestinationId, Uid, Token, Settlement)| {
        let lane = lanes.get_mut(&(destination.clone(), uid.clone()));
        let Some(lane) = lane.filter(|lane| lane.token.as_ref() == Some(token)) else { return false };
        *lane = lane.settled(head_of(uid), settlement, now);
        true
    };
    claims.iter().map(settle).collect()
}

/// A lane that was just held, as far as its claim tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HeldLane {
    /// The stream.
    pub uid: Uid,
    /// The last acknowledged sequence.
    pub acked: Sequence,
    /// Failed tries since the last success.
    pub attempts: u32,
    /// 409 answers since the last progress.
    pub rewinds: u32,
    /// The place where it begins.
    pub first: Sequence,
    /// How long ago its next row was first sent without anybody knowing what became of that.
    pub doubt: Option<Duration>,
}

/// The claims on `held` lanes, given their streams' heads and next rows, and the lanes whose next row is not there.
pub(super) fn claims(
    request: &ClaimRequest,
    held: Vec<HeldLane>,
    mut found: HashMap<Uid, (Sequence, Vec<OutboxRow>)>,
) -> (Vec<Claim>, Vec<Uid>) {
    let mut missing = Vec::new();
    let claim = |lane: HeldLane| {
        let (head, rows) = found.remove(&lane.uid).unwrap_or_default();
        let rows = begin(lane.first, contiguous(lane.acked, rows));
        if rows.is_empty() {
            missing.push(lane.uid);
            return None;
        }
        Some(Claim {
            destination: request.destination.clone(),
            uid: lane.uid,
            token: request.token.clone(),
            acked: lane.acked,
            head,
            attempts: lane.attempts,
            rewinds: lane.rewinds,
            doubt: lane.doubt,
            rows,
        })
    };
    let claims = held.into_iter().filter_map(claim).collect();
    (claims, missing)
}

/// `rows` of a lane that begins at `first`: what stands there is sent as a snapshot, unless it is the stream's first.
fn begin(first: Sequence, mut rows: Vec<OutboxRow>) -> Vec<OutboxRow> {
    if first > Sequence::FIRST
        && let Some(row) = rows.first_mut().filter(|row| row.sequence == first)
    {
        match snapshot(row) {
            Some(snapshot) => *row = snapshot,
            // Not an event: nothing can be said of how things stood there.
            None => rows.clear(),
        }
    }
    rows
}

/// The snapshot of `row`.
fn snapshot(row: &OutboxRow) -> Option<OutboxRow> {
    let snapshot = Snapshot::of(Event::verify(&row.body).ok()?).ok()?;
    let body = snapshot.body().ok()?;
    Some(OutboxRow { event_id: snapshot.id, body, ..row.clone() })
}

/// Those of `rows` that follow `acked` without a gap. None of them: the ledger lacks the next one.
fn contiguous(acked: Sequence, mut rows: Vec<OutboxRow>) -> Vec<OutboxRow> {
    let mut next = acked.next();
    let fits = rows
        .iter()
        .take_while(|row| {
            let fits = row.sequence == next;
            next = next.next();
            fits
        })
        .count();
    rows.truncate(fits);
    rows
}

// PostgreSQL cannot store a NUL in a text, and what a receiver answered may hold one.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

    fn at(seq: i64) -> Sequence {
        Sequence::new(seq)
    }

    fn held(acked: i64) -> Lane {
        let mut lane = Lane { acked: at(acked), ..Lane::opened(NOW) };
        lane.hold(&Token::new("t"), Duration::from_secs(30), NOW);
        lane
    }

    fn rewind(expected: i64) -> Settlement {
        Settlement::Rewind { expected: at(expected), error: "409".into() }
    }

    #[test]
    fn an_ack_never_goes_back_nor_beyond_the_stream() {
        assert_eq!(held(4).settled(at(9), &Settlement::Acked { through: at(2) }, NOW).acked, at(4));
        let all = held(4).settled(at(9), &Settlement::Acked { through: at(12) }, NOW);
        assert_eq!((all.acked, all.phase, all.token), (at(9), Phase::Idle, None));
    }

    #[test]
    fn a_rewind_up_to_one_past_the_head_moves_the_lane_there() {
        let back = held(5).settled(at(8), &rewind(2), NOW);
        assert_eq!((back.acked, back.phase, back.rewinds), (at(1), Phase::Ready, 1));
        let forward = held(5).settled(at(8), &rewind(9), NOW);
        assert_eq!((forward.acked, forward.phase, forward.rewinds), (at(8), Phase::Idle, 0));
    }

    #[test]
    fn a_receiver_that_knows_more_than_the_ledger_parks_the_lane() {
        let lane = held(5).settled(at(8), &rewind(10), NOW);
        assert_eq!((lane.phase, lane.park_reason.as_deref(), lane.acked), (Phase::Parked, Some(RECEIVER_AHEAD), at(5)));
    }

    #[test]
    fn the_third_rewind_without_progress_parks_and_progress_forgives() {
        let twice = Lane { rewinds: 2, ..held(5) };
        assert_eq!(twice.settled(at(8), &rewind(6), NOW).park_reason.as_deref(), Some(REWIND_LOOP));
        let jumped = Lane { token: None, ..twice.settled(at(8), &rewind(9), NOW) };
        assert_eq!(jumped.rewinds, 2, "a jump ahead neither counts nor forgives");
        let moved = twice.settled(at(8), &Settlement::Acked { through: at(6) }, NOW);
        assert_eq!((moved.rewinds, moved.phase), (0, Phase::Ready));
    }

    #[test]
    fn what_is_only_sent_again_is_no_progress() {
        let (mut lane, mut asked) = (held(40).settled(at(41), &rewind(1), NOW), 1);
        while lane.phase != Phase::Parked {
            for through in [32, 40] {
                lane = lane.settled(at(41), &Settlement::Acked { through: at(through) }, NOW);
            }
            lane = lane.settled(at(41), &rewind(1), NOW);
            asked += 1;
            assert!(asked <= MAX_REWINDS, "a receiver that takes everything and forgets it is sent it for ever");
        }
        assert_eq!(lane.park_reason.as_deref(), Some(REWIND_LOOP));

        let back = held(40).settled(at(41), &rewind(1), NOW);
        let beyond = back.settled(at(41), &Settlement::Acked { through: at(41) }, NOW);
        assert_eq!(beyond.rewinds, 0, "it took what it had not taken before");
    }

    #[test]
    fn waiting_longer_than_any_lease_or_delay_can_last_means_the_clock_stepped() {
        let lane = held(0);
        assert!(!lane.is_due(NOW));
        assert!(lane.is_due(NOW.plus(Duration::from_secs(30))));
        assert!(lane.is_due(Timestamp::from_micros(0)), "written under a clock that was far ahead");
        let retry = Settlement::Retry { through: at(0), delay: Duration::from_secs(1 << 40), error: "503".into() };
        let waiting = held(0).settled(at(1), &retry, NOW);
        assert_eq!(waiting.due_in(NOW), Some(MAX_DELAY));
    }

    #[test]
    fn rows_behind_a_gap_are_not_sent() {
        let row = |n| OutboxRow {
            sequence: at(n),
            event_id: crate::domain::EventId::new("e"),
            body: Vec::new(),
            recorded_at: NOW,
        };
        assert_eq!(contiguous(at(1), vec![row(2), row(3), row(5)]).len(), 2);
        assert!(contiguous(at(1), vec![row(3)]).is_empty());
    }
}
