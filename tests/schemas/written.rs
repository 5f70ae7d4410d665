//! Events as they are written today: one of each sort.

use trueup::domain::{
    Billable, DATA_SCHEMA, Envelope, Era, Event, EventData, EventId, Hash, Kind, Sequence, Snapshot, State, TenantName,
    TimeSource, Timestamp, Uid, Void,
};

const AT: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const LATER: Timestamp = Timestamp::from_micros(1_767_229_200_123_456);

fn event(kind: Kind, sequence: i64, from: Option<&'static str>, to: &'static str) -> Event {
    let uid = Uid::new("8f3c2c1e-7d0a-4b43-9a35-0f7f5a0f3a11");
    let sequence = Sequence::new(sequence);
    let data = EventData {
        account: "acct-1".into(),
        amends: None,
        billable: Billable { cpu_millicores: 200, memory_bytes: 1 << 54, replicas: 2, storage_bytes: 0 },
        effective_at: AT,
        era: 0,
        from: from.map(State::of),
        generation: 2,
        hash: None,
        kind,
        message: "All pods that were asked for are available.".into(),
        name: "web".into(),
        namespace: (kind != Kind::Tenant).then(|| "acme-prod".into()),
        not_after: Timestamp::from_micros(AT.as_micros() + 999_999),
        not_before: AT,
        plan: "small".into(),
        prev_hash: if sequence == Sequence::FIRST { Hash::ZERO } else { Hash::chain(Hash::ZERO, b"before") },
        previous_uid: None,
        reason: "RolledOut".into(),
        sequence,
        tenant: TenantName::new("acme"),
        time_source: TimeSource::Reported,
        to: State::of(to),
        uid: uid.clone(),
    };
    Envelope {
        datacontenttype: "application/json".into(),
        dataschema: DATA_SCHEMA.into(),
        id: EventId::of(&uid, Era::new(0), sequence),
        partitionkey: uid.to_string(),
        recordedtime: LATER,
        sequence: sequence.padded(),
        source: format!("/trueup/0b54bd56-6c55-4a14-b3ae-b4f0a1b5f1b2/{}/{uid}", kind.lower()),
        specversion: "1.0".into(),
        subject: "acct-1".into(),
        time: AT,
        event_type: Event::type_of(kind),
        data,
    }
}

/// Name and bytes of one event of each sort.
pub fn today() -> Vec<(&'static str, Vec<u8>)> {
    let app = event(Kind::AppDeployment, 3, Some("Progressing"), "Available");
    let mut amended = event(Kind::AppDeployment, 5, Some("Available"), "Available");
    amended.data.amends = Some(Sequence::new(3));
    amended.data.time_source = TimeSource::Clamped;
    let mut again = event(Kind::Tenant, 1, None, "Provisioning");
    again.data.previous_uid = Some(Uid::new("1f2d3c4b-0000-4000-8000-000000000001"));
    let mut late = event(Kind::Backup, 2, Some("Pending"), "Running");
    late.data.time_source = TimeSource::Inferred;
    let sealed = Event::verify(&app.clone().seal().unwrap().body).unwrap();
    vec![
        ("transition-appdeployment", app.seal().unwrap().body),
        ("transition-amended", amended.seal().unwrap().body),
        ("transition-tenant", again.seal().unwrap().body),
        ("transition-backup", late.seal().unwrap().body),
        ("void", Void::of(sealed.clone(), LATER).unwrap().body().unwrap()),
        ("snapshot", Snapshot::of(sealed).unwrap().body().unwrap()),
    ]
}
