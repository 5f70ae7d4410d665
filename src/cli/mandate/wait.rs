//! Waits until whoever leads has carried it out, and says what has not been.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;

use super::{scope::Scope, unanswered, wish::Wish};
use crate::{
    cli::{Failure, describe},
    cluster::{self, Freshness, Held},
    domain::{Clock as _, Kind, SystemClock},
};

/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(300);
/// How many of those are named that have not followed.
const NAMED: usize = 5;

/// What has followed, besides the resource that was named.
pub struct Followed {
    kinds: BTreeMap<Kind, u64>,
}

impl Followed {
    /// `Tenant acme, with 2 AppDeployments and 1 Backup`.
    pub fn in_words(&self, name: &str) -> String {
        let counts: Vec<String> =
            self.kinds.iter().map(|(kind, count)| describe::count(*count, kind.as_str())).collect();
        match counts.split_last() {
            None => name.to_owned(),
            Some((last, [])) => format!("{name}, with {last}"),
            Some((last, others)) => format!("{name}, with {} and {last}", others.join(", ")),
        }
    }
}

/// Waits until everything that is meant has followed; `None` if nobody wants to wait.
pub async fn until_done(
    client: &Client,
    wish: Wish,
    scope: &Scope,
    patience: Duration,
) -> Result<Option<Followed>, Failure> {
    if patience.is_zero() {
        return Ok(None);
    }
    let clock = SystemClock::default();
    let deadline = clock.monotonic() + patience;
    loop {
        let (followed, left) = look(client, wish, scope).await?;
        if left.is_empty() {
            return Ok(Some(followed));
        }
        if clock.monotonic() >= deadline {
            return Err(Failure::violated(&late(&left, patience)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(client: &Client, wish: Wish, scope: &Scope) -> Result<(Followed, Vec<String>), Failure> {
    let listed = cluster::list(client, Freshness::Latest).await;
    let listed = listed.map_err(|error| unanswered("listing Trueup's objects", &error))?;
    let (mut kinds, mut left) = (BTreeMap::new(), vec![]);
    for object in listed.iter().filter(|it| scope.has(it) && wish.concerns(it, scope.is_everything())) {
        let shown = &object.shown;
        if wish.is_done(object) {
            if scope.names(object) {
                continue;
            }
            *kinds.entry(shown.kind).or_insert(0) += 1;
        } else {
            let name = describe::resource(shown.kind, shown.namespace.as_deref(), &shown.name);
            let why = shown.waits_for.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            left.push(format!("{name}{why}"));
        }
    }
    if wish == Wish::Detach && scope.is_everything() {
        let held = cluster::held_sinks(client).await.map_err(|error| unanswered("listing BillingSinks", &error))?;
        left.extend(held.iter().map(undelivered));
    }
    Ok((Followed { kinds }, left))
}

fn undelivered(sink: &Held) -> String {
    let count = |number: i64, what| describe::count(u64::try_from(number).unwrap_or(0), what);
    let (events, resources) = (count(sink.undelivered, "waiting event"), count(sink.parked, "parked resource"));
    let name = &sink.name;
    format!(
        "BillingSink {name} ({events} and {resources}; see `trueup outbox status`, or \
         delete the sink with spec.abandonUndelivered to forget them)"
    )
}

fn late(left: &[String], patience: Duration) -> String {
    let more = left.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!(
        "it was asked for, and after {} s has not been carried out for {}{more}; does a controller lead? `trueup doctor` \
         tells. The same command may be given again, and waits for as long as --wait says",
        patience.as_secs(),
        left[..left.len().min(NAMED)].join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_followed_is_counted_by_kind() {
        let of = |kinds: &[(Kind, u64)]| Followed { kinds: kinds.iter().copied().collect() }.in_words("Tenant acme");
        assert_eq!(of(&[]), "Tenant acme");
        assert_eq!(of(&[(Kind::AppDeployment, 1)]), "Tenant acme, with 1 AppDeployment");
        let all = [(Kind::AppDeployment, 2), (Kind::Backup, 1)];
        assert_eq!(of(&all), "Tenant acme, with 2 AppDeployments and 1 Backup");
    }

    #[test]
    fn what_has_not_followed_is_named_and_what_to_do_about_it() {
        let left: Vec<String> = (0..7).map(|number| format!("Tenant t{number}")).collect();
        let said = late(&left, Duration::from_mins(1));
        assert!(said.contains("Tenant t4, and 2 more; does a controller lead?"), "{said}");
        let sink = undelivered(&Held { name: "billing".into(), undelivered: 3, parked: 1 });
        assert!(sink.starts_with("BillingSink billing (3 waiting events and 1 parked resource; see"), "{sink}");
    }
}
