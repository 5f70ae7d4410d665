//! The sink `nats` against a real server.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_nats::{
    ConnectOptions,
    jetstream::{self, consumer::pull, stream::Config},
};
use futures::TryStreamExt as _;
use secrecy::SecretString;
use trueup::{
    domain::{Event, Sequence},
    ledger::LaneState,
    sinks::{self, Batch, Budget, Ending, Sink, SinkConfig},
};

use crate::{
    certificates::Vouched,
    rig::{Ledger, destination, names, provide_cryptography, to, uid, until},
};

const STREAM: &str = "BILLING";
const TOKEN: &str = "hush";

/// A server with JetStream on a free port. Ends when dropped.
struct Server {
    url: String,
    /// Who vouches for it.
    ca: Option<String>,
    process: Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        Self::start_with(None)
    }

    /// One that speaks nothing but TLS.
    fn start_vouched(vouched: &Vouched) -> Self {
        Self::start_with(Some(vouched))
    }

    fn start_with(vouched: Option<&Vouched>) -> Self {
        provide_cryptography();
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/nats/build");
        let built = Command::new(build).output().expect("running hack/nats/build");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let program = String::from_utf8(built.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program.trim());
        if let Some(vouched) = vouched {
            let at = |name: &str, pem: String| {
                let path = folder.path().join(name);
                std::fs::write(&path, pem).unwrap();
                path
            };
            let (certificate, key) =
                (at("certificate.pem", vouched.certificate.pem()), at("key.pem", vouched.key.serialize_pem()));
            command.arg("--tls").arg("--tlscert").arg(certificate).arg("--tlskey").arg(key);
        }
        let process = command
            .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--auth", TOKEN, "--jetstream", "--store_dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting nats-server");
        let url =
            if vouched.is_some() { format!("tls://localhost:{port}") } else { format!("nats://127.0.0.1:{port}") };
        let ca = vouched.map(|vouched| vouched.ca.clone());
        Self { url, ca, process, folder }
    }

    async fn context(&self) -> jetstream::Context {
        let client = until("the NATS server answers", || async {
            let mut options = ConnectOptions::with_token(TOKEN.to_owned());
            if let Some(ca) = &self.ca {
                let path = self.folder.path().join("ca.pem");
                std::fs::write(&path, ca).unwrap();
                options = options.add_root_certificates(path);
            }
            options.connect(&self.url).await.ok()
        })
        .await;
        jetstream::new(client)
    }

    async fn with_stream(&self) -> jetstream::stream::Stream {
        let config = Config { name: STREAM.into(), subjects: vec!["trueup.>".into()], ..Config::default() };
        self.context().await.create_stream(config).await.unwrap()
    }

    fn sink(&self, ledger: &Ledger, token: &str) -> Arc<dyn Sink> {
        self.sink_that_trusts(self.ca.as_deref(), ledger, token)
    }

    fn sink_that_trusts(&self, ca: Option<&str>, ledger: &Ledger, token: &str) -> Arc<dyn Sink> {
        let config = SinkConfig {
            sink_type: "nats".into(),
            settings: serde_json::json!({ "url": self.url, "stream": STREAM, "timeout": "5s", "caBundle": ca }),
            secrets: BTreeMap::from([("credentials".to_owned(), SecretString::from(token))]),
        };
        sinks::build(&config, Arc::clone(&ledger.clock)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// The bodies on the subject of `name`, in the order of the stream.
async fn stored(stream: &jetstream::stream::Stream, name: &str) -> Vec<Vec<u8>> {
    let subject = format!("trueup.test.appdeployment.{}", uid(name));
    let consumer =
        stream.create_consumer(pull::Config { filter_subject: subject, ..pull::Config::default() }).await.unwrap();
    let messages = consumer.fetch().max_messages(1_000).messages().await.unwrap();
    messages.map_ok(|message| message.payload.to_vec()).try_collect().await.unwrap()
}

async fn has_exactly(stream: &jetstream::stream::Stream, ledger: &Ledger, names: &[String]) {
    let rows = ledger.rows().await;
    for name in names {
        let sent: Vec<_> = rows[&uid(name)].iter().map(|row| row.body.clone()).collect();
        assert_eq!(stored(stream, name).await, sent, "{name}: each event once, in order, byte for byte");
    }
}

#[tokio::test]
async fn each_resource_has_a_subject_with_each_event_once_and_in_order() {
    let (ledger, server) = (Ledger::new().await, Server::start());
    let stream = server.with_stream().await;
    let apps = names("app", 20);
    let relay = ledger.relay(71);
    let sink = server.sink(&ledger, TOKEN);
    relay.put(to(Arc::clone(&sink)));
    ledger.append(&apps, 12).await;
    ledger.drained_but(&[]).await;
    has_exactly(&stream, &ledger, &apps).await;
    assert_eq!(sink.dedupe_horizon().await, Ok(None), "the stream keeps everything");
}

#[tokio::test]
async fn what_the_subject_has_is_passed_over_and_what_it_lacks_is_sent_again() {
    let (ledger, server) = (Ledger::new().await, Server::start());
    let stream = server.with_stream().await;
    ledger.append(&["app".to_owned()], 6).await;
    let rows: Vec<_> = ledger.outbox_rows("app").await;
    let sink = server.sink(&ledger, TOKEN);
    let deliver = |from: usize, to: usize| {
        let until = ledger.clock.monotonic() + Duration::from_secs(20);
        let budget = Budget::new(Arc::clone(&ledger.clock), until, tokio_util::sync::CancellationToken::new());
        sink.deliver(Batch { uid: uid("app"), rows: rows[from..to].to_vec(), budget })
    };
    let first = deliver(0, 3).await;
    assert_eq!((first.through, &first.ending), (Some(Sequence::new(3)), &Ending::Accepted));
    // As after an answer that was lost.
    let again = deliver(0, 4).await;
    assert_eq!((again.through, &again.ending), (Some(Sequence::new(4)), &Ending::Accepted));
    let gap = deliver(5, 6).await;
    assert!(matches!(gap.ending, Ending::Rewind { expected, .. } if expected == Sequence::new(5)), "{gap:?}");
    deliver(4, 6).await;
    has_exactly(&stream, &ledger, &["app".to_owned()]).await;
    let last: Event = serde_json::from_slice(stored(&stream, "app").await.last().unwrap()).unwrap();
    assert_eq!(last.data.sequence, Sequence::new(6));
}

#[tokio::test]
async fn two_relays_that_both_send_store_nothing_twice() {
    let (ledger, server) = (Ledger::new().await, Server::start());
    let stream = server.with_stream().await;
    ledger.append(&["app".to_owned()], 20).await;
    let rows: Vec<_> = ledger.outbox_rows("app").await;
    let sinks = [server.sink(&ledger, TOKEN), server.sink(&ledger, TOKEN)];
    let deliver = |sink: Arc<dyn Sink>| {
        let until = ledger.clock.monotonic() + Duration::from_secs(20);
        let budget = Budget::new(Arc::clone(&ledger.clock), until, tokio_util::sync::CancellationToken::new());
        let batch = Batch { uid: uid("app"), rows: rows.clone(), budget };
        async move { sink.deliver(batch).await }
    };
    let [one, other] = sinks;
    let (one, other) = tokio::join!(deliver(one), deliver(other));
    let furthest = one.through.max(other.through);
    assert_eq!(furthest, Some(Sequence::new(20)), "{one:?} {other:?}");
    has_exactly(&stream, &ledger, &["app".to_owned()]).await;
}

#[tokio::test]
async fn a_missing_stream_and_a_wrong_token_hold_the_sink_and_park_nobody() {
    let (ledger, server) = (Ledger::new().await, Server::start());
    server.context().await;
    ledger.append(&names("app", 30), 1).await;
    for (seed, token, expected) in [(72, TOKEN, "create it with subjects trueup.>"), (73, "wrong", "connecting to")] {
        let relay = ledger.relay(seed);
        relay.put(to(server.sink(&ledger, token)));
        let held = until("the sink is held", || async { relay.status(&destination()).await.unwrap().unwrap().held });
        let error = held.await.error;
        assert!(error.contains(expected) && !error.contains(TOKEN), "{error}");
        relay.stop().await;
    }
    let lanes = ledger.store.lanes(None, false, 100).await.unwrap();
    assert!(lanes.iter().all(|lane| lane.state == LaneState::Open));
}

#[tokio::test]
async fn over_tls_only_a_server_that_the_given_ca_vouches_for_gets_anything() {
    let (ledger, vouched) = (Ledger::new().await, Vouched::for_localhost());
    let server = Server::start_vouched(&vouched);
    let stream = server.with_stream().await;
    let apps = names("app", 3);
    ledger.append(&apps, 2).await;
    let other = Vouched::for_localhost();
    for (seed, ca) in [(74, None), (75, Some(other.ca.as_str()))] {
        let relay = ledger.relay(seed);
        relay.put(to(server.sink_that_trusts(ca, &ledger, TOKEN)));
        let held = until("the sink is held", || async { relay.status(&destination()).await.unwrap().unwrap().held });
        let error = held.await.error;
        assert!(error.contains("connecting to") && error.contains("certificate"), "{error}");
        relay.stop().await;
    }
    let relay = ledger.relay(76);
    relay.put(to(server.sink(&ledger, TOKEN)));
    ledger.drained_but(&[]).await;
    has_exactly(&stream, &ledger, &apps).await;
}
