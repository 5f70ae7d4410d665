//! Whatever a receiver can be sent: a transition, or what stands in a transition's place.

use serde::Deserialize;

use super::{Envelope, Event, EventFault, SNAPSHOT_TYPE, Snapshot, VOID_TYPE, Void};

/// What was sent, by its type.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// A row of the ledger.
    Transition(Event),
    /// A row that is not sent, so that what follows can be.
    Void(Void),
    /// How things stood at a row: where a stream begins for this receiver.
    Snapshot(Snapshot),
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    event_type: String,
}

impl Message {
    /// Reads whatever `body` holds. A transition's hash must follow from its contents; the others only carry one.
    pub fn read(body: &[u8]) -> Result<Self, EventFault> {
        let Typed { event_type } = serde_json::from_slice(body)?;
        Ok(match event_type.as_str() {
            VOID_TYPE => Self::Void(serde_json::from_slice::<Envelope<_>>(body)?),
            SNAPSHOT_TYPE => Self::Snapshot(serde_json::from_slice::<Envelope<_>>(body)?),
            _ => Self::Transition(Event::verify(body)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Billable, DATA_SCHEMA, Era, EventData, EventId, Hash, Kind, Sequence, State, TenantName, TimeSource, Timestamp,
        Uid,
    };

    const AT: Timestamp = Timestamp::from_micros(1_767_225_600_000_001);
    const LATER: Timestamp = Timestamp::from_micros(1_767_229_200_000_000);

    fn sealed() -> Vec<u8> {
        let uid = Uid::new("8f3c2c1e-7d0a-4b43-9a35-0f7f5a0f3a11");
        let sequence = Sequence::new(3);
        let event = Event {
            specversion: "1.0".into(),
            id: EventId::of(&uid, Era::new(0), sequence),
            source: format!("/trueup/i/backup/{uid}"),
            event_type: Event::type_of(Kind::Backup),
            subject: "acct-1".into(),
            time: AT,
            recordedtime: AT,
            sequence: sequence.padded(),
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
                name: "nightly \"one\" \u{e9}".into(),
                uid,
                previous_uid: None,
                era: 0,
                sequence,
                from: Some(State::of("Running")),
                to: State::of("Completed"),
                reason: "BackupSealed".into(),
                message: "The dump ended well.".into(),
                generation: 1,
                effective_at: AT,
                not_before: AT,
                not_after: AT,
                time_source: TimeSource::Reported,
                billable: Billable { storage_bytes: 9_007_199_254_740_993, ..Billable::ZERO },
                prev_hash: Hash::chain(Hash::ZERO, b"the row before"),
                hash: None,
            },
        };
        event.seal().unwrap().body
    }

    fn event() -> Event {
        Event::verify(&sealed()).unwrap()
    }

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    // Receivers parse these bytes for ever: a change here is a new version of the type.
    #[test]
    fn a_void_is_written_so() {
        insta::assert_snapshot!(text(Void::of(event(), LATER).unwrap().body().unwrap()));
    }

    #[test]
    fn a_snapshot_is_written_so() {
        insta::assert_snapshot!(text(Snapshot::of(event()).unwrap().body().unwrap()));
    }

    #[test]
    fn what_is_written_is_canonical_and_read_back_by_its_type() {
        let (void, snapshot) = (Void::of(event(), LATER).unwrap(), Snapshot::of(event()).unwrap());
        for (body, canonical, expected) in [
            (void.body().unwrap(), serde_json_canonicalizer::to_vec(&void).unwrap(), Message::Void(void)),
            (
                snapshot.body().unwrap(),
                serde_json_canonicalizer::to_vec(&snapshot).unwrap(),
                Message::Snapshot(snapshot),
            ),
            (sealed(), sealed(), Message::Transition(event())),
        ] {
            assert_eq!(text(body.clone()), text(canonical));
            assert_eq!(Message::read(&body).unwrap(), expected);
        }
    }

    #[test]
    fn an_event_without_its_hash_has_no_place_that_another_could_take() {
        let mut unsealed = event();
        unsealed.data.hash = None;
        assert!(matches!(Void::of(unsealed.clone(), LATER), Err(EventFault::Unsealed(_))));
        assert!(matches!(Snapshot::of(unsealed), Err(EventFault::Unsealed(_))));
    }
}
