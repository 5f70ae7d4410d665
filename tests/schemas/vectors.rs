//! The test vectors: messages as a receiver gets them, each with what is right to answer.
//!
//! What is sent is made by the code that sends; what is right is written here by hand. Nothing depends on when or where
//! they are made.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trueup::{
    domain::{
        Billable, DATA_SCHEMA, Envelope, Era, Event, EventData, EventId, Hash, Kind, Random as _, SeededRandom,
        Sequence, Snapshot, State, TenantName, TimeSource, Timestamp, Uid, Void,
    },
    sinks::{
        signature::{self, SigningKeys},
        webhook,
    },
};

/// Of a sink whose key is being replaced: the new one, the old one; and one that nobody told the receiver.
pub const KEYS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
const STRANGER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// When the receiver gets all of it, in seconds since 1970.
pub const NOW: i64 = 1_767_229_200;

/// One conversation with a receiver that knew nothing before.
#[derive(Debug, Serialize, Deserialize)]
pub struct Vector {
    /// What it shows.
    pub about: String,
    /// What the receiver's clock says, in seconds since 1970.
    pub now: i64,
    /// The keys that the receiver knows.
    pub keys: Vec<String>,
    /// What it is sent, in this order.
    pub messages: Vec<Sent>,
    /// What it has applied in the end, by resource and in the order in which it did: by era, then by sequence.
    pub applied: BTreeMap<Uid, Vec<Applied>>,
}

/// One message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// What is special about it.
    pub about: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body, which is UTF-8.
    pub body: String,
    /// What is right.
    pub expect: Expected,
}

/// What is right to answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Expected {
    /// `applied`, `duplicate`, `missing`, or what is wrong.
    pub verdict: String,
    /// The HTTP status.
    pub status: u16,
    /// What the JSON in the answer says that the sender acts upon.
    pub answer: Value,
}

/// An event that was applied.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Its era.
    pub era: i64,
    /// Its sequence.
    pub sequence: i64,
    /// Its hash.
    pub hash: Hash,
    /// Whether nobody is to be charged for it.
    pub shadow: bool,
}

impl Expected {
    fn taken(verdict: &str) -> Self {
        Self { verdict: verdict.into(), status: 200, answer: json!({}) }
    }

    fn missing(event: &Event, expected: i64) -> Self {
        let answer = json!({"eventId": event.id, "expectedSequence": expected});
        Self { verdict: "missing".into(), status: 409, answer }
    }

    fn refused(status: u16, verdict: &str, id: Option<&EventId>) -> Self {
        let answer = id.map_or(json!({}), |id| json!({"eventId": id}));
        Self { verdict: verdict.into(), status, answer }
    }

    fn contradiction(event: &Event) -> Self {
        Self::refused(422, "contradiction", Some(&event.id))
    }

    fn unknown_sender() -> Self {
        Self::refused(401, "not-authentic", None)
    }
}

/// A resource whose history is being made up.
struct Stream {
    uid: Uid,
    era: i64,
    events: Vec<Event>,
}

impl Stream {
    fn new(seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        let uid = uuid::Uuid::from_u64_pair(random.bits(), random.bits());
        Self { uid: Uid::new(uid.to_string()), era: 0, events: vec![] }
    }

    /// The next event. Its sequence is `self.events.len() + 1`.
    fn append(&mut self, reason: &str, to: &'static str, change: impl FnOnce(&mut EventData)) -> Event {
        let place = i64::try_from(self.events.len()).unwrap() + 1;
        let (sequence, at) = (Sequence::new(place), Timestamp::from_micros((NOW - 3_600 + 60 * place) * 1_000_000));
        let last = self.events.last().map(|event| &event.data);
        let mut data = EventData {
            account: "acct-1".into(),
            amends: None,
            billable: Billable { cpu_millicores: 200, memory_bytes: 1 << 54, replicas: 2, storage_bytes: 0 },
            effective_at: at,
            era: self.era,
            from: last.map(|last| last.to.clone()),
            generation: 2,
            hash: None,
            kind: Kind::AppDeployment,
            message: "Quotes \" and \\, a line's\nend, é, \u{1f600} and </script> stand in texts.".into(),
            name: "web".into(),
            namespace: Some("acme-prod".into()),
            not_after: Timestamp::from_micros(at.as_micros() + 999_999),
            not_before: at,
            plan: "small".into(),
            prev_hash: last.and_then(|last| last.hash).unwrap_or(Hash::ZERO),
            previous_uid: None,
            reason: reason.into(),
            sequence,
            tenant: TenantName::new("acme"),
            time_source: TimeSource::Reported,
            to: State::of(to),
            uid: self.uid.clone(),
        };
        change(&mut data);
        let event = sealed(Envelope {
            datacontenttype: "application/json".into(),
            dataschema: DATA_SCHEMA.into(),
            id: EventId::of(&self.uid, Era::new(self.era), sequence),
            partitionkey: self.uid.to_string(),
            recordedtime: Timestamp::from_micros(at.as_micros() + 1_234_567),
            sequence: sequence.padded(),
            source: format!("/trueup/0b54bd56-6c55-4a14-b3ae-b4f0a1b5f1b2/appdeployment/{}", self.uid),
            specversion: "1.0".into(),
            subject: data.account.clone(),
            time: data.effective_at,
            event_type: Event::type_of(Kind::AppDeployment),
            data,
        });
        self.events.push(event.clone());
        event
    }

    /// The next `count` events, on and off by turns.
    fn grow(&mut self, count: usize) -> Vec<Event> {
        let turn = |n: usize| if n.is_multiple_of(2) { ("Created", "Progressing") } else { ("RolledOut", "Available") };
        (0..count).map(|_| self.append(turn(self.events.len()).0, turn(self.events.len()).1, |_| {})).collect()
    }
}

fn sealed(event: Event) -> Event {
    Event::verify(&event.seal().unwrap().body).unwrap()
}

fn text(event: &Event) -> String {
    String::from_utf8(event.clone().seal().unwrap().body).unwrap()
}

fn void(event: &Event) -> (EventId, String) {
    let void = Void::of(event.clone(), Timestamp::from_micros(NOW * 1_000_000)).unwrap();
    (void.id.clone(), String::from_utf8(void.body().unwrap()).unwrap())
}

fn snapshot(event: &Event) -> (EventId, String) {
    let snapshot = Snapshot::of(event.clone()).unwrap();
    (snapshot.id.clone(), String::from_utf8(snapshot.body().unwrap()).unwrap())
}

/// `body`, signed with `keys` as sent at `seconds`.
fn signed(keys: &str, seconds: i64, media_type: &str, id: &str, body: String, about: &str, expect: Expected) -> Sent {
    let signature = SigningKeys::parse(&SecretString::from(keys)).unwrap().sign(id, seconds, body.as_bytes());
    let headers = [
        ("content-type", media_type),
        (signature::ID, id),
        (signature::TIMESTAMP, &seconds.to_string()),
        (signature::SIGNATURE, &signature),
    ];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Sent { about: about.into(), headers, body, expect }
}

fn one(about: &str, (id, body): (EventId, String), expect: Expected) -> Sent {
    signed(&KEYS.join(" "), NOW, webhook::MEDIA_TYPE, id.as_str(), body, about, expect)
}

fn event(about: &str, event: &Event, expect: Expected) -> Sent {
    one(about, (event.id.clone(), text(event)), expect)
}

fn batch(about: &str, events: &[&Event], expect: Expected) -> Sent {
    let body = format!("[{}]", events.iter().map(|event| text(event)).collect::<Vec<_>>().join(","));
    signed(KEYS[0], NOW, webhook::BATCH_MEDIA_TYPE, &webhook::batch_id(body.as_bytes()), body, about, expect)
}

fn vector(about: &str, messages: Vec<Sent>, applied: &[&Event]) -> Vector {
    let mut streams: BTreeMap<Uid, Vec<Applied>> = BTreeMap::new();
    for Event { data, .. } in applied {
        let hash = data.hash.unwrap();
        let one = Applied { era: data.era, sequence: data.sequence.get(), hash, shadow: false };
        streams.entry(data.uid.clone()).or_default().push(one);
    }
    Vector { about: about.into(), now: NOW, keys: KEYS.map(str::to_owned).into(), messages, applied: streams }
}

/// All of them, by the names of their files.
pub fn made() -> BTreeMap<&'static str, Vector> {
    BTreeMap::from([
        ("events", events()),
        ("signatures", signatures()),
        ("altered", altered()),
        ("gaps", gaps()),
        ("contradictions", contradictions()),
        ("voids", voids()),
        ("amendments", amendments()),
        ("snapshots", snapshots()),
        ("eras", eras()),
        ("batches", batches()),
        ("shadow", shadow()),
    ])
}

fn events() -> Vector {
    let mut app = Stream::new(1);
    let first = app.append("Created", "Pending", |_| {});
    let second = app.append("RolledOut", "Available", |data| {
        data.time_source = TimeSource::Inferred;
        data.not_before = first.data.effective_at;
        data.not_after = data.effective_at;
    });
    let third = app.append("Deleted", "Deleted", |data| data.billable = Billable::ZERO);
    let messages = vec![
        event("a stream's first event", &first, Expected::taken("applied")),
        event("the same again: its answer may have been lost", &first, Expected::taken("duplicate")),
        event(
            "the next, whose time is inferred: all that is known are its bounds",
            &second,
            Expected::taken("applied"),
        ),
        event("the last; nothing is charged from now on", &third, Expected::taken("applied")),
        event("an old one again", &second, Expected::taken("duplicate")),
    ];
    vector("one resource's life, with repeats", messages, &[&first, &second, &third])
}

fn signatures() -> Vector {
    let events = Stream::new(2).grow(5);
    let with = |keys: &str, seconds, event: &Event, about: &str, expect| {
        signed(keys, seconds, webhook::MEDIA_TYPE, event.id.as_str(), text(event), about, expect)
    };
    let changed = |header: &str, value: &str, about: &str| {
        let mut sent = with(KEYS[0], NOW, &events[4], about, Expected::unknown_sender());
        sent.headers.insert(header.into(), value.into());
        sent
    };
    let mut tampered = with(KEYS[0], NOW, &events[4], "a body that was changed", Expected::unknown_sender());
    tampered.body = tampered.body.replace("\"small\"", "\"large\"");
    let applied = || Expected::taken("applied");
    let unknown = Expected::unknown_sender;
    let messages = vec![
        with(&KEYS.join(" "), NOW, &events[0], "signed with the new key and the old one", applied()),
        with(KEYS[0], NOW, &events[1], "signed with the new key alone", applied()),
        with(KEYS[1], NOW, &events[2], "signed with the old key alone", applied()),
        with(&[STRANGER, KEYS[1]].join(" "), NOW, &events[3], "one of two keys is known", applied()),
        with(STRANGER, NOW, &events[4], "signed with a key that is not known", unknown()),
        tampered,
        changed("webhook-id", "another", "an id that was changed"),
        changed("webhook-timestamp", &(NOW - 1).to_string(), "a timestamp that was changed"),
        changed("webhook-timestamp", "soon", "a timestamp that is none"),
        changed("webhook-signature", "", "no signature"),
        changed("webhook-signature", "v1,AAAA", "a signature that is none"),
        with(KEYS[0], NOW - 301, &events[4], "sent too long ago: a replay", unknown()),
        with(KEYS[0], NOW + 301, &events[4], "sent in the future: a wrong clock", unknown()),
        with(KEYS[0], NOW - 300, &events[4], "sent just long enough ago", applied()),
    ];
    vector("who is believed, while a key is replaced", messages, &events.iter().collect::<Vec<_>>())
}

fn altered() -> Vector {
    let events = Stream::new(3).grow(2);
    let other = |about: &str, from: &str, to: &str| {
        let body = text(&events[1]).replacen(from, to, 1);
        assert_ne!(body, text(&events[1]));
        one(about, (events[1].id.clone(), body), Expected::refused(400, "altered", Some(&events[1].id)))
    };
    let (hash, next) = (events[0].data.hash.unwrap().to_string(), events[1].data.hash.unwrap().to_string());
    let messages = vec![
        event("the first", &events[0], Expected::taken("applied")),
        other("another plan, signed by somebody who has the key", "\"small\"", "\"large\""),
        other("another event before it", &hash, &Hash::ZERO.to_string()),
        other("another hash", &next, &hash),
        event("as it was", &events[1], Expected::taken("applied")),
    ];
    vector("events whose hash does not follow from what they say", messages, &[&events[0], &events[1]])
}

fn gaps() -> Vector {
    let events = Stream::new(4).grow(4);
    let messages = vec![
        event("not the first of an unknown resource", &events[2], Expected::missing(&events[2], 1)),
        event("the first", &events[0], Expected::taken("applied")),
        event("two are missing", &events[3], Expected::missing(&events[3], 2)),
        event("one is missing", &events[2], Expected::missing(&events[2], 2)),
        event("what was missing", &events[1], Expected::taken("applied")),
        event("what came too early", &events[2], Expected::taken("applied")),
        event("the last", &events[3], Expected::taken("applied")),
    ];
    vector("events that come before those that they follow", messages, &events.iter().collect::<Vec<_>>())
}

fn contradictions() -> Vector {
    let (mut app, mut rewritten) = (Stream::new(5), Stream::new(5));
    let events = app.grow(2);
    let mut others = vec![rewritten.append("Created", "Failed", |_| {})];
    others.extend(rewritten.grow(2));
    let orphan = Stream::new(55).append("Created", "Pending", |data| data.prev_hash = events[0].data.hash.unwrap());
    let messages = vec![
        event("a first event that follows something", &orphan, Expected::contradiction(&orphan)),
        event("the first", &events[0], Expected::taken("applied")),
        event("another event in its place", &others[0], Expected::contradiction(&others[0])),
        event("the next, of another chain", &others[1], Expected::contradiction(&others[1])),
        event("the next", &events[1], Expected::taken("applied")),
        event("one that follows what was never applied", &others[2], Expected::contradiction(&others[2])),
    ];
    vector("events that contradict what was applied: somebody rewrote history", messages, &[&events[0], &events[1]])
}

fn voids() -> Vector {
    let (events, begun) = (Stream::new(6).grow(4), Stream::new(66).grow(2));
    let messages = vec![
        event("the first", &events[0], Expected::taken("applied")),
        one("the second is not sent; this is, in its place", void(&events[1]), Expected::taken("applied")),
        one("the void again", void(&events[1]), Expected::taken("duplicate")),
        event("the voided event itself: its place is taken", &events[1], Expected::taken("duplicate")),
        event("the third follows the second, which was never seen", &events[2], Expected::taken("applied")),
        one("a void of what was applied changes nothing", void(&events[2]), Expected::taken("duplicate")),
        event("the fourth", &events[3], Expected::taken("applied")),
        one(
            "a void too far ahead",
            void(&begun[1]),
            Expected {
                answer: json!({"eventId": void(&begun[1]).0, "expectedSequence": 1}),
                ..Expected::missing(&begun[1], 1)
            },
        ),
        one("a void of a stream's first event", void(&begun[0]), Expected::taken("applied")),
        event("and what follows it", &begun[1], Expected::taken("applied")),
    ];
    vector("voids", messages, &events.iter().chain(&begun).collect::<Vec<_>>())
}

fn amendments() -> Vector {
    let mut app = Stream::new(7);
    let events = app.grow(3);
    let amended = app.append("Amended", "Progressing", |data| {
        data.amends = Some(Sequence::new(2));
        data.billable = Billable { replicas: 1, ..data.billable };
        data.time_source = TimeSource::Clamped;
    });
    let messages = vec![
        event("the first", &events[0], Expected::taken("applied")),
        one("the second was wrong, and is not sent", void(&events[1]), Expected::taken("applied")),
        event("the third", &events[2], Expected::taken("applied")),
        event("what holds in the second's stead", &amended, Expected::taken("applied")),
        event("the same again", &amended, Expected::taken("duplicate")),
    ];
    vector("an event that is voided and amended", messages, &[&events[0], &events[1], &events[2], &amended])
}

fn snapshots() -> Vector {
    let events = Stream::new(8).grow(12);
    let [fifth, sixth, seventh, tenth, last] = [4, 5, 6, 9, 10].map(|at| &events[at]);
    let told = |at: usize| Expected {
        answer: json!({"eventId": snapshot(&events[at]).0, "expectedSequence": 12}),
        ..Expected::missing(&events[at], 12)
    };
    let messages = vec![
        one("for this receiver, the stream begins here", snapshot(fifth), Expected::taken("applied")),
        one("the snapshot again", snapshot(fifth), Expected::taken("duplicate")),
        event("the event that it was taken at", fifth, Expected::taken("duplicate")),
        event("the next", sixth, Expected::taken("applied")),
        one("the next, as a snapshot", snapshot(seventh), Expected::taken("applied")),
        one("the sender no longer has what lies between", snapshot(tenth), Expected::taken("applied")),
        event("what follows it", last, Expected::taken("applied")),
        one("a snapshot of a place that was passed over tells nothing new", snapshot(&events[7]), told(7)),
        event("its event comes too late", &events[7], Expected::contradiction(&events[7])),
    ];
    vector("snapshots, with which a stream begins or goes on", messages, &[fifth, sixth, seventh, tenth, last])
}

fn eras() -> Vector {
    let mut old = Stream::new(9);
    let kept = old.grow(3);
    let lost = old.grow(3);
    let reborn = Stream { uid: old.uid.clone(), era: 1, events: kept.clone() }.grow(3);
    let mut other = Stream::new(99);
    let before = other.grow(4);
    let after = Stream { uid: other.uid.clone(), era: 1, events: before[..2].to_vec() }.grow(2);
    let first_five: Vec<&Event> = kept.iter().chain(&lost[..2]).collect();
    let messages = vec![
        batch("five events of the first era", &first_five, Expected::taken("applied")),
        event("a new era began before this one", &reborn[1], Expected::missing(&reborn[1], 4)),
        event(
            "it goes on behind the third: what was applied since never counted",
            &reborn[0],
            Expected::taken("applied"),
        ),
        event("the old era's fifth, again", &lost[1], Expected::taken("duplicate")),
        event("the old era's sixth, which was never applied", &lost[2], Expected::contradiction(&lost[2])),
        event("the new era goes on", &reborn[1], Expected::taken("applied")),
        event("its first, again", &reborn[0], Expected::taken("duplicate")),
        event("and on", &reborn[2], Expected::taken("applied")),
        batch("another resource, of the first era", &before.iter().collect::<Vec<_>>(), Expected::taken("applied")),
        one("a snapshot of the new era replaces what it contradicts", snapshot(&after[0]), Expected::taken("applied")),
        event("what follows it", &after[1], Expected::taken("applied")),
    ];
    let applied: Vec<&Event> = first_five.into_iter().chain(&reborn).chain(&before).chain(&after).collect();
    vector("a ledger that lost its newest rows and began a new era", messages, &applied)
}

fn batches() -> Vector {
    let (a, b, c) = (Stream::new(10).grow(4), Stream::new(11).grow(4), Stream::new(12).grow(2));
    let messages = vec![
        batch("two of one resource and one of another", &[&a[0], &a[1], &b[0]], Expected::taken("applied")),
        batch("the same again", &[&a[0], &a[1], &b[0]], Expected::taken("duplicate")),
        batch("some of it known, and one twice", &[&a[1], &a[2], &a[2], &b[0]], Expected::taken("applied")),
        batch("a gap in the middle: what comes before it is kept", &[&a[3], &b[2], &c[0]], Expected::missing(&b[2], 2)),
        batch("the rest, with what was missing", &[&a[3], &b[1], &b[2], &c[0]], Expected::taken("applied")),
        batch("known ones behind new ones", &[&c[1], &b[3], &b[2], &c[0]], Expected::taken("applied")),
        batch("an empty array: nothing new", &[], Expected::taken("duplicate")),
    ];
    vector("several events in one message", messages, &a.iter().chain(&b).chain(&c).collect::<Vec<_>>())
}

fn shadow() -> Vector {
    let events = Stream::new(13).grow(2);
    let mut messages = vec![
        event("nobody is to be charged for it", &events[0], Expected::taken("applied")),
        event("the order holds all the same", &events[1], Expected::taken("applied")),
    ];
    for rehearsed in &mut messages {
        rehearsed.headers.insert(webhook::MODE.into(), webhook::SHADOW.into());
    }
    let mut vector = vector("a sink in mode Shadow", messages, &[&events[0], &events[1]]);
    vector.applied.values_mut().flatten().for_each(|event| event.shadow = true);
    vector
}
