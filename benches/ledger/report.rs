//! The figures: one line each as they come, and all of them in `target/bench.json`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

/// What was measured so far.
#[derive(Default)]
pub struct Report(BTreeMap<String, Figure>);

#[derive(Serialize, Deserialize)]
struct Figure {
    value: f64,
    unit: String,
}

impl Report {
    /// Notes `value` under `name`, and prints it.
    pub fn put(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        let name = name.into();
        let digits = if value.abs() >= 1_000.0 { 0 } else { 3 };
        println!("bench {name} {value:.digits$} {unit}");
        self.0.insert(name, Figure { value, unit: unit.to_owned() });
    }

    /// Writes all figures, beside those that other runs left there.
    pub fn write(self) {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
        let path = target.join("bench.json");
        let mut all: BTreeMap<String, Figure> =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        all.extend(self.0);
        fs::write(&path, serde_json::to_vec_pretty(&all).expect("figures are JSON")).expect("writing the figures");
        eprintln!("# written to {}", path.display());
    }
}
