//! The pages that list every field of the kinds, for people.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value};

/// A field, as a page lists it.
struct Field {
    path: String,
    required: bool,
    schema: Value,
}

/// The page of one kind in Markdown: what it is, and every field of what people write and read.
pub fn reference(definition: &CustomResourceDefinition) -> String {
    let (spec, names) = (&definition.spec, &definition.spec.names);
    let version = spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let schema = serde_json::to_value(schema).unwrap_or_default();
    let properties = &schema["properties"];
    let mut page =
        format!("# {}\n\n<!-- Printed by `trueup crds --reference FOLDER`; a test compares it. -->\n\n", names.kind);
    let _ = writeln!(page, "{}\n", description(&properties["spec"]));
    let _ = writeln!(
        page,
        "`{}/{}`, {}; `kubectl get {}`, or {} for short.",
        spec.group,
        version.map_or("", |version| version.name.as_str()),
        if spec.scope == "Namespaced" { "in a namespace" } else { "without a namespace" },
        names.plural,
        names.short_names.iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    );
    page.push_str("\n## What you write: `spec`\n\n| field | type | default | |\n|---|---|---|---|\n");
    for Field { path, required, schema } in fields(&properties["spec"]) {
        let required = if required { "**required**" } else { "" };
        let default = schema.get("default").map_or_else(|| required.to_owned(), |value| format!("`{value}`"));
        let _ = writeln!(page, "| `{path}` | {} | {default} | {} |", kind(&schema), description(&schema));
    }
    page.push_str("\n## What you read: `status`\n\n| field | type | |\n|---|---|---|\n");
    // What a condition consists of is Kubernetes' own, and the same everywhere.
    for Field { path, schema, .. } in fields(&properties["status"]).iter().filter(|field| !is_within_conditions(field))
    {
        let _ = writeln!(page, "| `{path}` | {} | {} |", kind(schema), description(schema));
    }
    let rules = rules(&properties["spec"], "spec");
    if !rules.is_empty() {
        page.push_str("\n## What the API server refuses\n\n");
        for (path, rule) in rules {
            let _ = writeln!(page, "- `{path}`: {rule}");
        }
    }
    page
}

fn is_within_conditions(field: &Field) -> bool {
    field.path.starts_with("conditions[].")
}

/// The fields under `schema`, those within others behind them.
fn fields(schema: &Value) -> Vec<Field> {
    let mut found = vec![];
    collect(schema, "", &mut found);
    found
}

fn collect(schema: &Value, prefix: &str, found: &mut Vec<Field>) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let none = Map::new();
    for (name, schema) in schema["properties"].as_object().unwrap_or(&none) {
        let path = format!("{prefix}{name}");
        found.push(Field { path: path.clone(), required: required.contains(&name.as_str()), schema: schema.clone() });
        collect(schema, &format!("{path}."), found);
        collect(&schema["items"], &format!("{path}[]."), found);
        collect(&schema["additionalProperties"], &format!("{path}.*."), found);
    }
}

/// What may stand there, in few words.
fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "number or string".to_owned();
    }
    let plain = schema["type"].as_str().unwrap_or("any");
    let bounds = match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", {least} or more"),
        (None, Some(most)) => format!(", {most} or less"),
        (None, None) => String::new(),
    };
    match plain {
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", kind(&schema["additionalProperties"]))
        }
        plain => format!("{plain}{bounds}"),
    }
}

/// What is said of it, on one line.
fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Every rule that is checked, with the field that it stands at.
fn rules(schema: &Value, path: &str) -> Vec<(String, String)> {
    let here = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut found: Vec<_> =
        here.filter_map(|rule| rule["message"].as_str()).map(|message| (path.to_owned(), message.to_owned())).collect();
    for (name, schema) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        found.extend(rules(schema, &format!("{path}.{name}")));
    }
    for (items, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[items].is_object() {
            found.extend(rules(&schema[items], &format!("{path}{mark}")));
        }
    }
    found
}
