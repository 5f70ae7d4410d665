//! What the controller wrote to the API server, by the server's own notes.

use std::{collections::BTreeMap, io::Read as _, io::Seek as _, io::SeekFrom, path::Path, time::Duration};

use serde_json::Value;
use trueup::domain::{Clock as _, SystemClock};

use super::rights::CONTROLLER;

/// The writes of the controller that the API server noted behind `offset`, by what they were; and where the notes end.
pub fn writes(audit_log: &Path, offset: u64) -> (BTreeMap<String, usize>, u64) {
    let mut file = std::fs::File::open(audit_log).expect("the API server's audit log");
    file.seek(SeekFrom::Start(offset)).expect("the place in it");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("reading it");
    // The last line may not be whole yet.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let mut found = BTreeMap::new();
    for line in text[..whole].lines() {
        let entry: Value = serde_json::from_str(line).expect("a line of JSON");
        let reads = matches!(entry["verb"].as_str(), Some("get" | "list" | "watch"));
        if entry["user"]["username"] == CONTROLLER && !reads {
            let object = &entry["objectRef"];
            let what = format!(
                "{} {}{} {}/{}",
                entry["verb"].as_str().unwrap_or_default(),
                object["resource"].as_str().unwrap_or_default(),
                object["subresource"].as_str().map(|it| format!("/{it}")).unwrap_or_default(),
                object["namespace"].as_str().unwrap_or_default(),
                object["name"].as_str().unwrap_or_default(),
            );
            *found.entry(what).or_insert(0) += 1;
        }
    }
    (found, offset + whole as u64)
}

/// Where the notes end by now.
pub fn end(audit_log: &Path) -> u64 {
    let notes = std::fs::read(audit_log).expect("the API server's audit log");
    notes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last as u64 + 1)
}

fn is_lease(what: &str) -> bool {
    what.contains(" leases ")
}

/// Watches that the controller writes nothing but its Lease behind `offset` for as long as `span`.
pub async fn quiet_for(log: &Path, offset: u64, span: Duration) -> Result<(), Vec<String>> {
    let clock = SystemClock::default();
    while clock.monotonic() < span {
        let (found, _) = writes(log, offset);
        let other: Vec<String> = found.into_keys().filter(|what| !is_lease(what)).collect();
        if !other.is_empty() {
            return Err(other);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}
