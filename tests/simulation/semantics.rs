//! The API server in memory, and what it says. `tests/cluster/fidelity.rs` asks a real one the same.

use std::{fs, path::Path, sync::Arc};

use crate::{apiserver::ApiServer, clock::SimulatedClock, script};

/// What any API server answers.
fn expected() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/conversation.txt");
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn it_answers_as_a_real_one_does() {
    let server = ApiServer::start(Arc::new(SimulatedClock::start()));
    let said = script::talk(server.client()).await;
    assert_eq!(said, expected(), "all of it:\n{}", said.join("\n"));
}
