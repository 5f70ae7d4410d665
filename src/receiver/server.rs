//! The receiver's HTTP server: the intake, and what it knows, for people and audits.
//!
//! It never answers 2xx before the event is on the disk.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{
    answer::Answer,
    envelope::{self, Contents, Received},
    store::{ReceiverStore, StoreFault},
    views::{EventView, ResourceView},
};
use crate::{
    domain::{Clock, EventId, Sequence, Uid},
    sinks::{
        signature::{ID, SIGNATURE, SigningKeys, TIMESTAMP},
        webhook::{BATCH_BYTES, MODE, SHADOW},
    },
};

/// What the largest message takes, and as much again. An event is about one kilobyte.
const BODY_LIMIT: usize = 2 * BATCH_BYTES;
const DEFAULT_PAGE: u32 = 1_000;
const LARGEST_PAGE: u32 = 10_000;
/// How long requests that were begun may last once the server is told to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// A receiver: what it remembers, and the keys it believes.
#[derive(Clone)]
pub struct Receiver {
    store: ReceiverStore,
    keys: Arc<SigningKeys>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiver({:?})", self.keys)
    }
}

/// One page of resources.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resources {
    /// In the order of their UID.
    pub resources: Vec<ResourceView>,
    /// What to pass as `after` for the next page; null on the last.
    pub next: Option<Uid>,
}

/// One page of a resource's events.
#[derive(Debug, Serialize, Deserialize)]
pub struct Events {
    /// In their order.
    pub events: Vec<EventView>,
    /// What to pass as `after` for the next page; null on the last.
    pub next: Option<Sequence>,
}

#[derive(Debug, Deserialize)]
struct ResourcePage {
    #[serde(default)]
    after: String,
    limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct EventPage {
    #[serde(default)]
    after: Sequence,
    limit: Option<u32>,
}

impl Receiver {
    /// A receiver that remembers in `store` and believes whoever signs with one of `keys`.
    pub fn new(store: ReceiverStore, keys: SigningKeys, clock: Arc<dyn Clock>) -> Self {
        Self { store, keys: Arc::new(keys), clock }
    }

    /// Its routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", post(intake))
            .route("/events", post(intake))
            .route("/resources", get(resources))
            .route("/resources/{uid}/events", get(events))
            .route("/livez", get(|| async { "ok\n" }))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(self)
    }

    /// Serves on `listener` until `shutdown`, then lets what was begun end and closes its memory.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let stopping = shutdown.clone().cancelled_owned();
        let store = self.store.clone();
        let server = axum::serve(listener, self.router()).with_graceful_shutdown(stopping);
        let served = tokio::select! {
            served = async { server.await } => served,
            // A sender that keeps its connection busy must not hold up the end.
            () = async { shutdown.cancelled().await; tokio::time::sleep(PATIENCE).await } => Ok(()),
        };
        store.close().await;
        served
    }
}

async fn intake(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let received = Received {
        content_type: header(CONTENT_TYPE.as_str()),
        id: header(ID),
        timestamp: header(TIMESTAMP),
        signatures: header(SIGNATURE),
        body: &body,
    };
    let now = receiver.clock.now();
    let Contents { events, broken } = match envelope::open(&received, &receiver.keys, now) {
        Ok(contents) => contents,
        Err(fault) => return answered(received.id, &Answer::refusing(&fault, None)),
    };
    let ids: Vec<EventId> = events.iter().map(|event| event.id.clone()).collect();
    match receiver.store.take(events, header(MODE) == SHADOW, now).await {
        Ok(verdicts) => {
            for (event_id, verdict) in ids.iter().zip(&verdicts) {
                debug!(%event_id, ?verdict, "an event came");
            }
            answered(received.id, &Answer::to(ids.iter().zip(verdicts), broken))
        }
        Err(fault) => unavailable(&fault),
    }
}

/// Writes an answer, and to the log what somebody should know of it.
fn answered(id: &str, answer: &Answer) -> Response {
    match answer {
        Answer::Taken { .. } => {}
        Answer::Missing { event_id, expected_sequence } => {
            debug!(%event_id, %expected_sequence, "events are missing before this one");
        }
        Answer::Refused { status: 422, message, event_id: Some(event_id), .. } => {
            error!(%event_id, %message,
                "AN EVENT CONTRADICTS WHAT WAS APPLIED; compare the sender's ledger with this receiver");
        }
        Answer::Refused { message, event_id, .. } => {
            warn!(id, event_id = event_id.as_ref().map(EventId::as_str), %message, "a message was refused");
        }
    }
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(answer)).into_response()
}

async fn resources(State(receiver): State<Receiver>, Query(page): Query<ResourcePage>) -> Response {
    let limit = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, LARGEST_PAGE);
    match receiver.store.resources(&page.after, limit).await {
        Ok(resources) => {
            let next = resources.last().filter(|_| is_full(resources.len(), limit)).map(|last| last.uid.clone());
            Json(Resources { resources, next }).into_response()
        }
        Err(fault) => unavailable(&fault),
    }
}

async fn events(State(receiver): State<Receiver>, Path(uid): Path<String>, Query(page): Query<EventPage>) -> Response {
    let limit = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, LARGEST_PAGE);
    match receiver.store.events(&Uid::new(uid), page.after, limit).await {
        Ok(events) => {
            let next = events.last().filter(|_| is_full(events.len(), limit)).map(|last| last.sequence);
            Json(Events { events, next }).into_response()
        }
        Err(fault) => unavailable(&fault),
    }
}

fn is_full(count: usize, limit: u32) -> bool {
    u32::try_from(count).is_ok_and(|count| count >= limit)
}

fn unavailable(fault: &StoreFault) -> Response {
    let body = json!({"error": "unavailable", "message": fault.to_string()});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
