//! The chart grants what the controller needs, and nothing else: `docs/rights.md` says why that is proven here.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use serde_json::json;

use crate::{
    support::{rights::*, *},
    sweep::{closed_as_inferred, force_away, sweeping},
};

const INSIDE: Option<&str> = Some("acme-prod");

/// Whatever the controller does, at least once.
async fn everything(place: &Place, visit: &Visit) {
    let controller = place.controller("one", &sweeping(&[]));
    let people = |roles: &[&str]| -> Vec<_> {
        roles.iter().map(|role| json!({ "kind": "User", "name": "ada", "role": role })).collect()
    };
    let quota = json!({ "pods": 50 });
    let spec = json!({ "owners": people(&["Admin", "Edit", "View"]), "quota": quota,
        "namespaces": [{ "name": "prod", "quota": quota }, { "name": "dev", "quota": { "pods": 0 } }] });
    visit.create(&tenant("acme", &spec)).await;
    visit.current("Tenant", None, "acme").await;
    for manifest in vault("acme-prod") {
        visit.create(&manifest).await;
    }
    visit.create(&repository("acme-prod", "vault", &json!({}))).await;
    visit.current("BackupRepository", INSIDE, "vault").await;
    let ports = json!({ "ports": [{ "name": "http", "port": 80 }] });
    visit.create(&app("acme-prod", "shop", &ports)).await;
    visit.create(&app("acme-prod", "lost", &json!({}))).await;
    // Twice the same news of one object is one Event, which is counted on.
    for replicas in 1..=3 {
        visit.respec("AppDeployment", INSIDE, "shop", &json!({ "replicas": replicas })).await;
        visit.current("AppDeployment", INSIDE, "shop").await;
    }
    visit.current("AppDeployment", INSIDE, "lost").await;

    // A backup that is deleted while it runs takes its Job along.
    let held = json!({ "source": { "command": { "image": "registry.example/hold:1" } } });
    visit.create(&backup("acme-prod", "copy", &held)).await;
    visit.state("Backup", INSIDE, "copy", "Running").await;
    visit.delete("Backup", INSIDE, "copy").await;
    visit.gone("Backup", INSIDE, "copy").await;

    // What somebody forces away is asked for before its stream is closed.
    controller.kill();
    let lost = force_away(visit, "AppDeployment", "lost").await;
    let controller = place.controller("two", &sweeping(&[]));
    closed_as_inferred(visit, &lost).await;

    // A copy with our marks on it was asked for by nobody: another NetworkPolicy would let more in.
    for kind in ["LimitRange", "NetworkPolicy"] {
        let made = visit.get(kind, INSIDE, "trueup").await;
        let mut copy = json!({ "apiVersion": made.types.as_ref().unwrap().api_version, "kind": kind, "spec": made.data["spec"],
            "metadata": { "name": "copy", "namespace": "acme-prod" } });
        copy["metadata"]["labels"] = json!(made.metadata.labels);
        copy["metadata"]["annotations"] = json!(made.metadata.annotations);
        visit.create(&copy).await;
        visit.gone(kind, INSIDE, "copy").await;
    }

    // What is no longer asked for goes: rights, limits of a namespace, a Service, the namespace.
    visit.respec("AppDeployment", INSIDE, "shop", &json!({ "ports": [] })).await;
    visit.gone("Service", INSIDE, "shop").await;
    let less = json!({ "owners": people(&["View"]), "quota": null, "namespaces": [{ "name": "prod" }] });
    visit.respec("Tenant", None, "acme", &less).await;
    visit.gone("Namespace", None, "acme-dev").await;
    visit.gone("RoleBinding", INSIDE, "trueup-admin").await;
    visit.gone("ResourceQuota", INSIDE, "trueup").await;
    visit.current("Tenant", None, "acme").await;

    visit.delete("AppDeployment", INSIDE, "shop").await;
    visit.gone("AppDeployment", INSIDE, "shop").await;
    visit.delete("BackupRepository", INSIDE, "vault").await;
    visit.gone("BackupRepository", INSIDE, "vault").await;
    visit.delete("Tenant", None, "acme").await;
    visit.gone("Tenant", None, "acme").await;
    reckon(visit, None).await;
    visit.delete("BillingSink", None, "billing").await;
    visit.gone("BillingSink", None, "billing").await;
    controller.signal("TERM");
    assert_eq!(controller.exit_code(PATIENCE).await, 0);
}

/// The first time that the controller is refused something.
async fn refusal(log: &Path, offset: u64) -> String {
    loop {
        if let Some(said) = noted(log, offset).0.refused.pop_first() {
            return said;
        }
        moment(std::time::Duration::from_millis(50)).await;
    }
}

/// Creating a RoleBinding asks for the right to bind its role, in no request of its own.
fn with_what_binding_asks_for(mut done: BTreeSet<Request>) -> BTreeSet<Request> {
    let bound: Vec<Request> = done
        .iter()
        .filter(|request| request.verb == "create" && request.resource == "rolebindings")
        .filter_map(|request| {
            let role = request.name.as_ref()?.strip_prefix("trueup-")?.to_owned();
            let resource = "clusterroles".to_owned();
            Some(Request { verb: "bind".into(), resource, name: Some(role), ..request.clone() })
        })
        .collect();
    done.extend(bound);
    done
}

#[tokio::test]
async fn the_chart_grants_what_the_controller_needs_and_nothing_else() {
    let place = Arc::new(Place::new("rights", Database::Sqlite).await);
    let visit = Visit::to(&place).await;
    let log = place.cluster.audit_log();
    tokio::select! {
        () = everything(&place, &visit) => {}
        said = refusal(&log, 0) => panic!("the chart lacks a right: {said}"),
    }

    let granted: Vec<Right> = rules_of_the_chart().iter().flat_map(Rule::rights).collect();
    // A watch is noted when it ends.
    let done = eventually(PATIENCE, "every watch is noted", || async {
        let done = with_what_binding_asks_for(noted(&log, 0).0.done);
        let watched = |right: &&Right| right.verb == "watch" && !done.iter().any(|request| right.allows(request));
        let missing: Vec<String> = granted.iter().filter(watched).map(ToString::to_string).collect();
        if missing.is_empty() { Ok(done.clone()) } else { Err(format!("these are not: {missing:?}")) }
    })
    .await;
    let idle: Vec<String> = granted
        .iter()
        .filter(|right| !done.iter().any(|request| right.allows(request)))
        .map(ToString::to_string)
        .collect();
    assert!(idle.is_empty(), "the chart grants what nothing needed:\n{}", idle.join("\n"));
    for request in &done {
        let by: Vec<String> = granted.iter().filter(|it| it.allows(request)).map(ToString::to_string).collect();
        assert_eq!(by.len(), 1, "exactly one right allows '{request}', so that it is refused without: {by:?}");
    }

    // And the API server sees it in the same way, for each right that is taken away.
    for (number, taken) in granted.iter().enumerate() {
        let user = format!("without-{number}");
        let rest: Vec<&Right> = granted.iter().filter(|right| *right != taken).collect();
        grant_rights(&visit, &user, &rest).await;
    }
    for (number, taken) in granted.iter().enumerate() {
        let user = format!("without-{number}");
        let other = &granted[(number + 1) % granted.len()];
        let needs = |right: &Right| done.iter().find(|request| right.allows(request)).expect("its request").clone();
        let (refused, allowed) = (needs(taken), needs(other));
        eventually(PATIENCE, &format!("{user} has what was granted"), || async {
            may(&visit, &user, &allowed).await.then_some(()).ok_or_else(|| format!("it may not {allowed}"))
        })
        .await;
        assert!(!may(&visit, &user, &refused).await, "without '{taken}', '{refused}' is allowed all the same");
        assert!(may(&visit, CONTROLLER, &refused).await, "with all of the chart, '{refused}' is allowed");
    }
    println!("{} rules, {} rights, {} kinds of requests", rules_of_the_chart().len(), granted.len(), done.len());
}

#[tokio::test]
async fn whichever_rule_is_taken_away_the_controller_is_refused_what_it_granted() {
    let place = Arc::new(Place::new("rules", Database::Sqlite).await);
    let visit = Visit::to(&place).await;
    let log = place.cluster.audit_log();
    let rules = rules_of_the_chart();
    for (number, taken) in rules.iter().enumerate() {
        let rest: Vec<Rule> = rules.iter().filter(|rule| *rule != taken).cloned().collect();
        grant(&visit, CONTROLLER, &rest).await;
        // It hears of each role by a watch of its own, so one that says no may still be going by the rules before these.
        eventually(PATIENCE, "the API server goes by the new rules", || async {
            for rule in &rules {
                let request = (&rule.rights()[0]).into();
                if may(&visit, CONTROLLER, &request).await == (rule == taken) {
                    return Err(format!("it does not yet as to {}", rule.content));
                }
            }
            Ok(())
        })
        .await;
        let offset = noted(&log, 0).1;
        let controller = place.controller(&format!("without-{number}"), &ControllerOptions::default());
        let name = format!("t{number}");
        let said = tokio::select! {
            () = enough(&visit, &name) => String::new(),
            said = refusal(&log, offset) => said,
        };
        let about = |right: &Right| {
            said.contains(&format!("\"{}\"", right.resource)) && said.contains(&format!(" {} ", right.verb))
                || right.verb == "bind" && said.contains("attempting to grant")
        };
        let named = taken.rights().iter().any(about);
        assert!(named, "without {}, the API server said '{said}'", taken.content);
        println!("without {}: {said}", taken.content);
        controller.kill();
    }
}

/// Something of everything that a rule may be for.
async fn enough(visit: &Visit, name: &str) {
    let inside = format!("{name}-prod");
    visit.create(&tenant(name, &json!({ "owners": [{ "kind": "User", "name": "ada", "role": "Edit" }] }))).await;
    visit.current("Tenant", None, name).await;
    for manifest in vault(&inside) {
        visit.create(&manifest).await;
    }
    visit.create(&repository(&inside, "vault", &json!({}))).await;
    visit.create(&app(&inside, "shop", &json!({}))).await;
    visit.current("AppDeployment", Some(&inside), "shop").await;
    visit.create(&backup(&inside, "copy", &json!({}))).await;
    visit.state("Backup", Some(&inside), "copy", "Running").await;
}
