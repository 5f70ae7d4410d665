//! The reference receiver, as its users run it: a process of its own.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use secrecy::SecretString;
use trueup::{
    domain::{Clock, Timestamp},
    receiver::Events,
    sinks::{self, Sink, SinkConfig},
};

use crate::place::Lab;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: u32 = 2_000;

/// A running receiver that nothing was sent to yet.
pub struct Receiver {
    address: SocketAddr,
    process: Child,
    client: reqwest::Client,
}

impl Receiver {
    pub async fn start(lab: &Lab) -> Self {
        // Free now, and nobody on this machine is after it in particular.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_trueup"))
            .args(["receiver", "--listen", &address.to_string(), "--database"])
            .arg(format!("sqlite:{}", lab.file("receiver").display()))
            .env("TRUEUP_RECEIVER_SECRET", KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting trueup receiver");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let receiver = Self { address, process, client };
        for _ in 0..PATIENCE {
            if receiver.client.get(format!("http://{address}/resources")).send().await.is_ok() {
                return receiver;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("trueup receiver does not answer on {address}");
    }

    /// The sink that sends to it.
    pub fn sink(&self, clock: &Arc<dyn Clock>) -> Arc<dyn Sink> {
        let config = SinkConfig {
            sink_type: "webhook".into(),
            settings: serde_json::json!({ "url": format!("http://{}/events", self.address) }),
            secrets: BTreeMap::from([("signingKeys".to_owned(), SecretString::from(KEY))]),
        };
        sinks::build(&config, Arc::clone(clock)).unwrap()
    }

    /// For each event of `uid` that it has, when the ledger recorded it and when it was applied.
    pub async fn applied(&self, uid: &str) -> Vec<(Timestamp, Timestamp)> {
        let url = format!("http://{}/resources/{uid}/events", self.address);
        let page: Events = self.client.get(url).send().await.unwrap().json().await.unwrap();
        let recorded = |body: &str| trueup::domain::Event::verify(body.as_bytes()).unwrap().recordedtime;
        page.events.iter().map(|event| (recorded(&event.body), event.applied_at)).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
