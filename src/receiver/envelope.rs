//! What must hold of a message before anything is believed: who sent it, and that its parts agree. Pure.

use crate::{
    domain::{
        Envelope, Era, Event, EventFault, EventId, Hash, Kind, Message, SNAPSHOT_TYPE, Sequence, Snapshot, Timestamp,
        Uid, VOID_TYPE, Void,
    },
    sinks::{
        signature::{self, SignatureFault, SigningKeys},
        webhook::MEDIA_TYPE,
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
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeFault {
    /// It is of another media type.
    #[error("the content type is '{0}'; it must be {MEDIA_TYPE}, one event in structured mode")]
    MediaType(String),
    /// Its sender is not known.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
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
            Self::Event(EventFault::Malformed(_)) => "malformed",
            Self::Disagrees { .. } => "inconsistent",
        }
    }
}

/// Checks a message and takes the event out of it.
///
/// The signature comes first: nothing is parsed that a stranger sent.
pub fn open(received: &Received<'_>, keys: &SigningKeys, now: Timestamp) -> Result<Opened, EnvelopeFault> {
    let media_type = received.content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(EnvelopeFault::MediaType(media_type.to_owned()));
    }
    keys.verify(received.id, received.timestamp, received.signatures, received.body, now)?;
    let message = Message::read(received.body)?;
    let (link, id) = match &message {
        Message::Transition(event) => {
            let data = &event.data;
            // `read` saw to it that the hash is there.
            let hash = data.hash.ok_or_else(|| EventFault::Unsealed(event.id.clone()))?;
            let place = Place { kind: data.kind, uid: &data.uid, era: Era::new(data.era), sequence: data.sequence };
            let id = place.event_id();
            agree(event, &place, &data.account, &id, &Event::type_of(data.kind), received.id)?;
            (place.link(data.prev_hash, hash, false), id)
        }
        Message::Void(void) => {
            let data = &void.data;
            let place = Place { kind: data.kind, uid: &data.uid, era: Era::new(data.era), sequence: data.sequence };
            let id = Void::id_of(&place.event_id());
            agree(void, &place, &data.account, &id, VOID_TYPE, received.id)?;
            (place.link(data.prev_hash, data.hash, false), id)
        }
        Message::Snapshot(snapshot) => {
            let data = &snapshot.data;
            let place = Place { kind: data.kind, uid: &data.uid, era: Era::new(data.era), sequence: data.sequence };
            let id = Snapshot::id_of(&place.event_id());
            agree(snapshot, &place, &data.account, &id, SNAPSHOT_TYPE, received.id)?;
            (place.link(data.prev_hash, data.hash, true), id)
        }
    };
    Ok(Opened { link, id, message })
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

/// Whether the envelope, and the header with the id, say what the data say.
fn agree<D>(
    envelope: &Envelope<D>,
    place: &Place<'_>,
    account: &str,
    id: &EventId,
    event_type: &str,
    received_id: &str,
) -> Result<(), EnvelopeFault> {
    let source_ends = format!("/{}/{}", place.kind.lower(), place.uid);
    let source_fits = envelope.source.starts_with("/trueup/") && envelope.source.ends_with(&source_ends);
    let parts = [
        ("specversion", envelope.specversion.as_str(), "1.0"),
        ("id", envelope.id.as_str(), id.as_str()),
        (signature::ID, received_id, id.as_str()),
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
    fn opened(id: &str, body: &[u8]) -> Result<Opened, EnvelopeFault> {
        let seconds = NOW.as_micros() / 1_000_000;
        let (timestamp, signatures) = (seconds.to_string(), keys().sign(id, seconds, body));
        let content_type = "application/cloudevents+json; charset=utf-8";
        open(&Received { content_type, id, timestamp: &timestamp, signatures: &signatures, body }, &keys(), NOW)
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
}
