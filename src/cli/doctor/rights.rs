//! The rights that the chart grants, read from the files that the chart itself is made of.

use serde::Deserialize;

/// What is granted in the whole cluster.
const CLUSTER: &str = include_str!("../../../charts/trueup/files/cluster-rules.yaml");
/// What is granted in Trueup's own namespace.
const NAMESPACE: &str = include_str!("../../../charts/trueup/files/namespace-rules.yaml");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

/// One thing that somebody may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The API group; empty for the core one.
    pub group: String,
    /// The resource, in the plural.
    pub resource: String,
    /// A part of it, such as `status`.
    pub subresource: Option<String>,
    /// One object, where the rule is of one only.
    pub name: Option<String>,
    /// The verb.
    pub verb: String,
    /// The only namespace; `None` for all.
    pub namespace: Option<String>,
}

impl Granted {
    /// Of what, for people: `deployments.apps`, or `leases.coordination.k8s.io in trueup-system`.
    pub fn what(&self) -> String {
        let mut text = self.resource.clone();
        if let Some(part) = &self.subresource {
            text = format!("{text}/{part}");
        }
        if !self.group.is_empty() {
            text = format!("{text}.{}", self.group);
        }
        if let Some(name) = &self.name {
            text = format!("{text} {name}");
        }
        if let Some(namespace) = &self.namespace {
            text = format!("{text} in {namespace}");
        }
        text
    }
}

/// Everything that the chart grants a controller in `namespace`; or what is wrong with the chart's files.
pub fn granted(namespace: &str) -> Result<Vec<Granted>, String> {
    let read =
        |text: &str| serde_yaml::from_str::<Vec<Rule>>(text).map_err(|error| format!("the chart's rules: {error}"));
    let mut all: Vec<Granted> = read(CLUSTER)?.into_iter().flat_map(|rule| expand(&rule, None)).collect();
    all.extend(read(NAMESPACE)?.into_iter().flat_map(|rule| expand(&rule, Some(namespace))));
    Ok(all)
}

fn expand(rule: &Rule, namespace: Option<&str>) -> Vec<Granted> {
    let names: Vec<Option<String>> = match rule.resource_names.as_slice() {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let mut all = vec![];
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for name in &names {
                for verb in &rule.verbs {
                    let (resource, subresource) = match resource.split_once('/') {
                        Some((resource, part)) => (resource, Some(part.to_owned())),
                        None => (resource.as_str(), None),
                    };
                    all.push(Granted {
                        group: group.clone(),
                        resource: resource.to_owned(),
                        subresource,
                        name: name.clone(),
                        verb: verb.clone(),
                        namespace: namespace.map(str::to_owned),
                    });
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_of_each_rule_of_the_chart_is_asked_about() {
        let all = granted("trueup-system").unwrap();
        let has = |what: &str, verb: &str| all.iter().any(|it| it.what() == what && it.verb == verb);
        assert!(has("deployments.apps", "delete") && has("tenants/status.trueup.dev", "patch"));
        assert!(has("clusterroles.rbac.authorization.k8s.io edit", "bind"));
        assert!(has("leases.coordination.k8s.io in trueup-system", "update"));
        assert!(!has("secrets", "list"), "what is not granted is not asked about");
        let verbs = |text: &str| -> usize {
            let rules: Vec<Rule> = serde_yaml::from_str(text).unwrap();
            rules.iter().map(|it| it.resources.len() * it.resource_names.len().max(1) * it.verbs.len()).sum()
        };
        assert_eq!(all.len(), verbs(CLUSTER) + verbs(NAMESPACE));
    }
}
