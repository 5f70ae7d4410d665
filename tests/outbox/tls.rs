//! The webhook sink over TLS, with a CA of one's own.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use trueup::{
    domain::{Clock, EventId, Sequence, SystemClock, Uid},
    ledger::OutboxRow,
    sinks::{self, Batch, Budget, Delivery, Ending, Sink, SinkConfig},
};

use crate::{certificates::Vouched, rig::now};

// A server on loopback that says 204 to everybody, and the CA that vouches for it.
async fn server() -> (u16, String) {
    let vouched = Vouched::for_localhost();
    let ca = vouched.ca.clone();
    let acceptor = vouched.acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust us hangs up, which is what one of the tests is about.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut seen = Vec::new();
            while !seen.ends_with(b"the event") && stream.read_buf(&mut seen).await.unwrap() > 0 {}
            stream.write_all(b"HTTP/1.1 204 Good\r\nconnection: close\r\n\r\n").await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (port, ca)
}

fn sink(port: u16, ca: Option<&str>) -> Arc<dyn Sink> {
    let key = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let config = SinkConfig {
        sink_type: "webhook".into(),
        settings: serde_json::json!({"url": format!("https://localhost:{port}/"), "caBundle": ca, "timeout": "5s"}),
        secrets: BTreeMap::from([("signingKeys".to_owned(), key)]),
    };
    sinks::build(&config, Arc::new(SystemClock::default())).unwrap()
}

async fn deliver(sink: &dyn Sink) -> Delivery {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let row = OutboxRow {
        sequence: Sequence::FIRST,
        event_id: EventId::new("u-0-1"),
        body: b"the event".to_vec(),
        recorded_at: now(),
    };
    let until = clock.monotonic() + std::time::Duration::from_secs(5);
    let budget = Budget::new(clock, until, tokio_util::sync::CancellationToken::new());
    sink.deliver(Batch { uid: Uid::new("u"), rows: vec![row], budget }).await
}

#[tokio::test]
async fn a_ca_of_ones_own_vouches_for_the_receiver() {
    let (port, ca) = server().await;
    let delivery = deliver(&*sink(port, Some(&ca))).await;
    assert_eq!(delivery, Delivery { through: Some(Sequence::FIRST), ending: Ending::Accepted });
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_gets_nothing() {
    let (port, _) = server().await;
    let (_, other_ca) = server().await;
    for ca in [None, Some(other_ca.as_str())] {
        let delivery = deliver(&*sink(port, ca)).await;
        let Ending::Unavailable { error, .. } = delivery.ending else { panic!("{delivery:?}") };
        assert!(error.contains("certificate"), "{error}");
    }
}
