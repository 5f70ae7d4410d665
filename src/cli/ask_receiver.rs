//! Asking the reference receiver what it knows.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;

use super::Failure;
use crate::{
    api::LedgerRef,
    domain::{Sequence, Uid},
    receiver::{EventView, Events, ResourceView, Resources},
    reconcile::Applied,
    sinks::client_config,
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many resources are in one answer.
const PAGE: &str = "1000";

/// A receiver that answers questions.
#[derive(Clone, Debug)]
pub struct AskReceiver {
    client: Client,
    url: Url,
}

/// Why it did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Its address is not one.
    #[error("--receiver cannot be used: {0}; write http://HOST:PORT")]
    Address(String),
    /// It cannot be reached.
    #[error("asking the receiver at {origin} what it knows: {why}; is it running, and can it be reached from here?")]
    Unreachable {
        /// Where it should be.
        origin: String,
        /// What the client said.
        why: String,
    },
    /// Something else answered.
    #[error("asking the receiver at {origin} what it knows: {why}; is this a `trueup receiver`?")]
    Stranger {
        /// Where it is.
        origin: String,
        /// What it answered.
        why: String,
    },
}

impl AskError {
    /// The cause alone, for where it is clear who was asked.
    pub fn why(&self) -> &str {
        match self {
            Self::Address(why) | Self::Unreachable { why, .. } | Self::Stranger { why, .. } => why,
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unreachable { .. } => Self::unreachable(&error),
            AskError::Address(_) | AskError::Stranger { .. } => Self::usage(&error),
        }
    }
}

impl AskReceiver {
    /// The receiver at `url`. Nothing is asked yet.
    pub fn new(url: &str) -> Result<Self, AskError> {
        let url = Url::parse(url).map_err(|error| AskError::Address(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(AskError::Address(format!("it begins with {}:", url.scheme())));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(client_config(None).map_err(AskError::Address)?)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| AskError::Address(error.without_url().to_string()))?;
        Ok(Self { client, url })
    }

    /// Everything that it applied, resource by resource, in the order of their UIDs.
    pub async fn resources(&self) -> Result<Vec<ResourceView>, AskError> {
        let mut found: Vec<ResourceView> = vec![];
        let mut after = String::new();
        loop {
            let mut page = self.page(&after).await?;
            found.append(&mut page.resources);
            match page.next {
                // A page that leads nowhere must not lead us round.
                Some(next) if next.as_str() > after.as_str() => next.as_str().clone_into(&mut after),
                _ => return Ok(found),
            }
        }
    }

    /// Up to `limit` events of a resource that it applied, in their order, behind the sequence `after`.
    pub async fn events(&self, uid: &Uid, after: Sequence, limit: u32) -> Result<Vec<EventView>, AskError> {
        let path = ["resources", uid.as_str(), "events"];
        let events: Events = self.get(&path, &after.to_string(), &limit.to_string()).await?;
        Ok(events.events)
    }

    async fn page(&self, after: &str) -> Result<Resources, AskError> {
        self.get(&["resources"], after, PAGE).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], after: &str, limit: &str) -> Result<T, AskError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.query_pairs_mut().clear().append_pair("after", after).append_pair("limit", limit);
        let origin = || self.url.origin().ascii_serialization();
        let unreachable = |error: reqwest::Error| AskError::Unreachable { origin: origin(), why: innermost(error) };
        let answer = self.client.get(url).send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_server_error() {
            return Err(AskError::Unreachable { origin: origin(), why: format!("it answered {status}") });
        }
        if !status.is_success() {
            return Err(AskError::Stranger { origin: origin(), why: format!("it answered {status}") });
        }
        let body = answer.bytes().await.map_err(unreachable)?;
        serde_json::from_slice(&body).map_err(|error| AskError::Stranger {
            origin: origin(),
            why: format!("it answered something else: {error}"),
        })
    }
}

#[async_trait]
impl Applied for AskReceiver {
    async fn applied(&self) -> Result<Vec<LedgerRef>, String> {
        let resources = self.resources().await.map_err(|error| error.to_string())?;
        let place = |view: ResourceView| LedgerRef {
            uid: view.uid.to_string(),
            era: view.era.get(),
            sequence: view.sequence.get(),
            hash: view.hash.to_string(),
            // The term in which it was recorded is nothing that a receiver is told.
            epoch: 0,
        };
        Ok(resources.into_iter().map(place).collect())
    }
}

/// The cause at the bottom says most, and the address was named already.
fn innermost(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", PATIENCE.as_secs());
    }
    cause(&error.without_url())
}

/// The last link of an error's chain.
pub fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
