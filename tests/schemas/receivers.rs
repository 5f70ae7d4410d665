//! Our own receivers against the test vectors, and the vectors against the code that makes them.

use std::{collections::BTreeMap, fs, sync::Arc};

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use trueup::{
    domain::{ManualClock, Timestamp, Uid},
    receiver::{Events, Receiver, ReceiverStore, Resources, answer::Answer, envelope::Received},
    sinks::signature::SigningKeys,
};

use crate::{
    example::Billing,
    files, json, root,
    vectors::{self, Applied, Expected, Sent, Vector},
};

/// Set to write the vectors anew.
const WRITE: &str = "TRUEUP_WRITE_VECTORS";

/// The vectors in the repository, by the names of their files.
pub fn committed() -> BTreeMap<String, Vector> {
    let read = |(name, bytes): (String, Vec<u8>)| (name, serde_json::from_slice(&bytes).unwrap());
    files("tests/vectors").into_iter().map(read).collect()
}

#[test]
fn the_vectors_in_the_repository_are_those_that_are_made() {
    let wanted = |vector: &Vector| serde_json::to_string_pretty(vector).unwrap() + "\n";
    let made = vectors::made();
    if std::env::var_os(WRITE).is_some() {
        for (name, vector) in &made {
            fs::write(root().join(format!("tests/vectors/{name}.json")), wanted(vector)).unwrap();
        }
    }
    let found = files("tests/vectors");
    for (name, vector) in &made {
        let (name, wanted) = (format!("{name}.json"), wanted(vector));
        let known = found.get(&name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(known == Some(wanted), "tests/vectors/{name} differs from what is made; run `make vectors`");
    }
    assert_eq!(found.len(), made.len(), "tests/vectors holds a file that is not made");
}

/// What the JSON in an answer says that a sender acts upon.
pub fn acted_upon(answer: &Value) -> Value {
    let members = ["eventId", "expectedSequence"].into_iter().filter_map(|name| {
        let value = answer.get(name).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    });
    Value::Object(members.collect::<Map<_, _>>())
}

/// What was answered, in the vectors' words.
fn told(status: u16, answer: &Value) -> Expected {
    let verdict = match answer["error"].as_str() {
        Some(error) => error,
        None if answer.get("expectedSequence").is_some() => "missing",
        None if answer["applied"] == 0 => "duplicate",
        None => "applied",
    };
    Expected { verdict: verdict.into(), status, answer: acted_upon(answer) }
}

fn keys(vector: &Vector) -> SigningKeys {
    SigningKeys::parse(&SecretString::from(vector.keys.join("\n"))).unwrap()
}

fn clock(vector: &Vector) -> Timestamp {
    Timestamp::from_micros(vector.now * 1_000_000)
}

#[test]
fn the_example_in_the_documentation_answers_every_vector_rightly() {
    for (name, vector) in committed() {
        let mut billing = Billing::default();
        for Sent { about, headers, body, expect } in &vector.messages {
            let received = Received {
                content_type: &headers["content-type"],
                id: &headers["webhook-id"],
                timestamp: &headers["webhook-timestamp"],
                signatures: &headers["webhook-signature"],
                body: body.as_bytes(),
            };
            let answer: Answer = billing.take(&received, &keys(&vector), clock(&vector));
            let said = told(answer.status(), &serde_json::to_value(&answer).unwrap());
            assert_eq!(said, *expect, "{name}: {about}");
        }
    }
}

/// The reference receiver over HTTP, with the keys and the clock of a vector.
struct Serving {
    url: String,
    client: reqwest::Client,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
    _directory: tempfile::TempDir,
}

impl Serving {
    async fn start(vector: &Vector) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = ReceiverStore::open(&directory.path().join("receiver.db")).await.unwrap();
        let receiver = Receiver::new(store, keys(vector), Arc::new(ManualClock::at(clock(vector))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(receiver.serve(listener, stop.clone()));
        Self { url, client, stop, task, _directory: directory }
    }

    /// Sends a message. Answers the status and the JSON that came.
    async fn send(&self, message: &Sent) -> (u16, Value) {
        let mut request = self.client.post(format!("{}/events", self.url)).body(message.body.clone());
        for (header, value) in &message.headers {
            request = request.header(header, value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, json(&response.bytes().await.unwrap()))
    }

    /// What it has applied.
    async fn applied(&self) -> BTreeMap<Uid, Vec<Applied>> {
        let get = |path: String| self.client.get(format!("{}{path}", self.url)).send();
        let known: Resources = get("/resources".into()).await.unwrap().json().await.unwrap();
        let mut applied = BTreeMap::new();
        for resource in known.resources {
            let events: Events =
                get(format!("/resources/{}/events", resource.uid)).await.unwrap().json().await.unwrap();
            let mut events: Vec<Applied> = events
                .events
                .into_iter()
                .map(|event| Applied {
                    era: event.era.get(),
                    sequence: event.sequence.get(),
                    hash: event.hash,
                    shadow: event.shadow,
                })
                .collect();
            events.sort_by_key(|event| (event.era, event.sequence));
            applied.insert(resource.uid, events);
        }
        applied
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_reference_receiver_answers_every_vector_rightly_and_has_applied_what_it_should() {
    for (name, vector) in committed() {
        let serving = Serving::start(&vector).await;
        for message in &vector.messages {
            let (status, answer) = serving.send(message).await;
            assert_eq!(told(status, &answer), message.expect, "{name}: {}", message.about);
        }
        assert_eq!(serving.applied().await, vector.applied, "{name}");
        serving.stop().await;
    }
}

#[tokio::test]
async fn a_rehearsal_and_the_real_thing_never_share_their_books() {
    let vector = committed().remove("shadow.json").unwrap();
    let [first, second] = &vector.messages[..] else { panic!("two messages are rehearsed") };
    // The header is no part of what is signed.
    let meant = |message: &Sent| {
        let mut message = message.clone();
        assert_eq!(message.headers.remove("trueup-mode").as_deref(), Some("shadow"));
        message
    };
    let cases = [
        (first.clone(), [meant(first), meant(second)], "these books hold a rehearsal"),
        (meant(first), [first.clone(), second.clone()], "these books hold the real thing"),
    ];
    for (begins, others, why) in cases {
        let serving = Serving::start(&vector).await;
        assert_eq!(serving.send(&begins).await.0, 200);
        let before = serving.applied().await;
        // A repeat as well as the next: neither would be charged if it were taken for what it looks like.
        for other in &others {
            let (status, answer) = serving.send(other).await;
            let said = answer["message"].as_str().unwrap();
            assert!((status, said.contains(why)) == (422, true), "{status}: {answer}");
        }
        assert_eq!(serving.applied().await, before);
        serving.stop().await;
    }
}
