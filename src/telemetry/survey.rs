//! How things stand, as far as that is counted when somebody asks and not when it changes.

use std::collections::BTreeMap;

use prometheus::{GaugeVec, IntGaugeVec};

use crate::{
    domain::{DestinationId, Kind, Timestamp},
    figures::{self, Registry},
};

/// The objects and the backups of each tenant. Where a tenant is named, it is as a label names it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Survey {
    /// How many objects there are, by kind, state and tenant.
    pub resources: BTreeMap<(Kind, String, String), u64>,
    /// The backups of those tenants that have completed ones.
    pub backups: BTreeMap<String, BackupSurvey>,
}

/// The backups of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackupSurvey {
    /// When the newest one was complete: of all sources, the one for which that is longest ago.
    pub newest: Timestamp,
    /// Sources of which no restore was ever proved.
    pub unverified: u64,
}

/// What billing was not yet told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arrears {
    /// For every destination.
    pub destinations: BTreeMap<DestinationId, Owed>,
    /// When the oldest event of each tenant was recorded that some destination did not acknowledge.
    pub tenants: BTreeMap<String, Option<Timestamp>>,
}

/// What one destination was not yet told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Owed {
    /// When the oldest event was recorded, parked resources apart.
    pub oldest: Option<Timestamp>,
    /// How many events, parked resources apart.
    pub events: u64,
    /// How many resources are parked.
    pub parked: u64,
}

/// The gauges that show both.
pub(super) struct SurveyMetrics {
    resources: IntGaugeVec,
    backup_age: GaugeVec,
    unverified: IntGaugeVec,
    lag: GaugeVec,
    undelivered: IntGaugeVec,
    parked: IntGaugeVec,
    tenant_lag: GaugeVec,
}

impl SurveyMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            resources: registry.gauges(&figures::RESOURCES)?,
            backup_age: registry.spans(&figures::BACKUP_AGE)?,
            unverified: registry.gauges(&figures::BACKUP_UNVERIFIED)?,
            lag: registry.spans(&figures::LAG)?,
            undelivered: registry.gauges(&figures::UNDELIVERED)?,
            parked: registry.gauges(&figures::PARKED)?,
            tenant_lag: registry.spans(&figures::TENANT_LAG)?,
        })
    }

    /// Shows `survey` and nothing older.
    pub(super) fn show(&self, survey: &Survey, now: Timestamp) {
        self.resources.reset();
        self.backup_age.reset();
        self.unverified.reset();
        for ((kind, state, tenant), count) in &survey.resources {
            self.resources.with_label_values(&[kind.as_str(), state, tenant]).set(whole(*count));
        }
        for (tenant, backups) in &survey.backups {
            self.backup_age.with_label_values(&[tenant]).set(now.since(backups.newest).as_secs_f64());
            self.unverified.with_label_values(&[tenant]).set(whole(backups.unverified));
        }
    }

    /// Shows `arrears` and nothing older.
    pub(super) fn owes(&self, arrears: &Arrears, now: Timestamp) {
        let age = |oldest: Option<Timestamp>| oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        self.forget_arrears();
        for (destination, owed) in &arrears.destinations {
            let label = &[destination.as_str()];
            self.lag.with_label_values(label).set(age(owed.oldest));
            self.undelivered.with_label_values(label).set(whole(owed.events));
            self.parked.with_label_values(label).set(whole(owed.parked));
        }
        for (tenant, oldest) in &arrears.tenants {
            self.tenant_lag.with_label_values(&[tenant]).set(age(*oldest));
        }
    }

    /// It is for another process to tell.
    pub(super) fn stands_down(&self, now: Timestamp) {
        self.show(&Survey::default(), now);
        self.forget_arrears();
    }

    fn forget_arrears(&self) {
        self.lag.reset();
        self.undelivered.reset();
        self.parked.reset();
        self.tenant_lag.reset();
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
