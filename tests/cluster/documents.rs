//! The manifests in the documents and in examples/ are taken by the API server, with every field that they have.

use std::{fs, path::Path};

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::*;

const PLACE: &str = "documents";

/// Every manifest between fences in the pages of docs/ and its folders, and in examples/; each with where it stands.
fn manifests() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![];
    for folder in ["docs", "docs/runbooks", "examples"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of documents") {
            let path = entry.expect("a file in it").path();
            let place = path.strip_prefix(root).expect("it is there").display().to_string();
            let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_owned();
            let text = if path.is_file() { fs::read_to_string(&path).expect("reading it") } else { continue };
            let yaml: Vec<&str> = match extension.as_str() {
                "yaml" => vec![&text],
                "md" => text.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect(),
                _ => vec![],
            };
            for document in yaml.iter().flat_map(|yaml| serde_yaml::Deserializer::from_str(yaml)) {
                let value: Value =
                    serde::Deserialize::deserialize(document).unwrap_or_else(|error| panic!("{place}: {error}"));
                if value["apiVersion"].is_string() {
                    found.push((place.clone(), value));
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn manifests_in_the_documents_are_taken_as_they_stand() {
    let visit = Visit::shared().await;
    let manifests = manifests();
    assert!(manifests.len() > 12, "only {} were found", manifests.len());
    // All in one namespace: nothing is made, and theirs are the business of other tests.
    visit.apply(&namespace(PLACE)).await;
    let strict = PatchParams { dry_run: true, field_manager: Some("reader".into()), ..PatchParams::default() }
        .validation_strict();
    for (place, manifest) in manifests {
        let name = format!("{PLACE}-{}", manifest["metadata"]["name"].as_str().expect("a name"));
        let namespaced = manifest["metadata"]["namespace"].is_string().then_some(PLACE);
        let manifest = merged(manifest, &json!({ "metadata": { "name": name, "namespace": namespaced } }));
        let api: Api<_> = visit.api(manifest["kind"].as_str().expect("a kind"), namespaced);
        let taken = api.patch(&name, &strict, &Patch::Apply(&manifest)).await;
        assert!(taken.is_ok(), "{place}: {} {name}: {}", manifest["kind"], taken.unwrap_err());
    }
}
