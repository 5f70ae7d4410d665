//! `/metrics`, `/livez` and `/readyz`.

use std::sync::{Arc, PoisonError, RwLock};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::{
    domain::Clock,
    ledger::{Wait, Waits},
};

/// What Prometheus knows its text format by.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the process waits for, for `/readyz`.
pub struct Health {
    waiting: RwLock<Vec<String>>,
    ledger: Arc<Waits>,
    clock: Arc<dyn Clock>,
}

impl Health {
    /// Waits for nothing but what `ledger` is waited for.
    pub fn new(ledger: Arc<Waits>, clock: Arc<dyn Clock>) -> Self {
        Self { waiting: RwLock::default(), ledger, clock }
    }

    /// Replaces what is being waited for, the ledger apart; nothing means ready.
    pub fn waits_for(&self, what: Vec<String>) {
        *self.waiting.write().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn waiting(&self) -> Vec<String> {
        let mut waiting = self.waiting.read().unwrap_or_else(PoisonError::into_inner).clone();
        waiting.extend(self.for_the_ledger().iter().map(ToString::to_string));
        waiting
    }

    fn for_the_ledger(&self) -> Vec<Wait> {
        self.ledger.all(self.clock.monotonic())
    }
}

#[derive(Clone)]
struct Shared {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// Serves the three pages on `listener` until `stop` is cancelled.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .with_state(Shared { health, metrics });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    let waiting = shared.health.waiting();
    if waiting.is_empty() {
        (StatusCode::OK, "ok\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", waiting.join(", ")))
    }
}

async fn exposition(State(shared): State<Shared>) -> Response {
    shared.metrics.waits_for_the_ledger(&shared.health.for_the_ledger());
    let now = shared.health.clock.now();
    // Whoever asks may have everything counted.
    let rendered = tokio::task::spawn_blocking(move || shared.metrics.render(now)).await;
    let rendered = rendered.map_err(|ended| ended.to_string()).and_then(|text| text.map_err(|error| error.to_string()));
    match rendered {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("rendering the metrics: {error}\n")).into_response(),
    }
}
