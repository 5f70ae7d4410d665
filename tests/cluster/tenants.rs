//! Tenants: namespaces with limits and rights, and what becomes of them when somebody interferes.

use kube::ResourceExt as _;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_tenant_gets_its_namespaces_with_limits_isolation_and_rights() {
    let visit = Visit::shared().await;
    let spec = json!({
        "owners": [
            { "kind": "User", "name": "ada", "role": "Admin" },
            { "kind": "Group", "name": "devs", "role": "Edit" },
            { "kind": "ServiceAccount", "name": "robot", "namespace": "ci", "role": "Edit" },
        ],
        "podSecurity": "Restricted",
        "quota": { "cpu": "4", "memory": "8Gi", "pods": 40 },
        "namespaces": [
            { "name": "prod", "quota": { "cpu": "3500m", "memory": "4Gi", "pods": 30 } },
            { "name": "dev", "quota": { "cpu": "0.5", "memory": "2Gi", "pods": 10 },
              "limits": { "defaultCpu": "50m", "defaultMemory": "64Mi" } },
        ],
    });
    let made = visit.create(&tenant("rich", &spec)).await;
    let shown = visit.current("Tenant", None, "rich").await;
    assert_eq!(shown.data["status"]["state"], "Active");
    assert_eq!(shown.data["status"]["namespaceCount"], 2);

    for (name, cpu, default_cpu) in [("rich-prod", "3500m", "100m"), ("rich-dev", "500m", "50m")] {
        let namespace = visit.get("Namespace", None, name).await;
        assert_eq!(namespace.labels()["trueup.dev/tenant"], "rich");
        assert_eq!(namespace.labels()["pod-security.kubernetes.io/enforce"], "restricted");
        assert_eq!(namespace.annotations()["trueup.dev/owner-uid"], made.uid().unwrap());
        assert!(namespace.owner_references().is_empty(), "deleting the definition must not delete customers' data");
        let quota = visit.get("ResourceQuota", Some(name), "trueup").await;
        assert_eq!(quota.data["spec"]["hard"]["requests.cpu"], cpu);
        let limits = visit.get("LimitRange", Some(name), "trueup").await;
        assert_eq!(limits.data["spec"]["limits"][0]["defaultRequest"]["cpu"], default_cpu);
        let policy = visit.get("NetworkPolicy", Some(name), "trueup").await;
        let from = &policy.data["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"];
        assert_eq!(*from, json!({ "trueup.dev/tenant": "rich" }));
        let admin = visit.get("RoleBinding", Some(name), "trueup-admin").await;
        assert_eq!(admin.data["roleRef"]["name"], "admin");
        assert_eq!(admin.data["subjects"][0]["name"], "ada");
        let edit = visit.get("RoleBinding", Some(name), "trueup-edit").await;
        let subjects: Vec<_> = edit.data["subjects"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        assert_eq!(subjects, ["devs", "robot"]);
        assert!(visit.find("RoleBinding", Some(name), "trueup-view").await.is_none(), "nobody is a viewer");
    }
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.steps(), ["Provisioning:Created", "Active:Provisioned"]);
    reckon(&visit, Some("rich")).await;
}

#[tokio::test]
async fn what_somebody_changed_or_took_away_is_put_right() {
    let visit = Visit::shared().await;
    let spec = json!({
        "owners": [{ "kind": "User", "name": "ada", "role": "View" }],
        "namespaces": [{ "name": "prod", "quota": { "pods": 7 } }],
    });
    visit.create(&tenant("drift", &spec)).await;
    visit.current("Tenant", None, "drift").await;
    let inside = Some("drift-prod");

    visit.respec("ResourceQuota", inside, "trueup", &json!({ "hard": { "pods": "7000" } })).await;
    visit.respec("NetworkPolicy", inside, "trueup", &json!({ "ingress": [{}] })).await;
    visit.delete("RoleBinding", inside, "trueup-view").await;
    visit.delete("LimitRange", inside, "trueup").await;
    let labels = json!({ "metadata": { "labels": {
        "pod-security.kubernetes.io/enforce": "privileged", "trueup.dev/tenant": null,
    } } });
    visit.merge("Namespace", None, "drift-prod", &labels).await;
    let forged = json!({ "subjects": [] });
    visit.until("RoleBinding", inside, "trueup-view", "is made again", |_| true).await;
    visit.merge("RoleBinding", inside, "trueup-view", &forged).await;

    let seven = |quota: &kube::core::DynamicObject| quota.data["spec"]["hard"]["pods"] == "7";
    visit.until("ResourceQuota", inside, "trueup", "allows 7 pods", seven).await;
    let strict = |policy: &kube::core::DynamicObject| policy.data["spec"]["ingress"][0]["from"].is_array();
    visit.until("NetworkPolicy", inside, "trueup", "keeps others out", strict).await;
    visit.until("LimitRange", inside, "trueup", "is made again", |_| true).await;
    let bound = |binding: &kube::core::DynamicObject| binding.data["subjects"][0]["name"] == "ada";
    visit.until("RoleBinding", inside, "trueup-view", "binds ada", bound).await;
    let labelled = |namespace: &kube::core::DynamicObject| {
        let labels = namespace.labels();
        labels.get("pod-security.kubernetes.io/enforce").is_some_and(|level| level == "baseline")
            && labels.get("trueup.dev/tenant").is_some_and(|name| name == "drift")
    };
    visit.until("Namespace", None, "drift-prod", "has its labels", labelled).await;
    visit.current("Tenant", None, "drift").await;
    let story = visit.story_of("Tenant", None, "drift").await;
    assert_eq!(story.states(), ["Provisioning", "Active"], "repairs of labels and limits are no change of state");
    reckon(&visit, Some("drift")).await;
}

#[tokio::test]
async fn rights_that_are_taken_away_end_also_where_the_tenant_is_protected() {
    let visit = Visit::shared().await;
    let spec = json!({
        "owners": [
            { "kind": "User", "name": "ada", "role": "Admin" },
            { "kind": "User", "name": "bob", "role": "View" },
        ],
        "namespaces": [{ "name": "prod", "quota": { "pods": 7 } }, { "name": "old" }],
        "deletion": { "protect": true },
    });
    visit.create(&tenant("guarded", &spec)).await;
    visit.current("Tenant", None, "guarded").await;
    let fewer = json!({
        "owners": [{ "kind": "User", "name": "bob", "role": "View" }],
        "namespaces": [{ "name": "prod" }],
    });
    visit.respec("Tenant", None, "guarded", &fewer).await;
    visit.gone("RoleBinding", Some("guarded-prod"), "trueup-admin").await;
    visit.gone("ResourceQuota", Some("guarded-prod"), "trueup").await;
    visit.current("Tenant", None, "guarded").await;
    let kept = visit.get("Namespace", None, "guarded-old").await;
    assert!(kept.metadata.deletion_timestamp.is_none(), "what is in a protected tenant's namespace is kept");
    visit.get("NetworkPolicy", Some("guarded-old"), "trueup").await;

    visit.respec("Tenant", None, "guarded", &json!({ "deletion": { "protect": false } })).await;
    visit.gone("Namespace", None, "guarded-old").await;
    visit.current("Tenant", None, "guarded").await;
    reckon(&visit, Some("guarded")).await;
}

#[tokio::test]
async fn a_namespace_that_somebody_deletes_is_reported_lost_and_made_again() {
    let visit = Visit::shared().await;
    visit.create(&tenant("lossy", &json!({ "namespaces": [{ "name": "prod" }, { "name": "dev" }] }))).await;
    visit.current("Tenant", None, "lossy").await;
    let first = uid(&visit.get("Namespace", None, "lossy-prod").await);
    visit.delete("Namespace", None, "lossy-prod").await;
    let anew = |namespace: &kube::core::DynamicObject| {
        uid(namespace) != first && namespace.metadata.deletion_timestamp.is_none()
    };
    visit.until("Namespace", None, "lossy-prod", "is made again", anew).await;
    visit.current("Tenant", None, "lossy").await;
    visit.until("NetworkPolicy", Some("lossy-prod"), "trueup", "is there again", |_| true).await;
    let story = visit.story_of("Tenant", None, "lossy").await;
    assert_eq!(
        story.steps(),
        ["Provisioning:Created", "Active:Provisioned", "Degraded:NamespaceLost", "Active:Recovered"]
    );
    reckon(&visit, Some("lossy")).await;
}

#[tokio::test]
async fn a_namespace_that_is_labelled_for_another_tenant_is_given_back_and_not_deleted() {
    let visit = Visit::shared().await;
    visit.create(&tenant("owns", &json!({}))).await;
    visit.create(&tenant("gets", &json!({}))).await;
    visit.current("Tenant", None, "owns").await;
    visit.current("Tenant", None, "gets").await;
    let before = visit.get("Namespace", None, "owns-prod").await;
    let stolen = json!({ "metadata": { "labels": { "trueup.dev/tenant": "gets" } } });
    visit.merge("Namespace", None, "owns-prod", &stolen).await;
    let back = |namespace: &kube::core::DynamicObject| {
        namespace.labels().get("trueup.dev/tenant").is_some_and(|name| name == "owns")
    };
    let after = visit.until("Namespace", None, "owns-prod", "has its tenant's label", back).await;
    assert_eq!((uid(&after), &after.metadata.deletion_timestamp), (uid(&before), &None));
    visit.current("Tenant", None, "owns").await;
    visit.get("NetworkPolicy", Some("owns-prod"), "trueup").await;
    reckon(&visit, Some("owns")).await;
    reckon(&visit, Some("gets")).await;
}

#[tokio::test]
async fn a_namespace_of_another_tenant_is_not_taken_over() {
    let visit = Visit::shared().await;
    visit.create(&tenant("north", &json!({ "namespaces": [{ "name": "sea-east" }] }))).await;
    visit.current("Tenant", None, "north").await;
    let before = visit.get("Namespace", None, "north-sea-east").await;
    visit.create(&tenant("north-sea", &json!({ "namespaces": [{ "name": "east" }, { "name": "west" }] }))).await;
    let shown = visit.stalled("Tenant", None, "north-sea", "NamespaceTaken").await;
    let message = condition(&shown, "Stalled")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("north-sea-east") && message.contains("rename"), "{message}");
    assert_eq!(shown.data["status"]["state"], "Provisioning");
    let after = visit.get("Namespace", None, "north-sea-east").await;
    assert_eq!(after.resource_version(), before.resource_version(), "the other tenant's namespace is untouched");

    // The way out that the message names.
    let other = json!({ "namespaces": [{ "name": "south" }, { "name": "west" }] });
    visit.respec("Tenant", None, "north-sea", &other).await;
    visit.current("Tenant", None, "north-sea").await;
    reckon(&visit, Some("north")).await;
    reckon(&visit, Some("north-sea")).await;
}

#[tokio::test]
async fn a_namespace_that_trueup_did_not_make_is_left_alone_until_it_is_gone() {
    let visit = Visit::shared().await;
    visit.create(&namespace("squat-prod")).await;
    let before = visit.get("Namespace", None, "squat-prod").await;
    visit.create(&tenant("squat", &json!({}))).await;
    visit.stalled("Tenant", None, "squat", "NamespaceTaken").await;
    let after = visit.get("Namespace", None, "squat-prod").await;
    assert_eq!(after.labels(), before.labels());
    assert!(visit.find("NetworkPolicy", Some("squat-prod"), "trueup").await.is_none());

    visit.delete("Namespace", None, "squat-prod").await;
    visit.current("Tenant", None, "squat").await;
    let made = visit.get("Namespace", None, "squat-prod").await;
    assert_eq!(made.labels()["trueup.dev/tenant"], "squat");
    reckon(&visit, Some("squat")).await;
}

#[tokio::test]
async fn a_suspended_tenant_stands_still_and_starts_again() {
    let visit = Visit::shared().await;
    visit.create(&tenant("sleepy", &json!({}))).await;
    visit.current("Tenant", None, "sleepy").await;
    let inside = Some("sleepy-prod");
    visit.create(&app("sleepy-prod", "shop", &json!({ "replicas": 2 }))).await;
    visit.create(&app("sleepy-prod", "mail", &json!({ "suspend": true }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    visit.state("AppDeployment", inside, "mail", "Suspended").await;

    visit.respec("Tenant", None, "sleepy", &json!({ "suspend": true })).await;
    visit.state("Tenant", None, "sleepy", "Suspended").await;
    visit.state("AppDeployment", inside, "shop", "Suspended").await;
    visit.current("AppDeployment", inside, "shop").await;
    assert_eq!(visit.get("Deployment", inside, "shop").await.data["spec"]["replicas"], 0);
    assert_eq!(visit.story_of("AppDeployment", inside, "shop").await.billable().replicas, 0);

    visit.respec("Tenant", None, "sleepy", &json!({ "suspend": false })).await;
    visit.state("Tenant", None, "sleepy", "Active").await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    let story = visit.story_of("AppDeployment", inside, "shop").await;
    assert_eq!(
        story.states(),
        ["Pending", "Progressing", "Available", "Suspended", "Progressing", "Available"],
        "{:?}",
        story.steps()
    );
    assert_eq!(story.billable().replicas, 2);
    let mail = visit.story_of("AppDeployment", inside, "mail").await;
    assert_eq!(mail.states(), ["Pending", "Suspended"], "an application that is suspended itself stays so");
    reckon(&visit, Some("sleepy")).await;
}

#[tokio::test]
async fn a_change_of_account_or_plan_reaches_every_open_stream_of_the_tenant() {
    let visit = Visit::shared().await;
    visit.create(&tenant("sold", &json!({}))).await;
    visit.current("Tenant", None, "sold").await;
    let inside = Some("sold-prod");
    visit.create(&app("sold-prod", "shop", &json!({}))).await;
    visit.create(&backup("sold-prod", "waits", &json!({}))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    visit.state("Backup", inside, "waits", "Pending").await;

    visit.respec("Tenant", None, "sold", &json!({ "billing": { "account": "acct-new" }, "plan": "large" })).await;
    for (kind, namespace, name) in
        [("Tenant", None, "sold"), ("AppDeployment", inside, "shop"), ("Backup", inside, "waits")]
    {
        let stream = uid(&visit.get(kind, namespace, name).await);
        let story = eventually(PATIENCE, &format!("{kind} {name} is reassigned"), || async {
            let story = visit.story(&stream).await;
            let is_so = story.last().reason == "Reassigned";
            if is_so { Ok(story) } else { Err(format!("its steps are {:?}", story.steps())) }
        })
        .await;
        let [before, after] = story.events().last_chunk().cloned().unwrap();
        assert_eq!((after.account.as_str(), after.plan.as_str()), ("acct-new", "large"), "{kind} {name}");
        assert_eq!((before.to, before.billable), (after.to, after.billable), "{kind} {name}: nothing else changes");
    }
    reckon(&visit, Some("sold")).await;
}

#[tokio::test]
async fn a_protected_tenant_is_not_deleted_until_the_protection_is_taken_away() {
    let visit = Visit::shared().await;
    let made = visit.create(&tenant("vital", &json!({ "deletion": { "protect": true } }))).await;
    visit.current("Tenant", None, "vital").await;
    visit.delete("Tenant", None, "vital").await;
    let shown = |tenant: &kube::core::DynamicObject| condition(tenant, "Stalled")["reason"] == "DeletionProtected";
    visit.until("Tenant", None, "vital", "says that it is protected", shown).await;
    let namespace = visit.get("Namespace", None, "vital-prod").await;
    assert!(namespace.metadata.deletion_timestamp.is_none(), "nothing of a protected tenant is deleted");

    visit.respec("Tenant", None, "vital", &json!({ "deletion": { "protect": false } })).await;
    visit.gone("Tenant", None, "vital").await;
    visit.gone("Namespace", None, "vital-prod").await;
    let story = visit.recorded(&uid(&made), "Deleted").await;
    assert_eq!(story.states(), ["Provisioning", "Active", "Terminating", "Deleted"]);
    reckon(&visit, Some("vital")).await;
}

#[tokio::test]
async fn deleting_a_tenant_closes_the_stream_of_everything_that_was_its() {
    let visit = Visit::shared().await;
    let made = visit.create(&tenant("leaver", &json!({ "namespaces": [{ "name": "prod" }, { "name": "dev" }] }))).await;
    visit.current("Tenant", None, "leaver").await;
    for manifest in vault("leaver-prod") {
        visit.create(&manifest).await;
    }
    visit.create(&repository("leaver-prod", "vault", &json!({}))).await;
    visit.create(&app("leaver-prod", "shop", &json!({ "replicas": 3 }))).await;
    visit.create(&app("leaver-dev", "broken", &json!({ "image": "registry.example/crash:1" }))).await;
    let held = json!({ "source": { "command": { "image": "registry.example/hold:1" } } });
    visit.create(&backup("leaver-prod", "running", &held)).await;
    visit.create(&backup("leaver-dev", "waits", &json!({}))).await;
    visit.state("AppDeployment", Some("leaver-prod"), "shop", "Available").await;
    visit.state("Backup", Some("leaver-prod"), "running", "Running").await;
    visit.state("Backup", Some("leaver-dev"), "waits", "Pending").await;

    visit.delete("Tenant", None, "leaver").await;
    visit.gone("Tenant", None, "leaver").await;
    visit.gone("Namespace", None, "leaver-prod").await;
    visit.gone("Namespace", None, "leaver-dev").await;
    let heads: Vec<_> =
        visit.heads().await.into_iter().filter(|head| head.subject.tenant.as_str() == "leaver").collect();
    assert_eq!(heads.len(), 5, "{heads:?}");
    for head in &heads {
        assert_eq!(head.state.as_str(), "Deleted", "{head:?}");
        assert_eq!(head.billable, trueup::domain::Billable::ZERO, "{head:?}");
    }
    let last = visit.story(&uid(&made)).await;
    assert_eq!(last.states(), ["Provisioning", "Active", "Terminating", "Deleted"]);
    reckon(&visit, Some("leaver")).await;
}
