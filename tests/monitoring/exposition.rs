//! What Prometheus is shown.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use trueup::{
    cluster::RequestMetrics,
    domain::{DestinationId, Kind, ManualClock, Timestamp},
    figures::{self, reference},
    ledger::Appending,
    telemetry::{Arrears, BackupSurvey, Metrics, Owed, Survey},
};

use crate::{promtool, root};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Everything that a controller can show, shown by something that never runs.
fn exposition() -> (Metrics, String) {
    let metrics = Metrics::new().unwrap();
    RequestMetrics::new(metrics.registry(), Arc::new(ManualClock::at(NOW))).unwrap();
    metrics.leads(7);
    metrics.reconciled("Tenant", "ok", Duration::from_millis(3));
    metrics.queued("Tenant", 2);
    metrics.waited("Tenant", Duration::from_millis(1));
    metrics.became_ready("Tenant", Duration::from_secs(1));
    metrics.transition(Kind::Tenant, "-", "Provisioning");
    for what in
        [Appending::Tried, Appending::Doubted, Appending::Answered { drafts: 3, busy: Duration::from_millis(2) }]
    {
        metrics.appending(what);
    }
    metrics.drifted(Kind::Tenant, "stream_without_object");
    metrics.waits_for_the_ledger(&[]);
    let owed = Owed { oldest: Some(NOW.minus(Duration::from_secs(90))), events: 4, parked: 1 };
    let arrears = Arrears {
        destinations: BTreeMap::from([(DestinationId::new("billing"), owed)]),
        tenants: BTreeMap::from([("acme".to_owned(), owed.oldest), ("initech".to_owned(), None)]),
    };
    metrics.owes(&arrears, NOW);
    metrics.surveyed_by(Some(Box::new(|| Survey {
        resources: BTreeMap::from([((Kind::Tenant, "Active".to_owned(), "acme".to_owned()), 1)]),
        backups: BTreeMap::from([(
            "acme".to_owned(),
            BackupSurvey { newest: NOW.minus(Duration::from_hours(1)), unverified: 2 },
        )]),
    })));
    let text = metrics.render(NOW).unwrap();
    (metrics, text)
}

#[test]
fn whatever_is_registered_is_described_and_whatever_is_described_is_registered() {
    let (metrics, _) = exposition();
    let mut made = metrics.registry().made();
    let mut described: Vec<_> = figures::all().map(|figure| figure.name).collect();
    made.sort_unstable();
    described.sort_unstable();
    assert_eq!(made, described);
}

#[test]
fn the_reference_is_what_the_program_prints() {
    let path = root().join("docs/reference/metrics.md");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == reference(), "{} differs; run `make reference`", path.display());
}

#[test]
fn what_billing_is_owed_is_shown_by_destination_and_by_tenant() {
    let (_, text) = exposition();
    for line in [
        "trueup_outbox_lag_seconds{destination=\"billing\"} 90",
        "trueup_outbox_undelivered_events{destination=\"billing\"} 4",
        "trueup_outbox_parked_lanes{destination=\"billing\"} 1",
        "trueup_tenant_lag_seconds{tenant=\"acme\"} 90",
        "trueup_tenant_lag_seconds{tenant=\"initech\"} 0",
        "trueup_backup_age_seconds{tenant=\"acme\"} 3600",
        "trueup_backup_unverified_sources{tenant=\"acme\"} 2",
        "trueup_resources{kind=\"Tenant\",state=\"Active\",tenant=\"acme\"} 1",
        "trueup_ledger_batch_transitions_sum 3",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn who_leads_no_more_shows_nothing_that_only_a_leader_knows() {
    let (metrics, _) = exposition();
    metrics.violations(3);
    metrics.behind(2, true);
    metrics.sweeps_held(true);
    metrics.stands_down(NOW);
    let text = metrics.render(NOW).unwrap();
    for line in ["trueup_leader 0", "trueup_audit_violations 0", "trueup_audit_held 0", "trueup_ledger_held 0"] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    for name in
        ["trueup_outbox_lag_seconds", "trueup_tenant_lag_seconds", "trueup_resources", "trueup_backup_age_seconds"]
    {
        assert!(!text.contains(name), "{name} is in\n{text}");
    }
    assert!(text.contains("trueup_transitions_total{"), "what was counted stays counted");
}

#[test]
fn prometheus_finds_nothing_to_complain_of() {
    let (_, text) = exposition();
    let mut check = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = check.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}
