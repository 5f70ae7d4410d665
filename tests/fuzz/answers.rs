//! A receiver that answers anything at all. Only a status of 200 to 299 may ever acknowledge.

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};
use secrecy::SecretString;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime, select,
};
use tokio_util::sync::CancellationToken;
use trueup::{
    domain::{EventId, Sequence, SystemClock, Timestamp, Uid},
    ledger::OutboxRow,
    sinks::{self, Batch, Budget, Delivery, Ending, Sink, SinkConfig},
};

use crate::{
    budget::{Checked, fuzz},
    inputs::{any_json, damaged, text},
};

/// One answer, and whether it may acknowledge: `None` if that is not for this test to say.
fn answers() -> impl Strategy<Value = (Vec<u8>, Option<bool>)> {
    let status = prop_oneof![100..600_u16, prop::sample::select(vec![200, 204, 301, 409, 410, 429, 500, 503])];
    let header = prop_oneof![
        Just(String::new()),
        text().prop_map(|value| format!("retry-after: {}\r\n", value.escape_default())),
        any::<u64>().prop_map(|value| format!("retry-after: {value}\r\n")),
        any::<u32>().prop_map(|value| format!("content-length: {value}\r\n")),
        Just("transfer-encoding: chunked\r\n".to_owned()),
        Just("content-encoding: gzip\r\n".to_owned()),
    ];
    let expected = prop_oneof![any::<i64>().prop_map(|n| json!({ "expectedSequence": n })), any_json()];
    let body = prop_oneof![expected.prop_map(|it| it.to_string().into_bytes()), vec(any::<u8>(), 0..300)];
    let whole = (status, header, body).prop_map(|(status, header, body)| {
        let mut answer = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n{header}\r\n").into_bytes();
        answer.extend(body);
        // What begins with an interim answer ends in whatever follows it.
        (answer, (status >= 200).then_some((200..300).contains(&status)))
    });
    let broken =
        damaged(b"HTTP/1.1 500 Said\r\ncontent-length: 2\r\n\r\n{}".to_vec()).prop_map(|answer| (answer, None));
    prop_oneof![4 => whole, 1 => broken, 1 => vec(any::<u8>(), 0..100).prop_map(|answer| (answer, Some(false)))]
}

fn batch() -> Batch {
    let row = OutboxRow {
        sequence: Sequence::FIRST,
        event_id: EventId::new("e-0-1"),
        body: b"{}".to_vec(),
        recorded_at: Timestamp::from_micros(0),
    };
    let clock = Arc::new(SystemClock::default());
    let budget = Budget::new(clock, Duration::from_mins(1), CancellationToken::new());
    Batch { uid: Uid::new("e"), rows: vec![row], budget }
}

/// A sink, and the socket that it sends to.
struct Place {
    listener: TcpListener,
    sink: Arc<dyn Sink>,
}

impl Place {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let config = SinkConfig {
            sink_type: "webhook".into(),
            settings: json!({ "url": format!("http://{}/", listener.local_addr().unwrap()), "timeout": "PT2S" }),
            secrets: BTreeMap::from([("signingKeys".to_owned(), key)]),
        };
        Self { listener, sink: sinks::build(&config, Arc::new(SystemClock::default())).unwrap() }
    }

    /// Delivers one event to a receiver that answers with `answer` and hangs up.
    async fn deliver(&self, answer: &[u8]) -> Delivery {
        let receiver = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
            pending::<()>().await;
        };
        select! {
            delivery = self.sink.deliver(batch()) => delivery,
            () = receiver => unreachable!("it never ends"),
        }
    }
}

#[test]
fn only_a_good_status_acknowledges_and_whatever_else_comes_ends_in_words() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = runtime.block_on(Place::new());
    fuzz("answers", answers(), |(answer, good)| -> Checked {
        let Delivery { through, ending } = runtime.block_on(place.deliver(&answer));
        if let Some(good) = good {
            prop_assert_eq!(ending == Ending::Accepted, good, "{:?}", ending);
        }
        prop_assert_eq!(through.is_some(), ending == Ending::Accepted, "{:?}", ending);
        if let Ending::Rewind { expected, .. } = &ending {
            prop_assert!(*expected >= Sequence::FIRST);
        }
        Ok(())
    });
}
