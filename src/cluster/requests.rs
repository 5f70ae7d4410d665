//! Counts the requests to the API server.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use prometheus::{HistogramVec, IntCounterVec};
use tower::{Layer, Service};

use crate::{
    domain::Clock,
    figures::{self, Registry},
};

/// What is counted of requests to the API server.
#[derive(Clone)]
pub struct RequestMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    clock: Arc<dyn Clock>,
}

impl RequestMetrics {
    /// Collectors that `registry` knows.
    pub fn new(registry: &Registry, clock: Arc<dyn Clock>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: registry.counters(&figures::REQUESTS)?,
            seconds: registry.histograms(&figures::REQUEST_SECONDS)?,
            clock,
        })
    }

    fn begin(&self, verb: &'static str) -> UnderWay {
        UnderWay { metrics: self.clone(), verb, begun: self.clock.monotonic(), code: None }
    }
}

impl<S> Layer<S> for RequestMetrics {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.clone() }
    }
}

/// A client whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    metrics: RequestMetrics,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let under_way = self.metrics.begin(verb(request.method(), request.uri()));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            under_way.ends(match &answer {
                Ok(answer) => answer.status().as_str().to_owned(),
                Err(_) => "error".to_owned(),
            });
            answer
        })
    }
}

/// Counted when it ends, however it does: one that nobody waits for any more is dropped.
struct UnderWay {
    metrics: RequestMetrics,
    verb: &'static str,
    begun: Duration,
    code: Option<String>,
}

impl UnderWay {
    fn ends(mut self, code: String) {
        self.code = Some(code);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let took = self.metrics.clock.monotonic().saturating_sub(self.begun);
        self.metrics.requests.with_label_values(&[self.verb, self.code.as_deref().unwrap_or("abandoned")]).inc();
        self.metrics.seconds.with_label_values(&[self.verb]).observe(took.as_secs_f64());
    }
}

/// What Kubernetes' rights call it.
fn verb(method: &Method, uri: &Uri) -> &'static str {
    let watches =
        uri.query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
    match *method {
        Method::GET if watches => "watch",
        Method::GET if names_all(uri.path()) => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if names_all(uri.path()) => "deletecollection",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Whether a path is that of a resource, not of one object of it.
fn names_all(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (["api", _, resource @ ..] | ["apis", _, _, resource @ ..]) = parts.as_slice() else { return false };
    match resource {
        ["namespaces", _, within @ ..] if !within.is_empty() => within.len() == 1,
        rest => rest.len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ManualClock, Timestamp};

    fn of(method: Method, path: &str) -> &'static str {
        verb(&method, &path.parse().unwrap())
    }

    #[test]
    fn requests_are_called_what_rights_call_them() {
        assert_eq!(of(Method::GET, "/apis/trueup.dev/v1alpha1/tenants"), "list");
        assert_eq!(of(Method::GET, "/apis/trueup.dev/v1alpha1/tenants?limit=500&watch=true"), "watch");
        assert_eq!(of(Method::GET, "/apis/trueup.dev/v1alpha1/tenants/acme"), "get");
        assert_eq!(of(Method::GET, "/api/v1/namespaces"), "list");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/acme-prod"), "get");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/acme-prod/secrets"), "list");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/acme-prod/pods/web/log?tailLines=9"), "get");
        assert_eq!(of(Method::GET, "/version"), "get");
        assert_eq!(of(Method::PATCH, "/apis/apps/v1/namespaces/acme-prod/deployments/web"), "patch");
        assert_eq!(of(Method::DELETE, "/apis/apps/v1/namespaces/acme-prod/deployments/web"), "delete");
        assert_eq!(of(Method::DELETE, "/apis/apps/v1/namespaces/acme-prod/deployments"), "deletecollection");
    }

    #[tokio::test]
    async fn each_request_is_counted_once_by_what_came_back_or_that_nobody_waited() {
        let (registry, clock) = (Registry::new(), Arc::new(ManualClock::at(Timestamp::from_micros(0))));
        let metrics = RequestMetrics::new(&registry, clock).unwrap();
        let answering = tower::service_fn(|request: Request<()>| async move {
            match request.uri().path() {
                "/version" => Response::builder().status(200).body(()).map_err(|_| "unreachable"),
                "/api/v1/namespaces" => Response::builder().status(503).body(()).map_err(|_| "unreachable"),
                "/api/v1/pods" => std::future::pending().await,
                _ => Err("no connection"),
            }
        });
        let mut client = metrics.layer(answering);
        let mut ask = |path: &str| client.call(Request::builder().uri(path).body(()).unwrap());
        assert!(ask("/version").await.is_ok());
        assert!(ask("/api/v1/namespaces").await.is_ok());
        assert!(ask("/healthz").await.is_err());
        drop(ask("/api/v1/pods"));
        let text = registry.render().unwrap();
        for (verb, code) in [("get", "200"), ("list", "503"), ("get", "error"), ("list", "abandoned")] {
            let line = format!("trueup_kubernetes_requests_total{{code=\"{code}\",verb=\"{verb}\"}} 1");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
