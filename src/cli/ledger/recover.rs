//! `trueup ledger recover`: what the ledger lost is fetched back, or given up.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    path::{Path, PathBuf},
};

use super::{
    take::{Taken, append_failure},
    voids,
};
use crate::{
    cli::{
        Failure,
        ask_receiver::AskReceiver,
        confirm::confirm,
        describe,
        reading::{self, Ledger},
        text::{BAD, BUSY, DIM, GOOD, PLAIN, Text},
        who,
    },
    cluster::{self, ConnectError},
    domain::{
        Clock as _, DestinationId, Effective, Era, Hash, Labels, Sequence, SystemClock, TenantName, Timestamp, Uid,
    },
    ledger::{Draft, Head, Installation, Outcome, Returned},
    lifecycle::reasons,
    receiver::ResourceView,
};

/// Events of one stream that are asked for at once.
const AHEAD: u32 = 16;
/// Rows that are written in one transaction, and heads that are read at once.
const BATCH: usize = 200;
/// How many streams that stay behind are listed.
const LISTED: usize = 20;

/// Fetch rows back that the ledger lost, or begin a new era without them.
///
/// Stop the controller first. Rows are fetched from a reference receiver, which keeps every event as it was sent; each is
/// taken back only where it continues its stream's hash chain. What no receiver has is given up by --new-era: streams go
/// on from where the ledger ends, every open one is stated anew, and receivers drop what they were told beyond.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The reference receiver that has the rows, such as http://127.0.0.1:8090.
    #[arg(long, env = "TRUEUP_RECEIVER", value_name = "URL", required_unless_present = "new_era")]
    receiver: Option<String>,
    /// Take back voids too, which this destination was sent and the ledger lost: all events of the receiver are read for that.
    #[arg(long, value_name = "DESTINATION", requires = "receiver")]
    voids: Option<String>,
    /// Who asks for them; without it, the user and the machine.
    #[arg(long = "as", value_name = "WHO", requires = "voids")]
    who: Option<String>,
    /// Give up what is lost, and begin a new era, which is part of every event's id from then on.
    #[arg(long)]
    new_era: bool,
    /// Begin the new era without asking.
    #[arg(long, requires = "new_era")]
    yes: bool,
    /// The kubeconfig file. Without it: the environment's, or the pod's own. The cluster is asked only if whole streams come
    /// back and some sink hears of tenants with certain labels alone.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    ledger: Ledger,
}

/// Recovers.
pub async fn run(args: Args) -> Result<(), Failure> {
    let receiver = args.receiver.as_deref().map(AskReceiver::new).transpose()?;
    if args.new_era {
        confirm(args.yes, "new era", "give up what no receiver has, and begin a new era of the ledger")?;
    }
    let voids = match args.voids {
        Some(destination) => Some((DestinationId::new(destination), who::who(args.who)?)),
        None => None,
    };
    let mut taken = Taken::begin(&args.ledger, "trueup ledger recover").await?;
    let mut left = 0;
    if let Some((destination, _)) = &voids {
        voids::check(&*taken.store, destination).await?;
    }
    if let Some(receiver) = receiver {
        left = fetch(&mut taken, &receiver, args.kubeconfig.as_deref()).await?;
        if let Some((destination, who)) = voids {
            let back = voids::fetch(&*taken.store, &receiver, &destination, &who).await?;
            let told = format!("{} taken back for {destination}", describe::count(back, "void"));
            reading::emit(&[Text::new(GOOD, "recover: ").and(PLAIN, told)]);
        }
    }
    if args.new_era {
        return begin_era(&mut taken).await;
    }
    if left > 0 { Err(Failure::reported()) } else { Ok(()) }
}

/// Fetches back what `receiver` has and the ledger has not. Answers how many streams stay behind it.
async fn fetch(taken: &mut Taken, receiver: &AskReceiver, kubeconfig: Option<&Path>) -> Result<usize, Failure> {
    let (mut merge, mut left, mut opened) = (Merge::new(receiver), vec![], false);
    let mut era = taken.installation.era;
    for view in receiver.resources().await? {
        let head = taken.store.head(&view.uid).await.map_err(|error| reading::failure(&error))?;
        match head {
            Some(head) if view.sequence < head.sequence => {}
            Some(head) if view.sequence == head.sequence => {
                if view.hash != head.hash {
                    left.push((view.clone(), format!("another row stands at sequence {} there", view.sequence)));
                }
            }
            head => {
                era = era.max(view.era);
                opened |= head.is_none();
                merge.add(view, head.as_ref()).await?;
            }
        }
    }
    if era > taken.installation.era {
        // The era that was begun is among what was lost.
        taken.rename(Installation { era, ..taken.installation.clone() }).await?;
    }
    let labels = if opened { labels(taken, kubeconfig).await? } else { BTreeMap::new() };
    let streams = merge.streams.len();
    let mut rows = 0;
    loop {
        let batch = merge.next(BATCH).await?;
        if batch.is_empty() {
            break;
        }
        let now = SystemClock::default().now();
        let labelled = |(_, event): &(usize, Returned)| {
            let labels = labels.get(&event.event().data.tenant).cloned().unwrap_or_default();
            event.clone().of_tenant_with(labels)
        };
        let events: Vec<Returned> = batch.iter().map(labelled).collect();
        let outcomes = taken.store.reinstate(taken.shard, taken.epoch, now, &events).await;
        for ((stream, _), outcome) in batch.iter().zip(outcomes.map_err(|error| append_failure(&error))?) {
            match outcome {
                Outcome::Appended(_) => rows += 1,
                Outcome::Stale(_) => {}
                Outcome::Illegal(why) => merge.give_up(*stream, &why),
            }
        }
    }
    left.extend(merge.streams.into_iter().filter_map(|stream| stream.trouble.map(|why| (stream.view, why))));
    tell(rows, streams, &left);
    Ok(left.len())
}

/// The tenants' labels, if it depends on them who hears of a stream. Tenants that are gone have none.
async fn labels(taken: &Taken, kubeconfig: Option<&Path>) -> Result<BTreeMap<TenantName, Labels>, Failure> {
    let selectors = taken.store.selectors().await.map_err(|error| reading::failure(&error))?;
    if selectors.iter().all(|(_, selector)| selector.tenant_labels.is_empty()) {
        return Ok(BTreeMap::new());
    }
    let client = cluster::connect(kubeconfig).await.map_err(|error| match error {
        ConnectError::Unreachable { .. } => Failure::unreachable(&error),
        _ => Failure::usage(&error),
    })?;
    cluster::tenant_labels(&client).await.map_err(|error| {
        let said = format!("reading the tenants' labels, which some sink chooses by: {error}");
        if cluster::is_refusal(&error) { Failure::usage(&said) } else { Failure::unreachable(&said) }
    })
}

fn tell(rows: u64, streams: usize, left: &[(ResourceView, String)]) {
    let streams = u64::try_from(streams).unwrap_or(u64::MAX);
    let mut lines = vec![Text::new(GOOD, "recover: ").and(
        PLAIN,
        format!("{} of {} fetched back", describe::count(rows, "row"), describe::count(streams, "stream")),
    )];
    for (view, why) in left.iter().take(LISTED) {
        let name = describe::resource(view.kind, view.namespace.as_deref(), &view.name);
        lines.push(Text::new(BUSY, format!("still behind: {name}")).and(DIM, format!("  uid {}  {why}", view.uid)));
    }
    if !left.is_empty() {
        let count = describe::count(u64::try_from(left.len()).unwrap_or(u64::MAX), "stream");
        let next = "fetch the rest from another receiver, or give it up with --new-era";
        lines.push(Text::new(BAD, format!("recover: {count} cannot be fetched back from here; {next}")));
    }
    reading::emit(&lines);
}

/// Begins the next era, and says anew what holds in every open stream: receivers drop what they were told beyond.
async fn begin_era(taken: &mut Taken) -> Result<(), Failure> {
    let era = Era::new(taken.installation.era.get() + 1);
    taken.rename(Installation { era, ..taken.installation.clone() }).await?;
    let (mut after, mut restated): (Option<Uid>, u64) = (None, 0);
    loop {
        let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
        let heads = taken.store.heads(after.as_ref(), true, limit).await.map_err(|error| reading::failure(&error))?;
        let Some(last) = heads.last() else { break };
        after = Some(last.subject.uid.clone());
        let now = SystemClock::default().now();
        let drafts: Vec<Draft> = heads.iter().map(|head| restatement(head, now)).collect();
        let outcomes = taken.store.append(taken.shard, taken.epoch, now, &drafts).await;
        for outcome in outcomes.map_err(|error| append_failure(&error))? {
            match outcome {
                Outcome::Appended(_) => restated += 1,
                Outcome::Stale(_) => {}
                Outcome::Illegal(why) => return Err(Failure::violated(&format!("stating a stream anew: {why}"))),
            }
        }
    }
    reading::emit(&[Text::new(GOOD, "recover: ")
        .and(PLAIN, format!("era {era} has begun; {} stated anew", describe::count(restated, "open stream")))]);
    Ok(())
}

fn restatement(head: &Head, now: Timestamp) -> Draft {
    Draft {
        subject: head.subject.clone(),
        after: Some(head.sequence),
        to: head.state.clone(),
        reason: reasons::ERA_BEGUN.word.to_owned(),
        message: reasons::ERA_BEGUN.sentence.to_owned(),
        generation: head.generation,
        effective: Effective::inferred(head.effective_at, now.max(head.effective_at)),
        billable: head.billable,
        evidence: None,
        amends: None,
        labels: Labels::default(),
    }
}

/// The missing events of many streams, in the order in which they were recorded, a few of each in memory.
struct Merge<'a> {
    receiver: &'a AskReceiver,
    streams: Vec<Stream>,
    next: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

struct Stream {
    view: ResourceView,
    /// What was fetched of it, and where that ends.
    waiting: VecDeque<Returned>,
    fetched: Sequence,
    hash: Hash,
    trouble: Option<String>,
}

impl<'a> Merge<'a> {
    fn new(receiver: &'a AskReceiver) -> Self {
        Self { receiver, streams: vec![], next: BinaryHeap::new() }
    }

    /// Adds a stream, of which the ledger has the rows up to `head`.
    async fn add(&mut self, view: ResourceView, head: Option<&Head>) -> Result<(), Failure> {
        let (fetched, hash) = head.map_or((Sequence::default(), Hash::ZERO), |head| (head.sequence, head.hash));
        self.streams.push(Stream { view, waiting: VecDeque::new(), fetched, hash, trouble: None });
        self.refill(self.streams.len() - 1).await
    }

    /// The next events, at most `count`, each with its stream.
    async fn next(&mut self, count: usize) -> Result<Vec<(usize, Returned)>, Failure> {
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count {
            let Some(Reverse((_, at))) = self.next.pop() else { break };
            let Some(event) = self.streams[at].waiting.pop_front() else { continue };
            batch.push((at, event));
            self.refill(at).await?;
        }
        Ok(batch)
    }

    /// Takes no more of a stream whose event was not taken back.
    fn give_up(&mut self, at: usize, why: &str) {
        let stream = &mut self.streams[at];
        stream.trouble.get_or_insert_with(|| why.to_owned());
        stream.waiting.clear();
    }

    /// Makes sure that the next event of a stream is there, if it has one, and notes its time.
    async fn refill(&mut self, at: usize) -> Result<(), Failure> {
        let stream = &mut self.streams[at];
        if stream.waiting.is_empty() && stream.fetched < stream.view.sequence && stream.trouble.is_none() {
            let events = self.receiver.events(&stream.view.uid, stream.fetched, AHEAD).await?;
            // Where an era began, the events of the one before stand beside those that count: the chain tells which.
            let mut read: Vec<Returned> =
                events.into_iter().filter_map(|event| Returned::read(event.body.into_bytes()).ok()).collect();
            while let Some(place) = read.iter().rposition(|it| stream.continues(it)) {
                let event = read.swap_remove(place);
                stream.fetched = event.event().data.sequence;
                stream.hash = event.event().data.hash.unwrap_or(Hash::ZERO);
                stream.waiting.push_back(event);
            }
            if stream.waiting.is_empty() {
                let why =
                    format!("what follows sequence {} there does not continue the ledger's chain", stream.fetched);
                stream.trouble = Some(why);
            }
        }
        if let Some(event) = stream.waiting.front() {
            self.next.push(Reverse((event.event().recordedtime, at)));
        }
        Ok(())
    }
}

impl Stream {
    fn continues(&self, event: &Returned) -> bool {
        let data = &event.event().data;
        data.sequence == self.fetched.next() && data.prev_hash == self.hash && data.sequence <= self.view.sequence
    }
}
