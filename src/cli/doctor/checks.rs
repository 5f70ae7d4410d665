//! What the doctor makes of the facts. Pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;

use super::{
    facts::{ApiServer, Cluster, Definition, DefinitionState, Facts, Ledger, Right, Sink, Trouble},
    finding::Finding,
};
use crate::{cluster::Leadership, domain::Timestamp, ledger::Checkup};

/// The oldest Kubernetes that is supported.
const OLDEST: (u32, u32) = (1, 33);
/// Clocks further apart than this make bounds of times worse than they need to be.
const SKEWED: SignedDuration = SignedDuration::from_secs(2);
/// And further apart than this, times are wrong.
const WRONG: SignedDuration = SignedDuration::from_secs(30);
/// How many missing rights are named.
const NAMED: usize = 4;

/// Judges everything, in the order in which people should mend it.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![];
    match &facts.api {
        Err(trouble) => {
            found.push(broken(
                "API server",
                trouble,
                "give --kubeconfig, or run this in the controller's pod (`kubectl exec`)",
            ));
        }
        Ok(api) => {
            found.push(version(api));
            found.push(clock("clock of the API server", api.ahead));
        }
    }
    if let Some(cluster) = &facts.cluster {
        found.push(definitions(&cluster.definitions));
        found.push(rights(cluster));
        found.push(leader(&cluster.leadership, facts));
        if let Some(mandate) = &cluster.mandate {
            found.push(Finding::warn(
                "mandate",
                mandate,
                "nothing is made so until `trueup resume --all` or `trueup attach --all`",
            ));
        }
    }
    match &facts.ledger {
        None => {}
        Some(Err(trouble)) => {
            found.push(broken("database", trouble, "give --database-url, or --cluster-only to leave it out"));
        }
        Some(Ok(ledger)) => {
            found.push(migration(&ledger.checkup));
            found.push(durability(&ledger.checkup));
            if let Some(clock_of_it) = ledger.checkup.clock {
                found.push(clock("clock of the database", Some(apart(clock_of_it, ledger.asked))));
            }
        }
    }
    if let Some(cluster) = &facts.cluster {
        found.push(installation(cluster, facts.ledger.as_ref().and_then(|ledger| ledger.as_ref().ok())));
        found.extend(sinks(&cluster.sinks));
    }
    found
}

fn broken(check: &'static str, trouble: &Trouble, advice: &str) -> Finding {
    Finding { unreachable: trouble.unreachable, ..Finding::fail(check, &trouble.said, advice) }
}

fn version(api: &ApiServer) -> Finding {
    let (major, minor) = api.version;
    let found = format!("Kubernetes {major}.{minor}");
    if api.version >= OLDEST {
        return Finding::ok("API server", found);
    }
    let advice = format!("upgrade it to {}.{} or newer", OLDEST.0, OLDEST.1);
    Finding::fail("API server", found, advice)
}

fn clock(check: &'static str, ahead: Option<SignedDuration>) -> Finding {
    let Some(ahead) = ahead else {
        return Finding::warn(check, "it does not say what time it is", "compare it by hand");
    };
    let size = ahead.abs();
    if size <= SKEWED {
        return Finding::ok(check, "within 2 s of this machine's");
    }
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let found = format!("{:.1} s {way} this machine's", size.as_secs_f64());
    let advice = "let both follow a time server (chrony, systemd-timesyncd)";
    if size > WRONG { Finding::fail(check, found, advice) } else { Finding::warn(check, found, advice) }
}

/// How far `clock` was from this machine's, when it was read between two moments.
fn apart(clock: Timestamp, (before, after): (Timestamp, Timestamp)) -> SignedDuration {
    let micros = if clock < before {
        clock.as_micros() - before.as_micros()
    } else {
        (clock.as_micros() - after.as_micros()).max(0)
    };
    SignedDuration::from_micros(micros)
}

fn definitions(all: &[Definition]) -> Finding {
    let check = "definitions";
    let apply = "run `trueup crds | kubectl apply --server-side -f -`";
    let named = |wanted: &dyn Fn(&DefinitionState) -> bool| -> Vec<&str> {
        all.iter().filter(|it| wanted(&it.state)).map(|it| it.name.as_str()).collect()
    };
    let missing = named(&|state| *state == DefinitionState::Missing);
    if !missing.is_empty() {
        return Finding::fail(check, format!("the cluster lacks {}", missing.join(", ")), apply);
    }
    if let Some((name, why)) = all.iter().find_map(|it| match &it.state {
        DefinitionState::Unknown(why) => Some((&it.name, why)),
        _ => None,
    }) {
        return Finding::warn(check, format!("{name} could not be read: {why}"), "ask as somebody who may read it");
    }
    let waiting = named(&|state| *state == DefinitionState::NotEstablished);
    if !waiting.is_empty() {
        let found = format!("{} is there and not served", waiting.join(", "));
        return Finding::fail(check, found, "`kubectl describe crd` says why");
    }
    let other = named(&|state| *state == DefinitionState::Differs);
    if !other.is_empty() {
        let found = format!("{} is of another version than this program", other.join(", "));
        return Finding::warn(check, found, format!("{apply}, with the newer of the two programs"));
    }
    Finding::ok(check, format!("{} served, as new as this program", all.len()))
}

fn rights(cluster: &Cluster) -> Finding {
    let check = "rights";
    let rights = match &cluster.rights {
        Ok(rights) => rights,
        Err(why) => {
            return Finding::warn(check, format!("could not be asked about: {why}"), "ask as somebody who may ask");
        }
    };
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Right { resource, verb, .. } in rights.iter().filter(|right| !right.allowed) {
        missing.entry(resource).or_default().push(verb);
    }
    let subject = &cluster.subject;
    if missing.is_empty() {
        return Finding::ok(check, format!("{subject} may do all {} things that the chart grants", rights.len()));
    }
    let named: Vec<String> =
        missing.iter().take(NAMED).map(|(resource, verbs)| format!("{} {resource}", verbs.join(", "))).collect();
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let advice =
        "apply the chart's roles anew (charts/trueup/files); with --service-account NAME its rights are asked about";
    Finding::fail(check, format!("{subject} may not {}{more}", named.join("; ")), advice)
}

fn leader(leadership: &Result<Option<Leadership>, String>, facts: &Facts) -> Finding {
    let check = "leader";
    let start = "see the controller's log: `kubectl logs deployment/trueup`";
    let lease = match leadership {
        Err(why) => {
            return Finding::warn(check, format!("the Lease could not be read: {why}"), "ask as somebody who may");
        }
        Ok(None) => return Finding::fail(check, "nobody has led yet: there is no Lease", start),
        Ok(Some(lease)) => lease,
    };
    let (Some(holder), Some(renewed)) = (&lease.holder, lease.renewed) else {
        return Finding::fail(check, "nobody leads: the Lease was given back", start);
    };
    let age = facts.now.since(renewed);
    let found = format!("{holder} leads; the Lease was renewed {:.1} s ago", age.as_secs_f64());
    if age <= lease.duration + Duration::from_secs(2) {
        return Finding::ok(check, found);
    }
    let found = format!("nobody leads: {holder} renewed the Lease for the last time {} s ago", age.as_secs());
    Finding::fail(check, found, start)
}

fn migration(checkup: &Checkup) -> Finding {
    let (check, known, server) = ("database", checkup.known_migration, &checkup.server);
    match checkup.migration {
        None => Finding::fail(
            check,
            format!("{server} answers, and holds no ledger"),
            "start the controller, which makes it, or point DATABASE_URL at the ledger",
        ),
        Some(applied) if applied < known => Finding::warn(
            check,
            format!("{server}, migration {applied}; this program brings {known}"),
            "the controller migrates when it starts; is it older than this program?",
        ),
        Some(applied) if applied > known => Finding::warn(
            check,
            format!("{server}, migration {applied}; this program knows {known}"),
            "use the newer program, or see docs/upgrades.md for how far back a program may be",
        ),
        Some(applied) => Finding::ok(check, format!("{server}, migration {applied}")),
    }
}

fn durability(checkup: &Checkup) -> Finding {
    let said = |setting: &crate::ledger::Setting| format!("{} {}", setting.name, setting.value);
    let unsafe_ones: Vec<String> = checkup.settings.iter().filter(|setting| !setting.is_safe()).map(said).collect();
    if unsafe_ones.is_empty() {
        let all: Vec<String> = checkup.settings.iter().map(said).collect();
        return Finding::ok("durability", all.join(", "));
    }
    let advice =
        "what was committed, and told to billing, may be lost in a crash: set it back to what PostgreSQL comes with";
    Finding::fail("durability", unsafe_ones.join(", "), advice)
}

fn installation(cluster: &Cluster, ledger: Option<&Ledger>) -> Finding {
    let check = "installation";
    let (uid, named) = match (&cluster.uid, &cluster.named) {
        (Ok(uid), Ok(named)) => (uid, named),
        (Err(why), _) | (_, Err(why)) => {
            return Finding::warn(check, format!("could not be read: {why}"), "ask as somebody who may");
        }
    };
    let Some((id, of)) = named else {
        return Finding::fail(check, "the cluster names none", "start the controller once, which writes it");
    };
    let adopt = "is the database, or the cluster, a copy? If it was moved: `trueup ledger adopt`";
    if of != uid {
        return Finding::fail(check, format!("the ConfigMap is of cluster {of}, and this is {uid}"), adopt);
    }
    match ledger.map(|ledger| &ledger.installation) {
        None => Finding::ok(check, format!("{id}; the ledger was not asked")),
        Some(None) => Finding::fail(check, "the ledger belongs to none", "start the controller once, which writes it"),
        Some(Some(stored)) if stored.id != *id => {
            Finding::fail(check, format!("the cluster is {id}, and the ledger is of {}", stored.id), adopt)
        }
        Some(Some(stored)) if stored.cluster_uid != *uid => {
            Finding::fail(check, format!("the ledger is of cluster {}, and this is {uid}", stored.cluster_uid), adopt)
        }
        Some(Some(_)) => Finding::ok(check, format!("{id}, in the cluster and in the ledger")),
    }
}

fn sinks(sinks: &Result<Vec<Sink>, String>) -> Vec<Finding> {
    let check = "sinks";
    match sinks {
        Err(why) => vec![Finding::warn(check, format!("could not be listed: {why}"), "ask as somebody who may")],
        Ok(sinks) if sinks.is_empty() => vec![Finding::warn(
            check,
            "there is no BillingSink: everything is recorded, and nobody is told",
            "apply one; examples/ has some",
        )],
        Ok(sinks) => sinks.iter().map(sink).collect(),
    }
}

fn sink(sink: &Sink) -> Finding {
    let (check, name) = ("sink", &sink.name);
    if let Err(why) = &sink.secret {
        return Finding::fail(check, format!("{name}: {why}"), "create it in Trueup's own namespace");
    }
    match (&sink.ready, &sink.reached) {
        (Some((true, reason, _)), Ok(place)) => Finding::ok(check, format!("{name}: {reason}, {place} answers")),
        (Some((true, reason, _)), Err(why)) => Finding::warn(
            check,
            format!("{name}: {reason}, but from here {why}"),
            "harmless if only the cluster reaches it; run this in the controller's pod to be sure",
        ),
        (Some((false, reason, message)), reached) => {
            let reached = reached.as_ref().err().map_or_else(String::new, |why| format!("; from here {why}"));
            let advice = "`trueup outbox status` says what it is owed";
            Finding::fail(check, format!("{name}: {reason}: {message}{reached}"), advice)
        }
        (None, _) => Finding::warn(check, format!("{name}: no controller has looked at it yet"), "does one lead?"),
    }
}
