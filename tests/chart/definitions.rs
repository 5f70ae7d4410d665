//! The custom resource definitions: the types, `crds/` and the chart say the same.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::helm::{read, try_render};

#[test]
fn the_chart_carries_the_definitions_of_the_repository() {
    for definition in trueup::api::crds() {
        let name = definition.metadata.name.clone().unwrap();
        let committed = read(&format!("crds/{name}.yaml"));
        assert_eq!(
            read(&format!("charts/trueup-crds/files/{name}.yaml")),
            committed,
            "the chart's {name}: run `make crds`"
        );
    }
}

#[test]
fn the_chart_renders_each_definition_unchanged_and_to_be_kept() {
    let rendered = try_render("trueup-crds", &json!({})).unwrap();
    let expected = trueup::api::crds();
    assert_eq!(rendered.len(), expected.len());
    for definition in expected {
        let name = definition.metadata.name.clone().unwrap();
        let found = rendered.iter().find(|object| object["metadata"]["name"] == *name);
        let found = found.unwrap_or_else(|| panic!("the chart renders no {name}"));
        assert_eq!(found["kind"], "CustomResourceDefinition");
        assert_eq!(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{name} stays");
        let mut read: CustomResourceDefinition = serde_json::from_value(found.clone()).unwrap();
        read.metadata.annotations = None;
        read.metadata.labels = None;
        assert_eq!(read.metadata.name, definition.metadata.name);
        // Helm writes numbers in its own way; what they say is compared.
        assert_eq!(plain(&read.spec), plain(&definition.spec), "{name}");
    }
}

/// As JSON in which 1 and 1.0 are the same.
fn plain(value: &impl serde::Serialize) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Number(number) => *value = json!(number.as_f64()),
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(fields) => fields.values_mut().for_each(walk),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(value).unwrap();
    walk(&mut value);
    value
}
