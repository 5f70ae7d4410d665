//! One transition as billing receives it: a CloudEvents 1.0 envelope around a link of the stream's hash chain.
//!
//! The bytes are made once, when the row is committed, and sent unchanged ever after.
//! Format: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>;
//! canonical JSON: RFC 8785.
//!
//! The fields stand in the order of their keys on the wire, here and in `Billable`: then what serde_json writes is
//! canonical as it is, ten times faster than sorting it afterwards. A test compares the two.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Billable, EventId, Hash, Kind, Sequence, State, TenantName, TimeSource, Timestamp, Uid};

/// The envelope around `D`. Its field names are the wire's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Envelope<D> {
    /// What it says.
    pub data: D,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// Where the JSON Schema of `data` is published.
    pub dataschema: String,
    /// `<uid>-<era>-<sequence>`, with a suffix on what is no transition; with `source`, unique for ever.
    pub id: EventId,
    /// The UID: brokers keep the order within it.
    pub partitionkey: String,
    /// When the ledger recorded it.
    pub recordedtime: Timestamp,
    /// The sequence in twenty digits, which sorts as text.
    #[schemars(regex(pattern = "^[0-9]{20}$"))]
    pub sequence: String,
    /// `/trueup/<installation>/<kind>/<uid>`.
    pub source: String,
    /// Always `1.0`.
    pub specversion: String,
    /// The billing account of the tenant.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// `dev.trueup.<kind>.transition.v1`, or the type of what stands in a transition's place.
    #[serde(rename = "type")]
    pub event_type: String,
}

/// A transition.
pub type Event = Envelope<EventData>;

/// The transition itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventData {
    /// The tenant's billing account.
    pub account: String,
    /// The place of an earlier event that was voided: this one states anew what holds. Absent on all others.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(range(min = 1))]
    pub amends: Option<Sequence>,
    /// What it costs from `effectiveAt` until the stream's next event.
    pub billable: Billable,
    /// When it happened; what billing counts from.
    pub effective_at: Timestamp,
    /// The ledger's life, 0 unless rows were once lost.
    #[schemars(range(min = 0))]
    pub era: i64,
    /// The state before; null on the stream's first event.
    pub from: Option<State>,
    /// The generation of the spec that was acted upon.
    #[schemars(range(min = 0))]
    pub generation: i64,
    /// The hash of this one; absent while it is being computed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hash: Option<Hash>,
    /// The resource's kind.
    pub kind: Kind,
    /// Why, in a sentence of a fixed catalogue.
    pub message: String,
    /// The resource's name.
    pub name: String,
    /// The resource's namespace; null where the kind has none.
    pub namespace: Option<String>,
    /// It did not happen later.
    pub not_after: Timestamp,
    /// It did not happen earlier.
    pub not_before: Timestamp,
    /// The tenant's plan.
    pub plan: String,
    /// The hash of the stream's previous event; 64 zeros on the first.
    pub prev_hash: Hash,
    /// The stream that this one carries on, when its object was made anew.
    pub previous_uid: Option<Uid>,
    /// Why, in one word.
    #[schemars(regex(pattern = "^[A-Z][A-Za-z]*$"))]
    pub reason: String,
    /// The place in the stream: 1, 2, 3, ...
    #[schemars(range(min = 1))]
    pub sequence: Sequence,
    /// The tenant it belongs to.
    pub tenant: TenantName,
    /// Where `effectiveAt` came from.
    pub time_source: TimeSource,
    /// The state from now on.
    pub to: State,
    /// The resource's UID: the stream.
    pub uid: Uid,
}

/// An event with its hash, as the bytes that are stored and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedEvent {
    /// Canonical JSON, hash included.
    pub body: Vec<u8>,
    /// The hash within it.
    pub hash: Hash,
}

/// Why bytes are not an event that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum EventFault {
    /// Not the JSON that was expected.
    #[error("the event is not valid: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The event carries no hash.
    #[error("event {0} carries no hash")]
    Unsealed(EventId),
    /// The hash does not follow from the contents.
    #[error("event {id} says its hash is {said}, but its contents give {computed}")]
    Altered {
        /// The event.
        id: EventId,
        /// What it claims.
        said: Hash,
        /// What its contents hash to.
        computed: Hash,
    },
}

/// The schema of the data, by version.
pub const DATA_SCHEMA: &str = "https://trueup.dev/schemas/transition.v1.json";

impl Event {
    /// The event type of a transition of `kind`.
    pub fn type_of(kind: Kind) -> String {
        format!("dev.trueup.{}.transition.v1", kind.lower())
    }

    /// Computes the hash over `data.prevHash` and the contents, and freezes the bytes.
    pub fn seal(mut self) -> Result<SealedEvent, EventFault> {
        self.data.hash = None;
        let canonical = serde_json::to_vec(&self)?;
        let hash = Hash::chain(self.data.prev_hash, &canonical);
        Ok(SealedEvent { body: with_hash(canonical, hash), hash })
    }

    /// Reads an event and checks that its hash follows from its contents.
    ///
    /// That `prevHash` is the previous event's hash is for the caller to check: only it knows that event.
    pub fn verify(body: &[u8]) -> Result<Self, EventFault> {
        let event: Self = serde_json::from_slice(body)?;
        let said = event.data.hash.ok_or_else(|| EventFault::Unsealed(event.id.clone()))?;
        let computed = Hash::chain(event.data.prev_hash, &without_hash(body, said));
        if said == computed { Ok(event) } else { Err(EventFault::Altered { id: event.id, said, computed }) }
    }
}

/// The key that follows `hash` in `data`. A text cannot hold it: quotes within texts are escaped.
const BEHIND_HASH: &[u8] = b"\"kind\":";

/// The bytes of an event with the hash that was computed over them: what writing it all once more would give.
fn with_hash(mut canonical: Vec<u8>, hash: Hash) -> Vec<u8> {
    let place = canonical.windows(BEHIND_HASH.len()).position(|part| part == BEHIND_HASH);
    if let Some(place) = place {
        canonical.splice(place..place, format!("\"hash\":\"{hash}\",").into_bytes());
    }
    canonical
}

/// The bytes of an event without its `data.hash`: what the hash was computed over.
///
/// Taken from the bytes as they came, so that whoever does not know a newer version's fields can check it nevertheless.
/// A text cannot hold this key: quotes within texts are escaped.
fn without_hash(body: &[u8], hash: Hash) -> Vec<u8> {
    let field = format!("\"hash\":\"{hash}\",");
    let found = body.windows(field.len()).position(|part| part == field.as_bytes());
    match found {
        Some(start) => [&body[..start], &body[start + field.len()..]].concat(),
        None => body.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let at = Timestamp::from_micros(1_767_225_600_000_001);
        let uid = Uid::new("8f3c2c1e-7d0a-4b43-9a35-0f7f5a0f3a11");
        Event {
            specversion: "1.0".into(),
            id: EventId::of(&uid, super::super::Era::new(0), Sequence::FIRST),
            source: format!("/trueup/i/backup/{uid}"),
            event_type: Event::type_of(Kind::Backup),
            subject: "acct-1".into(),
            time: at,
            recordedtime: at,
            sequence: Sequence::FIRST.padded(),
            partitionkey: uid.to_string(),
            datacontenttype: "application/json".into(),
            dataschema: DATA_SCHEMA.into(),
            data: EventData {
                tenant: TenantName::new("acme"),
                account: "acct-1".into(),
                amends: None,
                plan: "small".into(),
                kind: Kind::Backup,
                namespace: Some("acme-prod".into()),
                name: "nightly".into(),
                uid,
                previous_uid: None,
                era: 0,
                sequence: Sequence::FIRST,
                from: None,
                to: State::of("Pending"),
                reason: "Created".into(),
                message: "The backup was asked for.".into(),
                generation: 1,
                effective_at: at,
                not_before: at,
                not_after: at,
                time_source: TimeSource::Reported,
                billable: Billable { storage_bytes: 9_007_199_254_740_993, ..Billable::ZERO },
                prev_hash: Hash::ZERO,
                hash: None,
            },
        }
    }

    #[test]
    fn a_sealed_event_verifies_and_keeps_quantities_that_a_double_would_round() {
        let sealed = event().seal().unwrap();
        let read = Event::verify(&sealed.body).unwrap();
        assert_eq!(read.data.hash, Some(sealed.hash));
        assert_eq!(read.data.billable.storage_bytes, 9_007_199_254_740_993);
        assert_eq!(read.clone().seal().unwrap(), sealed, "sealing again gives the same bytes");
    }

    #[test]
    fn sealing_gives_what_canonical_json_says_whatever_the_texts_hold() {
        let mut tricky = event();
        tricky.data.message =
            (0..0x300).filter_map(char::from_u32).chain("\u{2028}\u{fffd}\u{1f600}".chars()).collect();
        tricky.data.amends = Some(Sequence::new(7));
        tricky.data.account = "\"kind\":\\/".into();
        tricky.data.generation = 1 << 53;
        tricky.data.previous_uid = Some(Uid::new("before"));
        tricky.data.from = Some(State::of("Pending"));
        let sealed = tricky.clone().seal().unwrap();
        assert_eq!(sealed.hash, Hash::chain(Hash::ZERO, &serde_json_canonicalizer::to_vec(&tricky).unwrap()));
        tricky.data.hash = Some(sealed.hash);
        assert_eq!(sealed.body, serde_json_canonicalizer::to_vec(&tricky).unwrap());
    }

    #[test]
    fn an_altered_event_is_found_out() {
        let sealed = event().seal().unwrap();
        let altered = String::from_utf8(sealed.body).unwrap().replace("\"small\"", "\"large\"");
        assert!(matches!(Event::verify(altered.as_bytes()), Err(EventFault::Altered { .. })));
    }

    #[test]
    fn an_event_with_fields_of_a_later_version_verifies() {
        let mut later = serde_json::to_value(event()).unwrap();
        later["data"]["billable"]["gpuSeconds"] = "12".into();
        later["data"]["weather"] = "\"hash\":\"fine\"".into();
        let hash = Hash::chain(Hash::ZERO, &serde_json_canonicalizer::to_vec(&later).unwrap());
        later["data"]["hash"] = hash.to_string().into();
        let body = serde_json_canonicalizer::to_vec(&later).unwrap();
        assert_eq!(Event::verify(&body).unwrap().data.hash, Some(hash));
    }

    #[test]
    fn the_hash_stands_on_the_previous_one() {
        let mut second = event();
        second.data.prev_hash = event().seal().unwrap().hash;
        assert_ne!(second.seal().unwrap().hash, event().seal().unwrap().hash);
    }
}
