//! `values.schema.json` is where each value's meaning and default are written down; `values.yaml` and the README's table are made of it.

use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

use crate::helm::{helm, read, root};

/// Set to write them anew.
const WRITE: &str = "TRUEUP_WRITE_CHART";
const SCHEMA: &str = "charts/trueup/values.schema.json";
const BEGIN: &str = "<!-- Made of values.schema.json by `make chart`. -->\n";
const END: &str = "<!-- The end of what is made. -->\n";
/// How wide comments get.
const WIDTH: usize = 120;

#[test]
fn values_yaml_is_what_the_schema_says() {
    let head = "# Made of values.schema.json by `make chart`: change it there.\n";
    let made = format!("{head}{}", yaml(&schema(), 0));
    assert_eq!(
        serde_yaml::from_str::<Value>(&made).unwrap(),
        defaults(&schema()),
        "what is made reads as the defaults"
    );
    same("charts/trueup/values.yaml", &made);
}

#[test]
fn the_readme_lists_every_value() {
    let path = "charts/trueup/README.md";
    let text = read(path);
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (_, after) = rest.split_once(END).expect("where the table ends");
    let mut table = "\n| value | default | what it is |\n|---|---|---|\n".to_owned();
    rows(&schema(), "", &mut table);
    same(path, &format!("{before}{BEGIN}{table}\n{END}{after}"));
}

#[test]
fn every_value_is_described_and_nothing_else_is_taken() {
    fn check(schema: &Value, path: &str) {
        let Some(properties) = properties(schema) else {
            assert!(schema.get("description").is_some(), "{path} says what it is");
            assert!(schema.get("default").is_some(), "{path} has a default");
            return;
        };
        assert_eq!(schema.get("additionalProperties"), Some(&Value::Bool(false)), "'{path}' takes nothing unknown");
        for (name, inner) in properties {
            check(inner, &format!("{path}.{}", name.as_str().unwrap()));
        }
    }
    check(&schema(), "");
}

#[test]
fn the_chart_reads_every_value_and_no_other() {
    let mut templates = String::new();
    for entry in ["", "tests/"] {
        for file in std::fs::read_dir(root().join("charts/trueup/templates").join(entry)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                templates.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut paths = vec![];
    leaves(&schema(), "", &mut paths);
    for path in paths.iter().filter(|path| *path != "global") {
        // By its whole path, or by its last name below a `with` of what it is in.
        let (group, name) = path.rsplit_once('.').unwrap_or(("", path));
        let whole = templates.contains(&format!(".Values.{path}"));
        let within = templates.contains(&format!("with .Values.{group} ")) && templates.contains(&format!(" .{name} "));
        assert!(whole || within, "no template reads the value {path}");
    }
    for read in templates.split(".Values.").skip(1) {
        let end = read.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(read.len());
        let path = read[..end].trim_end_matches('.');
        let known = paths.iter().any(|known| known == path || known.starts_with(&format!("{path}.")));
        assert!(known, "a template reads .Values.{path}, of which the schema says nothing");
    }
}

#[test]
fn helm_has_nothing_against_the_charts() {
    for chart in ["charts/trueup", "charts/trueup-crds"] {
        let output = helm(&["lint", "--strict", chart]);
        assert!(output.status.success(), "helm lint {chart}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// In the order in which it is written, which a JSON map would not keep.
fn schema() -> Value {
    serde_yaml::from_str(&read(SCHEMA)).expect(SCHEMA)
}

fn properties(schema: &Value) -> Option<&Mapping> {
    schema.get("properties").and_then(Value::as_mapping)
}

fn text<'a>(schema: &'a Value, field: &str) -> Option<&'a str> {
    schema.get(field).and_then(Value::as_str)
}

fn defaults(schema: &Value) -> Value {
    match properties(schema) {
        Some(fields) => fields.iter().map(|(name, inner)| (name.clone(), defaults(inner))).collect::<Mapping>().into(),
        None => schema.get("default").cloned().unwrap_or_default(),
    }
}

fn leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
    match properties(schema) {
        Some(fields) => {
            for (name, inner) in fields {
                let name = name.as_str().unwrap();
                leaves(inner, &if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, found);
            }
        }
        None => found.push(path.to_owned()),
    }
}

/// The fields of a schema with their defaults, each below its description.
fn yaml(schema: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut out = String::new();
    for (name, inner) in properties(schema).unwrap() {
        let name = name.as_str().unwrap();
        if depth == 0 {
            out.push('\n');
        }
        if let Some(description) = text(inner, "description") {
            comment(&mut out, &indent, description);
        }
        if properties(inner).is_some() {
            let _ = write!(out, "{indent}{name}:\n{}", yaml(inner, depth + 1));
            continue;
        }
        let default = inner.get("default").unwrap_or_else(|| panic!("{name} has no default"));
        let written = serde_yaml::to_string(default).unwrap();
        let block = default.as_mapping().is_some_and(|fields| !fields.is_empty())
            || default.as_sequence().is_some_and(|items| !items.is_empty());
        if block {
            let _ = writeln!(out, "{indent}{name}:");
            for line in written.lines() {
                let _ = writeln!(out, "{indent}  {line}");
            }
        } else if default == "" {
            let _ = writeln!(out, "{indent}{name}: \"\"");
        } else {
            let _ = write!(out, "{indent}{name}: {written}");
        }
    }
    out
}

fn comment(out: &mut String, indent: &str, text: &str) {
    let mut line = format!("{indent}#");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

fn rows(schema: &Value, path: &str, out: &mut String) {
    for (name, inner) in properties(schema).unwrap() {
        let name = name.as_str().unwrap();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if properties(inner).is_some() {
            rows(inner, &path, out);
            continue;
        }
        let default = serde_json::to_string(inner.get("default").unwrap()).unwrap();
        let mut what = text(inner, "description").unwrap_or_default().replace('|', "\\|");
        if let Some(choices) = inner.get("enum").and_then(Value::as_sequence) {
            let choices: Vec<String> = choices.iter().map(|it| format!("`{}`", it.as_str().unwrap())).collect();
            let _ = write!(what, " One of {}.", choices.join(", "));
        }
        let _ = writeln!(out, "| `{path}` | `{default}` | {what} |");
    }
}

fn same(path: &str, made: &str) {
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(root().join(path), made).unwrap_or_else(|error| panic!("writing {path}: {error}"));
    }
    assert!(read(path) == made, "{path} is not what {SCHEMA} says: run `make chart`");
}
