//! What is asked.

use std::collections::BTreeMap;

use http::{Method, Request, header::CONTENT_TYPE};
use kube::client::Body;
use serde_json::Value;

use super::answer::Refusal;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Replace,
    JsonPatch,
    MergePatch,
    Apply,
    Delete,
}

impl Verb {
    fn of(request: &Request<Body>, target: &Target) -> Result<Self, Refusal> {
        let content = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let watches = || request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
        Ok(match (request.method(), content) {
            (&Method::GET, _) if !target.name.is_empty() => Self::Get,
            (&Method::GET, _) if watches() => Self::Watch,
            (&Method::GET, _) => Self::List,
            (&Method::POST, _) => Self::Create,
            (&Method::PUT, _) => Self::Replace,
            (&Method::DELETE, _) => Self::Delete,
            (&Method::PATCH, "application/json-patch+json") => Self::JsonPatch,
            (&Method::PATCH, "application/merge-patch+json") => Self::MergePatch,
            (&Method::PATCH, "application/apply-patch+yaml") => Self::Apply,
            (method, content) => return Err(Refusal::bad(format!("{method} of {content:?} is not known here"))),
        })
    }
}

/// What a request asks for, in words.
pub fn describe(request: &Request<Body>) -> (Verb, String) {
    let target = Target::read(request.uri().path()).unwrap_or_default();
    let verb = Verb::of(request, &target).unwrap_or(Verb::Get);
    let mut words = vec![format!("{verb:?}"), target.plural.clone()];
    let name = target.namespace.iter().chain((!target.name.is_empty()).then_some(&target.name));
    words.extend(Some(name.cloned().collect::<Vec<_>>().join("/")).filter(|name| !name.is_empty()));
    words.extend(target.subresource);
    (verb, words.join(" "))
}

/// To what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Target {
    pub group: String,
    pub plural: String,
    pub namespace: Option<String>,
    /// Empty for all of them.
    pub name: String,
    pub subresource: Option<String>,
}

impl Target {
    pub fn namespace(name: &str) -> Self {
        Self { plural: "namespaces".into(), name: name.into(), ..Self::default() }
    }

    pub fn is_namespace(&self) -> bool {
        self.group.is_empty() && self.plural == "namespaces"
    }

    pub fn is_status(&self) -> bool {
        self.subresource.as_deref() == Some("status")
    }

    /// As errors call it.
    pub fn what(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The path of a resource: `/api/v1/...` or `/apis/GROUP/VERSION/...`.
    fn read(path: &str) -> Option<Self> {
        let mut parts = path.trim_start_matches('/').split('/');
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        let _version = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            // Subresources of namespaces themselves look like resources in them.
            ["namespaces", _, "status" | "finalize"] => (None, rest.as_slice()),
            ["namespaces", namespace, below @ ..] if !below.is_empty() => (Some((*namespace).to_owned()), below),
            _ => (None, rest.as_slice()),
        };
        let at = |place: usize| rest.get(place).map(|part| (*part).to_owned());
        Some(Self { group, plural: at(0)?, namespace, name: at(1).unwrap_or_default(), subresource: at(2) })
    }
}

/// A request, understood.
#[derive(Clone, Debug)]
pub struct Asked {
    pub verb: Verb,
    pub target: Target,
    pub query: BTreeMap<String, String>,
    /// Null if there is none.
    pub body: Value,
}

impl Asked {
    pub async fn read(request: Request<Body>) -> Result<Self, Refusal> {
        let path = request.uri().path();
        let target = Target::read(path).ok_or_else(|| Refusal::not_found("the path", path))?;
        let query: BTreeMap<String, String> =
            form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
        let verb = Verb::of(&request, &target)?;
        let bytes = request.into_body().collect_bytes().await.map_err(|why| Refusal::bad(why.to_string()))?;
        let body = match bytes.as_ref() {
            [] => Value::Null,
            // What is applied may be YAML, and JSON is faster.
            bytes => serde_json::from_slice(bytes)
                .or_else(|_| serde_yaml::from_slice(bytes))
                .map_err(|why| Refusal::bad(why.to_string()))?,
        };
        Ok(Self { verb, target, query, body })
    }
}
