//! An object that is deleted in the very moment in which Trueup puts its finalizer on.
//!
//! The API server looks for finalizers when a deletion begins, and no more. An admission webhook that is slow to answer keeps
//! one open for as long as the test wants.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Json, Router, extract::State, routing::post, serve::Listener};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    certificates::Vouched,
    support::*,
    sweep::{closed_as_inferred, sweeping},
};

/// Keeps every deletion of a tenant until it is opened.
struct Gate {
    is_asked: watch::Sender<bool>,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// Puts it up in the cluster.
    async fn install(visit: &Visit) -> Arc<Self> {
        let gate = Arc::new(Self { is_asked: watch::channel(false).0, is_open: watch::channel(false).0 });
        let vouched = Vouched::for_localhost();
        let ca = vouched.ca.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let listener = Encrypted { listener, acceptor: vouched.acceptor() };
        let router = Router::new().route("/", post(admit)).with_state(gate.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        visit
            .create(&json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": { "name": "slow" },
                "webhooks": [{
                    "name": "slow.example.com",
                    "clientConfig": { "url": url, "caBundle": STANDARD.encode(ca) },
                    "rules": [{
                        "apiGroups": ["trueup.dev"], "apiVersions": ["v1alpha1"],
                        "resources": ["tenants"], "operations": ["DELETE"],
                    }],
                    "failurePolicy": "Fail",
                    "timeoutSeconds": 30,
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                }],
            }))
            .await;
        gate
    }
}

/// Admits what is asked, once the gate is open.
async fn admit(State(gate): State<Arc<Gate>>, Json(review): Json<Value>) -> Json<Value> {
    gate.is_asked.send_replace(true);
    let mut is_open = gate.is_open.subscribe();
    let allowed = is_open.wait_for(|open| *open).await.is_ok();
    Json(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": { "uid": review["request"]["uid"], "allowed": allowed },
    }))
}

/// A listener whose connections are encrypted.
struct Encrypted {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.listener.accept().await.unwrap();
            // Whoever hangs up in the middle of it comes again.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[tokio::test]
async fn a_finalizer_that_comes_after_a_deletion_began_leaves_no_stream_open() {
    let place = Arc::new(Place::new("slow-deletion", Database::Sqlite).await);
    let visit = Visit::to(&place).await;
    let gate = Gate::install(&visit).await;
    // A webhook is heeded a little after it was made.
    visit.create(&tenant("probe", &json!({}))).await;
    eventually(PATIENCE, "the webhook is asked", || async {
        let (tenants, tried) = (visit.api("Tenant", None), DeleteParams { dry_run: true, ..DeleteParams::default() });
        let mut is_asked = gate.is_asked.subscribe();
        let asked = tokio::select! {
            _ = tenants.delete("probe", &tried) => false,
            asked = is_asked.wait_for(|asked| *asked) => asked.is_ok(),
        };
        asked.then_some(()).ok_or_else(|| "it was not".to_owned())
    })
    .await;
    gate.is_asked.send_replace(false);

    let doomed = uid(&visit.create(&tenant("doomed", &json!({}))).await);
    let tenants = visit.api("Tenant", None);
    let deletion = tokio::spawn(async move { tenants.delete("doomed", &DeleteParams::default()).await });
    gate.is_asked.subscribe().wait_for(|asked| *asked).await.unwrap();

    // It has seen no finalizer. Now there is one, and a stream.
    let _controller = place.controller("controller", &sweeping(&[]));
    visit.leads("controller").await;
    visit
        .until("Tenant", None, "doomed", "carries the finalizer", |object| {
            object.metadata.finalizers.as_ref().is_some_and(|found| !found.is_empty())
        })
        .await;
    eventually(PATIENCE, "its stream is open", || async {
        let head = visit.ledger.head(&doomed).await.map_err(|error| error.to_string())?;
        head.filter(|head| head.closed_at.is_none()).map(drop).ok_or_else(|| "it has none".to_owned())
    })
    .await;

    gate.is_open.send_replace(true);
    deletion.await.unwrap().unwrap();
    visit.gone("Tenant", None, "doomed").await;
    closed_as_inferred(&visit, &doomed).await;
    visit.delete("Tenant", None, "probe").await;
    visit.gone("Tenant", None, "probe").await;
    reckon(&visit, None).await;
    audited(&visit);
}
