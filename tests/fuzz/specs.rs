//! Objects as somebody might write them, past the API server's own checks.

use std::{fmt::Debug, fs, path::Path};

use proptest::{prelude::*, test_runner::TestCaseError};
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::Value;
use trueup::{
    api::{
        AppDeployment, AppDeploymentSpec, Backup, BackupRepository, BackupSpec, BillingSink, Quantity, Tenant,
        TenantSpec,
    },
    domain::{Timestamp, Uid},
    lifecycle::{Membership, Object, appdeployment, backup, tenant},
};

use crate::{
    budget::{Checked, fuzz},
    inputs::{any_json, edited, text},
};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// The objects of examples/ that are of `kind`.
fn examples(kind: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .map(|path| fs::read_to_string(path).unwrap());
    let found: Vec<Value> = texts
        .flat_map(|text| {
            serde_yaml::Deserializer::from_str(&text).map(|it| Value::deserialize(it).unwrap()).collect::<Vec<_>>()
        })
        .filter(|object| object["kind"] == kind)
        .collect();
    assert!(!found.is_empty(), "examples/ has no {kind}");
    found
}

/// What is read is written back the same; what is not read is refused in one short line.
fn reads<T: DeserializeOwned + Serialize + Debug>(object: &Value) -> Result<Option<T>, TestCaseError> {
    match serde_json::from_value::<T>(object.clone()) {
        Ok(read) => {
            let written = serde_json::to_value(&read).unwrap();
            let again: T =
                serde_json::from_value(written.clone()).map_err(|why| TestCaseError::fail(why.to_string()))?;
            prop_assert_eq!(serde_json::to_value(again).unwrap(), written);
            Ok(Some(read))
        }
        Err(why) => {
            let why = why.to_string();
            prop_assert!(!why.is_empty() && !why.contains('\n'), "not a line: {:?}", why);
            Ok(None)
        }
    }
}

fn objects(kind: &str) -> impl Strategy<Value = Value> {
    prop_oneof![9 => edited(examples(kind)), 1 => any_json()]
}

fn of<S>(spec: &S, deleting: bool) -> Object<'_, S> {
    Object {
        uid: Uid::new("8f3c2c1e-7d0a-4b43-9a35-0f7f5a0f3a11"),
        name: "fuzzed".into(),
        namespace: Some("somewhere".into()),
        generation: 1,
        created: NOW,
        deleting_since: deleting.then_some(NOW),
        has_finalizer: true,
        paused: false,
        watched: true,
        spec,
        conditions: &[],
    }
}

fn member() -> Membership {
    Membership {
        tenant: trueup::domain::TenantName::new("acme"),
        account: "acct-1".into(),
        plan: "small".into(),
        suspended: false,
        restricted: true,
    }
}

#[test]
fn a_tenant_of_any_shape_is_read_and_decided_about_or_refused_in_words() {
    fuzz("tenants", (objects("Tenant"), any::<bool>()), |(object, deleting)| -> Checked {
        reads::<Tenant>(&object)?;
        if let Some(spec) = reads::<TenantSpec>(&object["spec"])? {
            let plan = tenant::decide(&of(&spec, deleting), &tenant::Observed::default(), None, NOW);
            prop_assert!(plan.delete.is_empty(), "it deletes what it never made");
        }
        Ok(())
    });
}

#[test]
fn an_application_of_any_shape_is_read_and_decided_about_or_refused_in_words() {
    fuzz("applications", (objects("AppDeployment"), any::<bool>()), |(object, deleting)| -> Checked {
        reads::<AppDeployment>(&object)?;
        if let Some(spec) = reads::<AppDeploymentSpec>(&object["spec"])? {
            let seen = appdeployment::Observed { member: Some(member()), ..Default::default() };
            let plan = appdeployment::decide(&of(&spec, deleting), &seen, None, NOW);
            prop_assert!(plan.delete.is_empty(), "it deletes what it never made");
        }
        Ok(())
    });
}

#[test]
fn a_backup_of_any_shape_is_read_and_decided_about_or_refused_in_words() {
    fuzz("backups", (objects("Backup"), any::<bool>()), |(object, deleting)| -> Checked {
        reads::<Backup>(&object)?;
        if let Some(spec) = reads::<BackupSpec>(&object["spec"])? {
            let seen = backup::Observed { member: Some(member()), ..Default::default() };
            let plan = backup::decide(&of(&spec, deleting), &seen, None, NOW);
            prop_assert!(plan.delete.is_empty() && plan.apply.is_empty(), "it acts before it has claimed anything");
        }
        Ok(())
    });
}

#[test]
fn a_repository_of_any_shape_is_read_or_refused_in_words() {
    fuzz("repositories", objects("BackupRepository"), |object| reads::<BackupRepository>(&object).map(drop));
}

#[test]
fn a_sink_of_any_shape_is_read_or_refused_in_words() {
    fuzz("sinks", objects("BillingSink"), |object| reads::<BillingSink>(&object).map(drop));
}

#[test]
fn a_quantity_of_any_text_is_a_number_or_refused_in_words() {
    fuzz("quantities", prop_oneof![text(), "[+-]?[0-9.]{0,22}(e[+-]?[0-9]{1,4}|[numkKMGTPE]i?)?"], |text| -> Checked {
        let quantity: Quantity = serde_json::from_value(Value::from(text.clone())).unwrap();
        if let (Ok(millis), Ok(units)) = (quantity.millis(), quantity.units()) {
            prop_assert!(units >= millis / 1_000, "{} is {} thousandths and {} whole ones", text, millis, units);
        }
        if let Err(why) = quantity.millis() {
            prop_assert!(!why.to_string().is_empty());
        }
        Ok(())
    });
}
