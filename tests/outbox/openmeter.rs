//! The sink `openmeter` against a server that is strict about what OpenMeter's API documents.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use secrecy::SecretString;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use trueup::{
    domain::{Event, Uid},
    ledger::LaneState,
    outbox::PERMANENT_REFUSAL,
    sinks::{self, Sink, SinkConfig},
};

use crate::rig::{Ledger, names, provide_cryptography, to, uid};

/// What the server has taken, by resource.
#[derive(Default)]
struct Taken {
    messages: usize,
    bodies: HashMap<Uid, Vec<Vec<u8>>>,
}

type Meter = Arc<Mutex<Taken>>;

async fn ingest(State(meter): State<Meter>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    if headers.get("authorization").is_none_or(|value| value != "Bearer om-key") {
        return (StatusCode::UNAUTHORIZED, "no key");
    }
    if headers.get("content-type").is_none_or(|value| value != "application/cloudevents-batch+json") {
        return (StatusCode::BAD_REQUEST, "not a batch");
    }
    let raw: Vec<&RawValue> = serde_json::from_slice(&body).unwrap();
    let events: Vec<(Event, &str)> =
        raw.iter().map(|event| (serde_json::from_str(event.get()).unwrap(), event.get())).collect();
    assert!(!events.is_empty() && events.len() <= 100, "{} events in one message", events.len());
    let mut meter = meter.lock().unwrap();
    meter.messages += 1;
    for (event, _) in &events {
        let complete = [&event.source, &event.event_type, &event.subject].iter().all(|part| !part.is_empty());
        if event.specversion != "1.0" || !complete || event.data.name == "poison" && event.data.sequence.get() == 2 {
            return (StatusCode::BAD_REQUEST, "validation error");
        }
    }
    for (event, text) in events {
        meter.bodies.entry(event.data.uid).or_default().push(text.as_bytes().to_vec());
    }
    (StatusCode::NO_CONTENT, "")
}

async fn server() -> (SocketAddr, Meter) {
    provide_cryptography();
    let meter = Meter::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/api/v1/events", post(ingest)).with_state(Arc::clone(&meter));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, meter)
}

fn sink(address: SocketAddr, ledger: &Ledger) -> Arc<dyn Sink> {
    let config = SinkConfig {
        sink_type: "openmeter".into(),
        settings: serde_json::json!({ "url": format!("http://{address}") }),
        secrets: BTreeMap::from([("token".to_owned(), SecretString::from("om-key\n"))]),
    };
    sinks::build(&config, Arc::clone(&ledger.clock)).unwrap()
}

#[tokio::test]
async fn events_of_many_resources_share_messages_and_only_the_guilty_one_is_parked() {
    let (ledger, (address, meter)) = (Ledger::new().await, server().await);
    let others = names("app", 150);
    let all = [others.clone(), vec!["poison".to_owned()]].concat();
    ledger.append(&all, 3).await;
    let relay = ledger.relay(61);
    relay.put(to(sink(address, &ledger)));
    ledger.drained_but(&["poison"]).await;

    let lane = ledger.lane("poison").await;
    assert_eq!((lane.state, lane.acked.get()), (LaneState::Parked, 1));
    assert_eq!(lane.park_reason.as_deref(), Some(PERMANENT_REFUSAL));
    let rows = ledger.rows().await;
    let meter = meter.lock().unwrap();
    for name in &others {
        let sent: Vec<&[u8]> = rows[&uid(name)].iter().map(|row| row.body.as_slice()).collect();
        assert_eq!(meter.bodies[&uid(name)], sent, "{name}: each event once, in order, byte for byte");
    }
    assert_eq!(meter.bodies[&uid("poison")].len(), 1);
    assert!(meter.messages < 60, "{} messages for 453 events", meter.messages);
}
