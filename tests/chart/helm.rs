//! The real helm, on the charts of this repository.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use serde::Deserialize as _;
use serde_json::Value;

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a file of this repository says.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

/// Runs helm; built from its Go module the first time.
pub fn helm(args: &[&str]) -> Output {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let built = Command::new(root().join("hack/cluster/build")).arg("helm").output().expect("hack/cluster/build");
        assert!(built.status.success(), "building helm: {}", String::from_utf8_lossy(&built.stderr));
        let folder = String::from_utf8(built.stdout).expect("a path");
        Path::new(folder.lines().last().expect("the folder with helm in it")).join("helm")
    });
    // Nothing of the user's own settings, and no cluster.
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home.path()).current_dir(root()).args(args);
    command.output().expect("running helm")
}

/// What a chart renders with `values`, or what helm has against them.
pub fn try_render(chart: &str, values: &Value) -> Result<Vec<Value>, String> {
    template(&format!("charts/{chart}"), values)
}

/// The same of a chart that lies somewhere.
fn template(chart: &str, values: &Value) -> Result<Vec<Value>, String> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(file, "{values}").expect("writing the values");
    let path = file.path().to_str().expect("a path");
    let output = helm(&["template", "trueup", chart, "--namespace", "trueup-system", "--values", path]);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let documents =
        serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML"));
    Ok(documents.filter(|document| !document.is_null()).collect())
}

/// What the chart `trueup` renders with `values`.
pub fn render(values: &Value) -> Vec<Value> {
    try_render("trueup", values).unwrap_or_else(|error| panic!("rendering with {values}: {error}"))
}

/// What the chart in `package` renders with `values`.
pub fn render_from(package: &Path, values: &Value) -> Vec<Value> {
    let package = package.to_str().expect("a path");
    template(package, values).unwrap_or_else(|error| panic!("rendering {package} with {values}: {error}"))
}

/// All objects of a kind.
pub fn all<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one object of a kind.
pub fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = all(objects, kind);
    assert_eq!(found.len(), 1, "there is one {kind}");
    found[0]
}
