//! What must hold of a message before anything is believed: who sent it, and that its parts agree. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    domain::{
        Envelope, Era, Event, EventFault, EventId, Hash, Kind, Message, SNAPSHOT_TYPE, Sequence, Snapshot, Timestamp,
        Uid, VOID_TYPE, Void,
    },
    sinks::{
        signature::{self, SignatureFault, SigningKeys},
        webhook::{BATCH_MEDIA_TYPE, MEDIA_TYPE},
    },
};

use super::inbox::Link;

/// A message as it came in. Absent headers are empty.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The media type.
    pub content_type: &'a str,
    /// The header [`signature::ID`].
    pub id: &'a str,
    /// The header [`signature::TIMESTAMP`].
    pub timestamp: &'a str,
    /// The header [`signature::SIGNATURE`].
    pub signatures: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// An event that is genuine and whole. Whether it comes in its turn is the inbox's question.
#[derive(Clone, PartialEq, Debug)]
pub struct Opened {
    /// Its place in its resource's chain.
    pub link: Link,
    /// Its id.
    pub id: EventId,
    /// What it says.
    pub message: Message,
    /// Its exact text.
    pub body: String,
}

/// A message of a known sender.
#[derive(Debug)]
pub struct Contents {
    /// Its events, in the order in which they are to be applied.
    pub events: Vec<Opened>,
    /// The first one that cannot be taken. Nothing behind it was looked at.
    pub broken: Option<Broken>,
}

/// An event that is not what it should be.
#[derive(Debug)]
pub struct Broken {
    /// The id that it gives itself, if it does.
    pub id: Option<EventId>,
    /// What is wrong with it.
    pub fault: EnvelopeFault,
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeFault {
    /// It is of another media type.
    #[error("the content type is '{0}'; it must be {MEDIA_TYPE}, or {BATCH_MEDIA_TYPE} for several events")]
    MediaType(String),
    /// Its sender is not known.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// It is not JSON, or not an array where that was promised.
    #[error("the body is not what its content type says: {0}")]
    Body(#[from] serde_json::Error),
    /// It is not an event, or its hash does not follow from its contents.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// Two of its parts contradict each other.
    #[error("{part} is '{said}', but the event's data make it '{expected}'")]
    Disagrees {
        /// Which part.
        part: &'static str,
        /// What it says.
        said: String,
        /// What it should say.
        expected: String,
    },
}

impl EnvelopeFault {
    /// One word, for answers and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MediaType(_) => "unsupported-media-type",
            Self::Signature(_) => "not-authentic",
            Self::Event(EventFault::Altered { .. } | EventFault::Unsealed(_)) => "altered",
            Self::Body(_) | Self::Event(EventFault::Malformed(_)) => "malformed",
            Self::Disagrees { .. } => "inconsistent",
        }
    }
}

/// Checks a message and takes its events out of it.
///
/// The signature comes first: nothing is parsed that a stranger sent. An error is about the message as a whole; an event of
/// it that is not in order is [`Contents::broken`], and what stands before that one is good.
pub fn open(received: &Received<'_>, keys: &SigningKeys, now: Timestamp) -> Result<Contents, EnvelopeFault> {
    let media_type = received.content_type.split(';').next().unwrap_or_default().trim();
    let alone = media_type.eq_ignore_ascii_case(MEDIA_TYPE);
    if !alone && !media_type.eq_ignore_ascii_case(BATCH_MEDIA_TYPE) {
        return Err(EnvelopeFault::MediaType(media_type.to_owned()));
    }
    keys.verify(received.id, received.timestamp, received.signatures, received.body, now)?;
    // Hashes are computed over the bytes as they came, so the texts are taken out as they are.
    let texts: Vec<&RawValue> =
        if alone { vec![serde_json::from_slice(received.body)?] } else { serde_json::from_slice(received.body)? };
    let mut events = Vec::with_capacity(texts.len());
    for text in texts {
        // The header names a single event. Of several, the array as a whole has an id of its own.
        match open_one(text.get(), alone.then_some(received.id)) {
            Ok(opened) => events.push(opened),
            Err(fault) => return Ok(Contents { events, broken: Some(Broken { id: id_in(text), fault }) }),
        }
    }
    Ok(Contents { events, broken: None })
}

/// The id that an event gives itself, for whoever is told that it is not in order.
fn id_in(text: &RawValue) -> Option<EventId> {
    #[derive(Deserialize)]
    struct Named {
        id: EventId,
    }
    serde_json::from_str::<Named>(text.get()).ok().map(|named| named.id)
}

fn open_one(body: &str, named: Option<&str>) -> Result<Opened, EnvelopeFault> {
    let message = Message::read(body.as_bytes())?;
    let (link, id) = match &message {
        Message::Transition(event) => {
            let data = &event.data;
            // `read` saw to it that the hash is there.
            let hash = data.hash.ok_or_else(|| EventFault::Unsealed(event.id.clone()))?;
            let place = Place { kind: data.kind, uid: &data.uid, era: Era::new(data.era), sequence: data.sequence };
            let id = place.event_id();
            agree(event, &place, &data.account, &id, &Event::type_of(data.kind), named)?;
            (place.link(data.prev_hash, hash, false), id)
        }
        Message::Void(void) => {
            let data = &void.data;
            let place = Place { kind: data.kind, uid: &data.uid, era: Era::new(data.era), sequence: data.sequence };
            let id = Void::id_of(&place.event_id());
            agree(void, &place, &data.account, &id, VOID_TYPE, named)?;
            (place.link(data.prev_hash, data.hash, false), id)
        }
        Message::Snapshot(snapshot) => {
            let data = &snapshot.data;
            let place = Place { kind: data.kind, uid: &data.uid, era: Era::new(data.era), sequence: data.sequence };
            let id = Snapshot::id_of(&place.event_id());
            agree(snapshot, &place, &data.account, &id, SNAPSHOT_TYPE, named)?;
            (place.link(data.prev_hash, data.hash, true), id)
        }
    };
    Ok(Opened { link, id, message, body: body.to_owned() })
}

/// Where an event's data say that it stands.
struct Place<'a> {
    kind: Kind,
    uid: &'a Uid,
    era: Era,
    sequence: Sequence,
}

impl Place<'_> {
    fn event_id(&self) -> EventId {
        EventId::of(self.uid, self.era, self.sequence)
    }

    fn link(&self, prev_hash: Hash, hash: Hash, begins: bool) -> Link {
        Link { uid: self.uid.clone(), era: self.era, sequence: self.sequence, prev_hash, hash, begins }
    }
}

/// Whether the envelope, and the header with the id if it names this event, say what the data say.
fn agree<D>(
    envelope: &Envelope<D>,
    place: &Place<'_>,
    account: &str,
    id: &EventId,
    event_type: &str,
    named: Option<&str>,
) -> Result<(), EnvelopeFault> {
    let source_ends = format!("/{}/{}", place.kind.lower(), place.uid);
    let source_fits = envelope.source.starts_with("/trueup/") && envelope.source.ends_with(&source_ends);
    let parts = [
        ("specversion", envelope.specversion.as_str(), "1.0"),
        ("id", envelope.id.as_str(), id.as_str()),
        (signature::ID, named.unwrap_or(id.as_str()), id.as_str()),
        ("type", &envelope.event_type, event_type),
        ("sequence", &envelope.sequence, &place.sequence.padded()),
        ("partitionkey", &envelope.partitionkey, place.uid.as_str()),
        ("subject", &envelope.subject, account),
        ("source", if source_fits { &source_ends } else { &envelope.source }, &source_ends),
    ];
    for (part, said, expected) in parts {
        if said != expected {
            return Err(EnvelopeFault::Disagrees { part, said: said.to_owned(), expected: expected.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::domain::{Billable, DATA_SCHEMA, EventData, State, TenantName, TimeSource};

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn keys() -> SigningKeys {
        SigningKeys::parse(&SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap()
    }

    fn event() -> Event {
        let uid = Uid::new("8f3c2c1e-7d0a-4b43-9a35-0f7f5a0f3a11");
        Event {
            specversion: "1.0".into(),
            id: EventId::of(&uid, Era::new(0), Sequence::FIRST),
            source: format!("/trueup/i/tenant/{uid}"),
            event_type: Event::type_of(Kind::Tenant),
            subject: "acct-1".into(),
            time: NOW,
            recordedtime: NOW,
            sequence: Sequence::FIRST.padded(),
            partitionkey: uid.to_string(),
            datacontenttype: "application/json".into(),
            dataschema: DATA_SCHEMA.into(),
            data: EventData {
                tenant: TenantName::new("acme"),
                account: "acct-1".into(),
                amends: None,
                plan: "small".into(),
                kind: Kind::Tenant,
                namespace: None,
                name: "acme".into(),
                uid,
                previous_uid: None,
                era: 0,
                sequence: Sequence::FIRST,
                from: None,
                to: State::of("Provisioning"),
                reason: "Created".into(),
                message: "The tenant was asked for.".into(),
                generation: 1,
                effective_at: NOW,
                not_before: NOW,
                not_after: NOW,
                time_source: TimeSource::Reported,
                billable: Billable::ZERO,
                prev_hash: Hash::ZERO,
                hash: None,
            },
        }
    }

    // What comes of `body`, properly signed under `id`.
    fn contents(content_type: &str, id: &str, body: &[u8]) -> Result<Contents, EnvelopeFault> {
        let seconds = NOW.as_micros() / 1_000_000;
        let (timestamp, signatures) = (seconds.to_string(), keys().sign(id, seconds, body));
        open(&Received { content_type, id, timestamp: &timestamp, signatures: &signatures, body }, &keys(), NOW)
    }

    // The same, of a single event.
    fn opened(id: &str, body: &[u8]) -> Result<Opened, EnvelopeFault> {
        let mut contents = contents("application/cloudevents+json; charset=utf-8", id, body)?;
        match contents.broken {
            None => Ok(contents.events.remove(0)),
            Some(broken) => Err(broken.fault),
        }
    }

    #[test]
    fn a_genuine_event_is_opened_and_knows_its_place() {
        let event = event();
        let sealed = event.clone().seal().unwrap();
        let opened = opened(event.id.as_str(), &sealed.body).unwrap();
        assert_eq!((opened.link.sequence, opened.link.hash), (Sequence::FIRST, sealed.hash));
    }

    #[test]
    fn what_stands_in_an_events_place_is_opened_under_its_own_id_and_knows_the_same_place() {
        let event = Event::verify(&event().seal().unwrap().body).unwrap();
        let (void, snapshot) = (Void::of(event.clone(), NOW).unwrap(), Snapshot::of(event.clone()).unwrap());
        for (id, body, begins) in
            [(void.id.clone(), void.body().unwrap(), false), (snapshot.id.clone(), snapshot.body().unwrap(), true)]
        {
            let opened = opened(id.as_str(), &body).unwrap();
            let place = (opened.link.sequence, Some(opened.link.hash), opened.link.prev_hash, opened.link.begins);
            assert_eq!(place, (Sequence::FIRST, event.data.hash, Hash::ZERO, begins));
            assert_ne!(id, event.id);
            let other = String::from_utf8(body).unwrap().replace("acct-1\",\"billable", "acct-2\",\"billable");
            let other = other.replace("acct-1\",\"era", "acct-2\",\"era");
            let fault = super::tests::opened(id.as_str(), other.as_bytes()).unwrap_err();
            assert!(matches!(fault, EnvelopeFault::Disagrees { part: "subject", .. }), "{fault}");
        }
    }

    #[test]
    fn parts_that_disagree_are_found_even_when_the_sender_signed_them() {
        type Change = fn(&mut Event);
        let changes: [(&str, Change); 7] = [
            ("specversion", |event| event.specversion = "0.3".into()),
            ("id", |event| event.id = EventId::new("another")),
            ("type", |event| event.event_type = Event::type_of(Kind::Backup)),
            ("sequence", |event| event.sequence = Sequence::new(2).padded()),
            ("partitionkey", |event| event.partitionkey = "another".into()),
            ("subject", |event| event.subject = "acct-2".into()),
            ("source", |event| event.source = "/trueup/i/backup/another".into()),
        ];
        let id = event().id;
        for (expected, change) in changes {
            let mut event = event();
            change(&mut event);
            let fault = opened(id.as_str(), &event.seal().unwrap().body).unwrap_err();
            assert!(matches!(fault, EnvelopeFault::Disagrees { part, .. } if part == expected), "{expected}: {fault}");
        }
        let fault = opened("msg_1", &event().seal().unwrap().body).unwrap_err();
        assert!(matches!(fault, EnvelopeFault::Disagrees { part: signature::ID, .. }), "{fault}");
    }

    #[test]
    fn what_is_not_an_event_is_refused_with_a_word_for_it() {
        let (id, body) = (event().id, event().seal().unwrap().body);
        let altered = String::from_utf8(body.clone()).unwrap().replace("acct-1", "acct-2");
        assert_eq!(opened(id.as_str(), altered.as_bytes()).unwrap_err().code(), "altered");
        assert_eq!(opened(id.as_str(), b"{}").unwrap_err().code(), "malformed");
        let unsigned = Received { content_type: MEDIA_TYPE, id: "", timestamp: "", signatures: "", body: &body };
        assert_eq!(open(&unsigned, &keys(), NOW).unwrap_err().code(), "not-authentic");
        let other = Received { content_type: "application/json", ..unsigned };
        assert_eq!(open(&other, &keys(), NOW).unwrap_err().code(), "unsupported-media-type");
    }
    #[test]
    fn of_several_events_those_before_the_first_broken_one_are_good_and_keep_their_text() {
        let good = String::from_utf8(event().seal().unwrap().body).unwrap();
        let altered = good.replace("acct-1", "acct-2");
        let batch = |body: &str| contents("application/cloudevents-batch+json", "batch-1", body.as_bytes());
        let whole = batch(&format!("[{good}, {good}]")).unwrap();
        assert!(whole.broken.is_none());
        assert_eq!(whole.events.iter().map(|event| event.body.as_str()).collect::<Vec<_>>(), [&good, &good]);

        let torn = batch(&format!("[{good},{altered},{good}]")).unwrap();
        let broken = torn.broken.unwrap();
        assert_eq!((torn.events.len(), broken.id, broken.fault.code()), (1, Some(event().id), "altered"));
        let nameless = batch("[7]").unwrap().broken.unwrap();
        assert_eq!((nameless.id, nameless.fault.code()), (None, "malformed"));
        assert!(batch("[]").unwrap().events.is_empty());
        assert_eq!(batch(&good).unwrap_err().code(), "malformed");
    }
}
