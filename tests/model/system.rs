//! What there is: the database, two processes, what is on its way between them, and the receiver. Plain data.

/// How many processes may lead.
pub const LEADERS: usize = 2;
/// How many resources there are, each with a stream.
pub const STREAMS: usize = 2;
/// How many rows a claim takes at most.
pub const ROWS: u8 = 2;

/// What a stream says of its resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Word {
    Pending,
    Ready,
    Deleted,
}

impl Word {
    /// The state table.
    pub fn allows(from: Option<Self>, to: Self) -> bool {
        match from {
            None => to != Self::Deleted,
            Some(from) => from < to,
        }
    }

    /// What comes after `last`, of a resource that is there or `gone`; `None` if all is said. A stream opens with `first`.
    pub fn next(first: Self, last: Option<Self>, gone: bool) -> Option<Self> {
        match last {
            None => Some(first),
            Some(Self::Pending) if !gone => Some(Self::Ready),
            Some(Self::Pending | Self::Ready) if gone => Some(Self::Deleted),
            Some(_) => None,
        }
    }
}

/// A row of the ledger, which is also the event that is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row {
    pub position: u8,
    pub stream: u8,
    pub sequence: u8,
    pub from: Option<Word>,
    pub to: Word,
    pub epoch: u8,
    /// When it was decided.
    pub recorded: u8,
    /// The digest of the stream's row before; 0 on the first.
    pub previous: u16,
}

impl Row {
    /// Stands for the hash of the body: rows that differ in anything have different ones.
    pub fn digest(self) -> u16 {
        let from = self.from.map_or(0, |word| word as u16 + 1);
        [
            u16::from(self.position),
            u16::from(self.stream),
            u16::from(self.sequence),
            from,
            self.to as u16,
            u16::from(self.epoch),
            u16::from(self.recorded),
        ]
        .into_iter()
        .fold(self.previous ^ 0x5bd1, |digest, part| digest.wrapping_mul(31).wrapping_add(part + 1).rotate_left(3))
    }
}

/// The rows, and the one row of the shard that gives fencing and positions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ledger {
    pub epoch: u8,
    pub head: u8,
    pub rows: Vec<Row>,
}

impl Ledger {
    /// The newest row of a stream.
    pub fn newest(&self, stream: usize) -> Option<&Row> {
        self.rows.iter().rfind(|row| usize::from(row.stream) == stream)
    }

    /// The newest sequence of a stream; 0 before the first.
    pub fn sequence(&self, stream: usize) -> u8 {
        self.newest(stream).map_or(0, |row| row.sequence)
    }

    /// All that a decision stands on, as it is.
    pub fn standing(&self) -> Standing {
        let recorded = self.rows.last().map_or(0, |row| row.recorded);
        let newest = std::array::from_fn(|stream| self.newest(stream).copied());
        Standing { epoch: self.epoch, head: self.head, recorded, newest }
    }

    /// The row at one place of a stream.
    pub fn row(&self, stream: usize, sequence: u8) -> Option<&Row> {
        self.rows.iter().find(|row| usize::from(row.stream) == stream && row.sequence == sequence)
    }
}

/// What a lane waits for. A retry's delay is no more than a lane that is ready and not claimed for a while.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    #[default]
    Idle,
    Ready,
    Held,
}

/// The receiver's place in a stream, as the ledger knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lane {
    pub acked: u8,
    pub phase: Phase,
    pub token: Option<u8>,
    /// Whether the lease of whoever holds it has ended.
    pub over: bool,
}

/// What a process is about to do for a resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Look {
    /// Nothing.
    #[default]
    None,
    /// To append `to` behind the place `after`. In doubt once a commit of it went unanswered.
    Drafted { after: u8, to: Word, in_doubt: bool },
    /// To show the ledger's word at `sequence` in the status.
    Recorded { sequence: u8 },
}

impl Look {
    /// Whether its draft belongs to a batch that is tried until it is known what became of it.
    pub fn is_in_doubt(self) -> bool {
        matches!(self, Self::Drafted { in_doubt: true, .. })
    }
}

/// A write as it was decided, with where the shard was read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Batch {
    pub epoch: u8,
    pub head: u8,
    pub rows: [Option<Row>; STREAMS],
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Option::is_none)
    }

    /// Its rows, in the order of their positions.
    pub fn in_order(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self.rows.into_iter().flatten().collect();
        rows.sort_unstable();
        rows
    }
}

/// All that a decision stands on: how the shard stood at some moment, and what each stream had said last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Standing {
    pub epoch: u8,
    pub head: u8,
    /// When the newest row was recorded.
    pub recorded: u8,
    pub newest: [Option<Row>; STREAMS],
}

/// A batch that grows draft by draft, and how the shard stands once it is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    pub batch: Batch,
    pub leaves: Standing,
}

/// How far a claim is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// The lane is held; its rows are not read yet.
    Held,
    /// The next row is to be sent.
    Sending,
    /// It was sent.
    Waiting,
    /// The ledger is to be told.
    Ended,
}

/// A claim that a process works on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Claim {
    pub token: u8,
    pub stage: Stage,
    /// The last place that the receiver has acknowledged.
    pub through: u8,
    /// The last place that is to be sent.
    pub last: u8,
    /// The stream's newest place when the rows were read.
    pub head: u8,
    /// Whether its lease has ended; the process need not have noticed.
    pub over: bool,
}

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Process {
    /// Whether it believes that the Lease is its own.
    pub permitted: bool,
    /// The term in which it believes to lead.
    pub term: Option<u8>,
    pub looks: [Look; STREAMS],
    /// What its appender has decided and not yet written.
    pub batch: Option<Batch>,
    /// How the shard stands as far as it knows; while a batch is being written, how it will stand after that.
    pub known: Option<Standing>,
    /// What comes behind the batch that is being written, or was just committed.
    pub ahead: Option<Decision>,
    pub claims: [Option<Claim>; STREAMS],
}

/// An event on its way to the receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Request {
    pub row: Row,
    /// The process that waits for the answer; `None` once it gave up.
    pub from: Option<u8>,
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct System {
    pub ledger: Ledger,
    pub lanes: [Lane; STREAMS],
    pub processes: [Process; LEADERS],
    /// Whose the Lease is, as the API server says.
    pub lease: Option<u8>,
    /// Writes whose sender gave up, and which the database may still carry out.
    pub late: Vec<Batch>,
    /// Events between the processes and the receiver.
    pub wire: Vec<Request>,
    /// What the receiver has applied, by stream.
    pub applied: [Vec<Row>; STREAMS],
    /// What each status shows; 0 before the first.
    pub status: [u8; STREAMS],
    /// Which resources are no longer in the cluster.
    pub gone: [bool; STREAMS],
    /// How many more things may go wrong.
    pub faults: u8,
    /// Remembers whether a claim that had lost its lane ever changed it.
    pub changed_by_a_lost_claim: bool,
}
