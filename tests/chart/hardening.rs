//! Every pod of the chart is one that the PodSecurity standard "restricted" lets in, with nothing to write to but its volumes.

use serde_json::{Value, json};

use crate::helm::{all, render};

fn pods(objects: &[Value]) -> Vec<&Value> {
    let templates = objects.iter().filter_map(|object| match object["kind"].as_str() {
        Some("Deployment" | "StatefulSet" | "Job") => Some(&object["spec"]["template"]["spec"]),
        Some("Pod") => Some(&object["spec"]),
        _ => None,
    });
    templates.collect()
}

#[test]
fn every_pod_is_restricted_and_cannot_write_to_its_root() {
    for values in [json!({}), json!({ "replicas": 3, "ledger": { "postgres": { "secretName": "db" } } })] {
        let objects = render(&values);
        let pods = pods(&objects);
        assert_eq!(pods.len(), 2, "the controller and the test");
        for pod in pods {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["runAsUser"], 65532);
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[field].is_null(), "{field} is not asked for");
            }
            for volume in pod["volumes"].as_array().into_iter().flatten() {
                let kinds: Vec<&String> = volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
                assert!(
                    kinds.iter().all(|kind| ["emptyDir", "persistentVolumeClaim"].contains(&kind.as_str())),
                    "{volume}"
                );
            }
            for container in pod["containers"].as_array().unwrap() {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false);
                assert_eq!(security["readOnlyRootFilesystem"], true);
                assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
                assert!(security["capabilities"]["add"].is_null());
                assert!(!container["resources"]["limits"]["memory"].is_null(), "what it uses has an end");
            }
        }
    }
}

#[test]
fn the_rights_are_the_files_that_the_tests_bind() {
    let objects = render(&json!({ "rbac": { "aggregate": false } }));
    for (kind, file) in [("ClusterRole", "cluster"), ("Role", "namespace")] {
        let expected: Value =
            serde_yaml::from_str(&crate::helm::read(&format!("charts/trueup/files/{file}-rules.yaml"))).unwrap();
        let found = all(&objects, kind);
        assert_eq!(found.len(), 1, "the controller has one {kind}");
        assert_eq!(found[0]["rules"], expected);
    }
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        let found = all(&objects, kind);
        assert_eq!(found.len(), 1, "the controller has one {kind}");
        let subject = json!([{ "kind": "ServiceAccount", "name": "trueup", "namespace": "trueup-system" }]);
        assert_eq!(found[0]["subjects"], subject);
    }
}

#[test]
fn the_page_about_rights_has_each_of_them() {
    let page = crate::helm::read("docs/rights.md");
    for object in render(&json!({ "rbac": { "aggregate": false } })) {
        for rule in object["rules"].as_array().into_iter().flatten() {
            for resource in rule["resources"].as_array().unwrap() {
                let resource = resource.as_str().unwrap();
                let word = resource.split_once('/').map_or(resource, |(_, below)| below);
                assert!(page.contains(word), "docs/rights.md says nothing of {resource}");
            }
            for name in rule["resourceNames"].as_array().into_iter().flatten() {
                assert!(page.contains(name.as_str().unwrap()), "docs/rights.md says nothing of {name}");
            }
        }
    }
}

#[test]
fn no_right_is_given_by_a_star() {
    for object in render(&json!({})) {
        for rule in object["rules"].as_array().into_iter().flatten() {
            assert!(!rule.to_string().contains('*'), "{} gives more than it says: {rule}", object["metadata"]["name"]);
        }
    }
}
