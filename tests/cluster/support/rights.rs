//! Rights, one by one: what the chart grants, what requests needed, and what was refused.

use std::{
    collections::BTreeSet,
    fmt,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use serde_json::{Value, json};

use super::{Access, place::SYSTEM};

const RBAC: &str = "rbac.authorization.k8s.io";
/// Whom the tests give the chart's rights.
pub const CONTROLLER: &str = "trueup-controller";

/// A rule of the chart, in one of its two files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rule {
    /// Whether it holds in Trueup's own namespace only.
    pub own_namespace: bool,
    /// As in the file.
    pub content: String,
}

/// One verb on one resource: the smallest thing that can be granted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Right {
    /// Whether it holds in Trueup's own namespace only.
    pub own_namespace: bool,
    /// `get`, `patch` and so on.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// With its subresource, as in `tenants/status`.
    pub resource: String,
    /// The one object, if it is for one only.
    pub name: Option<String>,
}

/// Something that the controller did, as far as rights go.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Request {
    /// `get`, `patch` and so on.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// With its subresource.
    pub resource: String,
    /// Where; nowhere for the whole cluster.
    pub namespace: Option<String>,
    /// Which object, where it names one.
    pub name: Option<String>,
}

impl Rule {
    fn value(&self) -> Value {
        serde_json::from_str(&self.content).expect("a rule")
    }

    /// What it grants.
    pub fn rights(&self) -> Vec<Right> {
        let rule = self.value();
        let list = |field: &str| -> Vec<String> {
            let words = rule[field].as_array().cloned().unwrap_or_default();
            words.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
        };
        let names: Vec<Option<String>> = list("resourceNames").into_iter().map(Some).collect();
        let names = if names.is_empty() { vec![None] } else { names };
        let mut rights = vec![];
        for group in list("apiGroups") {
            for resource in list("resources") {
                for verb in list("verbs") {
                    for name in &names {
                        rights.push(Right {
                            own_namespace: self.own_namespace,
                            verb: verb.clone(),
                            group: group.clone(),
                            resource: resource.clone(),
                            name: name.clone(),
                        });
                    }
                }
            }
        }
        rights
    }
}

impl Right {
    /// Whether it is one that `request` could be carried out by.
    pub fn allows(&self, request: &Request) -> bool {
        self.verb == request.verb
            && self.group == request.group
            && self.resource == request.resource
            && (self.name.is_none() || self.name == request.name)
            && (!self.own_namespace || request.namespace.as_deref() == Some(SYSTEM))
    }

    fn rule(&self) -> Value {
        let mut rule = json!({ "apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb] });
        if let Some(name) = &self.name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    }
}

impl From<&Right> for Request {
    /// One that takes that right.
    fn from(right: &Right) -> Self {
        Self {
            verb: right.verb.clone(),
            group: right.group.clone(),
            resource: right.resource.clone(),
            namespace: right.own_namespace.then(|| SYSTEM.to_owned()),
            name: right.name.clone(),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, " of {}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, ", {name}")?;
        }
        if self.own_namespace { write!(f, " in {SYSTEM}") } else { Ok(()) }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group, resource, namespace, name } = self;
        let (namespace, name) = (namespace.as_deref().unwrap_or("-"), name.as_deref().unwrap_or("-"));
        write!(f, "{verb} {resource} of '{group}', {namespace}/{name}")
    }
}

/// The rules that the chart renders.
pub fn rules_of_the_chart() -> Vec<Rule> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/trueup/files");
    let mut rules = vec![];
    for (file, own_namespace) in [("cluster-rules.yaml", false), ("namespace-rules.yaml", true)] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("reading {file}: {error}"));
        let found: Vec<Value> = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("reading {file}: {error}"));
        rules.extend(found.into_iter().map(|rule| Rule { own_namespace, content: rule.to_string() }));
    }
    rules
}

/// Gives `user` exactly these rules, and takes what it had before.
pub async fn grant(access: &Access, user: &str, rules: &[Rule]) {
    let of = |own: bool| rules.iter().filter(|rule| rule.own_namespace == own).map(Rule::value).collect();
    bind(access, user, of(false), of(true)).await;
}

/// Gives `user` exactly these rights, and takes what it had before.
pub async fn grant_rights(access: &Access, user: &str, rights: &[&Right]) {
    let of = |own: bool| rights.iter().filter(|right| right.own_namespace == own).map(|right| right.rule()).collect();
    bind(access, user, of(false), of(true)).await;
}

async fn bind(access: &Access, user: &str, in_cluster: Vec<Value>, in_own_namespace: Vec<Value>) {
    let subjects = json!([{ "kind": "User", "name": user, "apiGroup": RBAC }]);
    for (scope, rules) in [("Cluster", in_cluster), ("", in_own_namespace)] {
        let mut metadata = json!({ "name": user });
        if scope.is_empty() {
            metadata["namespace"] = json!(SYSTEM);
        }
        let version = format!("{RBAC}/v1");
        let role = format!("{scope}Role");
        access.apply(&json!({ "apiVersion": version, "kind": role, "metadata": metadata, "rules": rules })).await;
        access
            .apply(&json!({
                "apiVersion": version, "kind": format!("{scope}RoleBinding"), "metadata": metadata,
                "roleRef": { "apiGroup": RBAC, "kind": role, "name": user }, "subjects": subjects,
            }))
            .await;
    }
}

/// What the API server says to a user who would like to do that.
pub async fn may(access: &Access, user: &str, request: &Request) -> bool {
    let (resource, subresource) = request.resource.split_once('/').unwrap_or((&request.resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": { "user": user, "resourceAttributes": {
            "verb": request.verb, "group": request.group, "resource": resource, "subresource": subresource,
            "namespace": request.namespace, "name": request.name,
        } },
    });
    access.create(&review).await.data["status"]["allowed"] == true
}

/// What the API server noted of the controller.
#[derive(Default)]
pub struct Noted {
    /// What was carried out, with the rights that the API server asks for on the way: whoever applies what is not there yet
    /// needs `create` besides `patch`, and notes only the latter.
    pub done: BTreeSet<Request>,
    /// What was refused for want of a right, in the API server's words.
    pub refused: BTreeSet<String>,
}

/// Reads the audit log from `offset` on; answers where it ends, too.
pub fn noted(log: &Path, offset: u64) -> (Noted, u64) {
    let mut text = String::new();
    // There is none before the first request.
    if let Ok(mut file) = std::fs::File::open(log) {
        file.seek(SeekFrom::Start(offset)).expect("the place in the audit log");
        file.read_to_string(&mut text).expect("reading the audit log");
    }
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let mut noted = Noted::default();
    for line in text[..whole].lines() {
        let entry: Value = serde_json::from_str(line).expect("a line of JSON");
        if entry["user"]["username"] == CONTROLLER {
            note(&mut noted, &entry);
        }
    }
    (noted, offset + whole as u64)
}

fn note(noted: &mut Noted, entry: &Value) {
    let said = entry["responseStatus"]["message"].as_str().unwrap_or_default();
    // Other things are forbidden, too: by quotas, by Pod Security.
    if said.contains(" cannot ") || said.contains("attempting to grant") {
        noted.refused.insert(said.to_owned());
        return;
    }
    let object = &entry["objectRef"];
    let word = |field: &str| object[field].as_str().map(str::to_owned);
    let Some(mut resource) = word("resource") else { return };
    if let Some(subresource) = word("subresource") {
        resource = format!("{resource}/{subresource}");
    }
    let request = Request {
        verb: entry["verb"].as_str().expect("a verb").to_owned(),
        group: word("apiGroup").unwrap_or_default(),
        resource,
        namespace: word("namespace"),
        name: word("name"),
    };
    if request.verb == "patch" && entry["responseStatus"]["code"] == 201 {
        noted.done.insert(Request { verb: "create".into(), ..request.clone() });
    }
    noted.done.insert(request);
}
