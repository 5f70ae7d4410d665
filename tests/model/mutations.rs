//! Deliberate mistakes in the protocol. A model that stays green with one of them proves nothing.

/// A mistake, and the property that must find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    /// A write does not look whose term it is.
    DropTheFence,
    /// A write does not look whether the shard has moved since it was read.
    WriteWithoutComparing,
    /// Taking over begins no new term.
    TakeOverInTheSameTerm,
    /// A draft is appended wherever its stream is by now.
    AppendStaleDrafts,
    /// A row gets its predecessor's sequence.
    ReuseASequence,
    /// Each draft of a batch moves the shard's head, be it written or not.
    CountWhatWasNotWritten,
    /// A commit whose answer was lost is taken for done.
    TakeDoubtForDone,
    /// What was decided ahead is written wherever the shard stands by then.
    WriteAheadWhereverTheShardStands,
    /// What was decided ahead stands behind whichever try ended at the same position, not behind the one it was decided by.
    KeepAheadBehindAnotherTry,
    /// Whoever is in the batch that was decided ahead is answered with those before.
    TellAheadWithTheFirst,
    /// What a batch was to make of the shard is remembered although it failed.
    RememberWhatFailed,
    /// Who remembers an earlier term takes that for the ledger's, steps down, and goes on remembering it.
    RefuseByMemory,
    /// The status is written before the row.
    ProjectBeforeTheCommit,
    /// The receiver is told before the row is committed.
    TellBeforeTheCommit,
    /// An append leaves idle lanes asleep.
    WakeNobody,
    /// A lane rests by the head that was read with its rows, not by the one at its end.
    RestByAnOldHead,
    /// A lane can be claimed while another holds it.
    ClaimWithoutLease,
    /// A lane that somebody held stays his, be he dead or alive.
    LeasesNeverEnd,
    /// An acknowledgement counts whoever holds the lane.
    AckWithoutToken,
    /// The ledger is told as soon as the event is sent.
    AckBeforeTheAnswer,
    /// Giving up on an answer counts as having had it.
    AckOnSilence,
    /// An acknowledgement counts for all that the stream has by now.
    AckToTheHead,
    /// The body is made anew when it is sent.
    RenderOnSending,
    /// Only the newest row of a claim is sent.
    SendTheNewestOnly,
}

impl Mutation {
    pub const ALL: [(Self, &'static str); 24] = [
        (Self::DropTheFence, super::properties::FENCED),
        (Self::WriteWithoutComparing, super::properties::DENSE),
        (Self::TakeOverInTheSameTerm, super::properties::ONE_LEADS),
        (Self::AppendStaleDrafts, super::properties::LEGAL),
        (Self::ReuseASequence, super::properties::DENSE),
        (Self::CountWhatWasNotWritten, super::properties::DENSE),
        (Self::TakeDoubtForDone, super::properties::STATUS_NEVER_LEADS),
        (Self::WriteAheadWhereverTheShardStands, super::properties::DENSE),
        (Self::KeepAheadBehindAnotherTry, super::properties::IN_TIME),
        (Self::TellAheadWithTheFirst, super::properties::STATUS_NEVER_LEADS),
        (Self::RememberWhatFailed, super::properties::LEGAL),
        (Self::RefuseByMemory, super::properties::COMPLETE),
        (Self::ProjectBeforeTheCommit, super::properties::STATUS_NEVER_LEADS),
        (Self::TellBeforeTheCommit, super::properties::IDENTICAL),
        (Self::WakeNobody, super::properties::IDLE_OWES_NOTHING),
        (Self::RestByAnOldHead, super::properties::IDLE_OWES_NOTHING),
        (Self::ClaimWithoutLease, super::properties::ONE_HOLDS),
        (Self::LeasesNeverEnd, super::properties::COMPLETE),
        (Self::AckWithoutToken, super::properties::LOST_CLAIMS_CHANGE_NOTHING),
        (Self::AckBeforeTheAnswer, super::properties::ACKED_IS_APPLIED),
        (Self::AckOnSilence, super::properties::ACKED_IS_APPLIED),
        (Self::AckToTheHead, super::properties::ACKED_IS_APPLIED),
        (Self::RenderOnSending, super::properties::IDENTICAL),
        (Self::SendTheNewestOnly, super::properties::IN_ORDER),
    ];

    /// Whether only a process that remembers or decides ahead can make it.
    pub fn is_of_deciding_ahead(self) -> bool {
        matches!(
            self,
            Self::WriteAheadWhereverTheShardStands
                | Self::KeepAheadBehindAnotherTry
                | Self::TellAheadWithTheFirst
                | Self::RememberWhatFailed
                | Self::RefuseByMemory
        )
    }
}
