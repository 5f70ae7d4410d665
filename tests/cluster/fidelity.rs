//! The simulated API server of `tests/simulation` is worth as much as it is like a real one: both are asked the same.

use crate::{script, support::*};

#[tokio::test]
async fn a_real_api_server_answers_as_the_simulated_one_does() {
    let cluster = Cluster::up("fidelity", Mode::ControlPlane);
    let access = Access::by(&cluster.admin()).await;
    install(&access).await;
    let said = script::talk(access.client()).await;
    let expected: Vec<_> = include_str!("../simulation/conversation.txt").lines().collect();
    assert_eq!(said, expected, "all of it:\n{}", said.join("\n"));
}
