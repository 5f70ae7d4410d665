//! What is asked of an API server, step by step, and what it answered: the same of every one that deserves the name.

use http::{Method, Request, header::CONTENT_TYPE};
use kube::{Client, client::Body};
use serde_json::{Value, json};

const TENANTS: &str = "/apis/trueup.dev/v1alpha1/tenants";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A conversation with one server.
struct Script {
    client: Client,
    told: Vec<String>,
}

/// An answer.
struct Said {
    code: u16,
    body: Value,
}

impl Said {
    fn version(&self) -> &Value {
        &self.body["metadata"]["resourceVersion"]
    }
}

/// How a body is meant.
#[derive(Clone, Copy)]
enum Form {
    Whole,
    JsonPatch,
    MergePatch,
    Apply,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Whole => "application/json",
            Self::JsonPatch => "application/json-patch+json",
            Self::MergePatch => "application/merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

impl Script {
    async fn send(&self, method: Method, path: &str, form: Form, body: &Value) -> Said {
        let bytes = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, form.content_type());
        let response = self.client.send(request.body(Body::from(bytes)).unwrap()).await.expect("an answer");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.expect("a whole answer");
        Said { code, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// Asks, and keeps what everybody should be told alike.
    async fn ask(&mut self, what: &str, method: Method, path: &str, form: Form, body: Value) -> Said {
        let said = self.send(method, path, form, &body).await;
        let mut facts = vec![said.code.to_string()];
        let metadata = &said.body["metadata"];
        facts.extend(said.body["reason"].as_str().filter(|_| said.code >= 400).map(str::to_owned));
        facts.extend(metadata["generation"].as_i64().map(|generation| format!("generation {generation}")));
        facts.extend(metadata["finalizers"].as_array().map(|all| format!("finalizers {}", json!(all))));
        facts.extend((!metadata["deletionTimestamp"].is_null()).then(|| "being deleted".to_owned()));
        for part in ["data", "status"] {
            let is_shown = said.code < 400 && said.body[part].as_object().is_some_and(|fields| !fields.is_empty());
            facts.extend(is_shown.then(|| format!("{part} {}", said.body[part])));
        }
        self.told.push(format!("{what}: {}", facts.join(", ")));
        said
    }

    /// Notes whether a write changed anything.
    fn compare(&mut self, before: &Said, after: &Said) {
        let same = before.version() == after.version();
        self.told.push(format!("  {}", if same { "the same version" } else { "another version" }));
    }
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

/// The smallest tenant that the rules allow, with a status that is not the client's to write.
fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "trueup.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": { "plan": "team", "billing": { "account": "ACME-1" }, "namespaces": [{ "name": "prod" }] },
        "status": { "state": "Active" },
    })
}

/// Has the whole conversation.
pub async fn talk(client: Client) -> Vec<String> {
    let mut script = Script { client, told: vec![] };
    versions(&mut script).await;
    applies(&mut script).await;
    statuses(&mut script).await;
    deletions(&mut script).await;
    namespaces(&mut script).await;
    watches(&mut script).await;
    script.told
}

async fn versions(script: &mut Script) {
    let one = format!("{CONFIG_MAPS}/one");
    let first =
        script.ask("making", Method::POST, CONFIG_MAPS, Form::Whole, config_map("one", &json!({ "a": "1" }))).await;
    script.ask("making it again", Method::POST, CONFIG_MAPS, Form::Whole, config_map("one", &json!({}))).await;
    script
        .ask("reading what is not there", Method::GET, &format!("{CONFIG_MAPS}/none"), Form::Whole, Value::Null)
        .await;
    let same = script.ask("replacing it by itself", Method::PUT, &one, Form::Whole, first.body.clone()).await;
    script.compare(&first, &same);
    let patch = json!({ "data": { "b": "2" } });
    let second = script.ask("merging", Method::PATCH, &one, Form::MergePatch, patch.clone()).await;
    script.compare(&first, &second);
    let again = script.ask("merging the same", Method::PATCH, &one, Form::MergePatch, patch).await;
    script.compare(&second, &again);
    script.ask("replacing what it was", Method::PUT, &one, Form::Whole, first.body.clone()).await;
    let stale = json!({ "metadata": { "resourceVersion": first.version() }, "data": { "c": "3" } });
    script.ask("merging into what it was", Method::PATCH, &one, Form::MergePatch, stale).await;
    let test = |uid: &Value| json!([{ "op": "test", "path": "/metadata/uid", "value": uid }, { "op": "remove", "path": "/data/a" }]);
    script.ask("patching another", Method::PATCH, &one, Form::JsonPatch, test(&json!("another"))).await;
    script.ask("patching it", Method::PATCH, &one, Form::JsonPatch, test(&first.body["metadata"]["uid"])).await;
    script
        .ask("deleting another", Method::DELETE, &one, Form::Whole, json!({ "preconditions": { "uid": "another" } }))
        .await;
    script.ask("deleting", Method::DELETE, &one, Form::Whole, Value::Null).await;
    script.ask("deleting it again", Method::DELETE, &one, Form::Whole, Value::Null).await;
}

async fn applies(script: &mut Script) {
    let by = |manager: &str, force: bool| format!("{CONFIG_MAPS}/applied?fieldManager={manager}&force={force}");
    let body = |data: Value| config_map("applied", &data);
    let first =
        script.ask("applying", Method::PATCH, &by("x", false), Form::Apply, body(json!({ "a": "1", "b": "1" }))).await;
    let same = script
        .ask("applying the same", Method::PATCH, &by("x", false), Form::Apply, body(json!({ "a": "1", "b": "1" })))
        .await;
    script.compare(&first, &same);
    script.ask("applying less", Method::PATCH, &by("x", false), Form::Apply, body(json!({ "a": "1" }))).await;
    script.ask("another adds", Method::PATCH, &by("y", false), Form::Apply, body(json!({ "c": "1" }))).await;
    script
        .ask("another contradicts", Method::PATCH, &by("y", false), Form::Apply, body(json!({ "a": "2", "c": "1" })))
        .await;
    script
        .ask("another insists", Method::PATCH, &by("y", true), Form::Apply, body(json!({ "a": "2", "c": "1" })))
        .await;
    script.ask("deleting", Method::DELETE, &format!("{CONFIG_MAPS}/applied"), Form::Whole, Value::Null).await;
}

async fn statuses(script: &mut Script) {
    let (path, status) = (format!("{TENANTS}/talked-about"), format!("{TENANTS}/talked-about/status"));
    let first = script.ask("making a tenant", Method::POST, TENANTS, Form::Whole, tenant("talked-about")).await;
    let shown = json!({ "status": { "state": "Active" } });
    script.ask("showing a status", Method::PATCH, &status, Form::MergePatch, shown).await;
    let both = json!({ "spec": { "plan": "other" }, "status": { "state": "Degraded" } });
    script.ask("changing spec and status", Method::PATCH, &path, Form::MergePatch, both.clone()).await;
    script.ask("the same by way of the status", Method::PATCH, &status, Form::MergePatch, both).await;
    let label = json!({ "metadata": { "labels": { "some": "label" } } });
    let labelled = script.ask("labelling", Method::PATCH, &path, Form::MergePatch, label).await;
    script.compare(&first, &labelled);
}

async fn deletions(script: &mut Script) {
    let path = format!("{TENANTS}/talked-about");
    let finalizers = |all: Value| json!({ "metadata": { "finalizers": all } });
    script
        .ask("holding", Method::PATCH, &path, Form::MergePatch, finalizers(json!(["trueup.dev/a", "trueup.dev/b"])))
        .await;
    let first = script.ask("deleting what is held", Method::DELETE, &path, Form::Whole, Value::Null).await;
    let again = script.ask("deleting it again", Method::DELETE, &path, Form::Whole, Value::Null).await;
    script.compare(&first, &again);
    script.ask("making it again", Method::POST, TENANTS, Form::Whole, tenant("talked-about")).await;
    script.ask("letting go by half", Method::PATCH, &path, Form::MergePatch, finalizers(json!(["trueup.dev/a"]))).await;
    script.ask("letting go", Method::PATCH, &path, Form::MergePatch, finalizers(json!([]))).await;
    script.ask("reading it", Method::GET, &path, Form::Whole, Value::Null).await;
}

async fn namespaces(script: &mut Script) {
    let inside = "/api/v1/namespaces/talked-about/configmaps";
    script.ask("making in no namespace", Method::POST, inside, Form::Whole, config_map("one", &json!({}))).await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "talked-about" } });
    script.ask("making a namespace", Method::POST, "/api/v1/namespaces", Form::Whole, namespace).await;
    script.ask("making in it", Method::POST, inside, Form::Whole, config_map("one", &json!({ "a": "1" }))).await;
    let gone = script.send(Method::DELETE, "/api/v1/namespaces/talked-about", Form::Whole, &Value::Null).await;
    let phase = &gone.body["status"]["phase"];
    script.told.push(format!("deleting the namespace: {}, {phase}", gone.code));
    script.ask("making in what is going", Method::POST, inside, Form::Whole, config_map("two", &json!({}))).await;
}

async fn watches(script: &mut Script) {
    let list = script.send(Method::GET, CONFIG_MAPS, Form::Whole, &Value::Null).await;
    let since = list.version().as_str().unwrap().to_owned();
    let path = format!("{CONFIG_MAPS}/watched");
    let labels = |labels: Value| json!({ "metadata": { "labels": labels } });
    script.ask("making", Method::POST, CONFIG_MAPS, Form::Whole, config_map("watched", &json!({ "a": "1" }))).await;
    script.ask("labelling", Method::PATCH, &path, Form::MergePatch, labels(json!({ "watched": "yes" }))).await;
    script.ask("changing", Method::PATCH, &path, Form::MergePatch, json!({ "data": { "a": "2" } })).await;
    script.ask("labelling anew", Method::PATCH, &path, Form::MergePatch, labels(json!({ "watched": "no" }))).await;
    script.ask("deleting", Method::DELETE, &path, Form::Whole, Value::Null).await;
    for selector in ["", "&labelSelector=watched%3Dyes", "&labelSelector=watched"] {
        let query = format!("{CONFIG_MAPS}?watch=true&resourceVersion={since}&timeoutSeconds=1{selector}");
        let request = Request::get(query).body(Body::empty()).unwrap();
        let response = script.client.send(request).await.expect("an answer");
        let bytes = response.into_body().collect_bytes().await.expect("a watch that ends");
        let events = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>().map(Result::unwrap);
        let of_ours = events.filter(|event| event["object"]["metadata"]["name"] == "watched");
        let told: Vec<_> =
            of_ours.map(|event| format!("{} {}", event["type"].as_str().unwrap(), event["object"]["data"])).collect();
        script.told.push(format!("watching {selector:?}: {}", told.join(", ")));
    }
}
