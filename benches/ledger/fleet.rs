//! Streams to write to, as they look in a cluster of applications.

use trueup::{
    domain::{
        Billable, Deadline, Effective, Kind, Labels, Random, SeededRandom, Sequence, State, StateRow, Table, Tables,
        TenantName, Timestamp, Uid,
    },
    ledger::{Draft, Outcome, Subject},
};

use crate::place::{Ledger, SHARD};

const fn state(name: &'static str, next: &'static [&'static str]) -> StateRow {
    StateRow { name, next, deadline: Deadline::Never, billed: "its pods" }
}

pub const TABLES: Tables = Tables(&[Table {
    kind: Kind::AppDeployment,
    states: &[state("Available", &["Degraded"]), state("Degraded", &["Available"])],
}]);

/// One resource, and how far its stream is.
#[derive(Clone, Debug)]
pub struct Stream {
    pub uid: String,
    pub name: String,
    pub sequence: i64,
}

impl Stream {
    /// The stream's next transition.
    pub fn next(&mut self, now: Timestamp) -> Draft {
        let draft = Draft {
            subject: Subject {
                uid: Uid::new(self.uid.as_str()),
                kind: Kind::AppDeployment,
                namespace: Some("acme-production".into()),
                name: self.name.clone(),
                tenant: TenantName::new("acme-corporation"),
                account: "acct-00000001".into(),
                plan: "standard".into(),
                previous_uid: None,
            },
            after: (self.sequence > 0).then(|| Sequence::new(self.sequence)),
            to: State::of(self.state()),
            reason: "ReplicasChanged".into(),
            message: "The number of available replicas changed.".into(),
            generation: 7,
            effective: Effective::observed(now, now),
            billable: Billable { replicas: 3, cpu_millicores: 1_500, memory_bytes: 3 << 30, storage_bytes: 10 << 30 },
            evidence: None,
            amends: None,
            labels: Labels::default(),
        };
        self.sequence += 1;
        draft
    }

    /// The state that the next transition enters.
    pub const fn state(&self) -> &'static str {
        if self.sequence % 2 == 0 { "Available" } else { "Degraded" }
    }
}

/// So many streams that are not open yet, under the random UIDs that an API server gives.
pub fn streams(count: usize) -> Vec<Stream> {
    let random = SeededRandom::new(4);
    (0..count)
        .map(|n| {
            let (high, low) = (random.bits(), random.bits());
            let uid = format!(
                "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xfff,
                0x8000 | (low >> 50),
                low & 0xffff_ffff_ffff
            );
            Stream { uid, name: format!("application-{n:06}"), sequence: 0 }
        })
        .collect()
}

/// Appends the next `rows` transitions of each, in batches.
pub async fn grow(ledger: &Ledger, streams: &mut [Stream], rows: usize) {
    for _ in 0..rows {
        for some in streams.chunks_mut(500) {
            let now = ledger.clock.now();
            let drafts: Vec<_> = some.iter_mut().map(|stream| stream.next(now)).collect();
            let outcomes = ledger.store.append(SHARD, ledger.epoch, now, &drafts).await.unwrap();
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{:?}", outcomes[0]);
        }
    }
}
