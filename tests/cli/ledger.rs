//! `trueup ledger`: backups from the command line.

use super::rig::Rig;

#[test]
fn a_backup_is_verified_and_restored() {
    let rig = Rig::new();
    let taken = rig.trueup(&["ledger", "backup", "."]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(taken.out.starts_with("backup: 3 streams and 10 transitions of installation"), "{taken:?}");
    let file = rig.files().into_iter().find(|name| name.starts_with("trueup-ledger-")).expect("the backup");

    let verified = rig.trueup(&["ledger", "verify", &file, "--scratch", "."]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(verified.out.contains("all invariants hold"), "{verified:?}");
    assert!(!rig.files().iter().any(|name| name.starts_with("trueup-verify")), "the scratch database is gone");

    let restored = rig.trueup(&["ledger", "restore", &file, "--database-url", "sqlite:restored.db"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    let audited = rig.trueup(&["audit", "--ledger-only", "--database-url", "sqlite:restored.db"]);
    assert_eq!(audited.code, 0, "{audited:?}");
    assert!(audited.last_line().contains("(3 resources, 10 transitions"), "{audited:?}");

    rig.trueup(&["ledger", "restore", &file, "--database-url", "sqlite:restored.db"]).fails(2, &["empty database"]);
    rig.trueup(&["ledger", "backup", &file]).fails(2, &["is there already"]);
    rig.trueup(&["ledger", "verify", "ledger.db"]).fails(1, &["first line"]);
    rig.trueup(&["ledger", "verify", "nowhere"]).fails(2, &["nowhere"]);
    let unnamed = rig.trueup(&["ledger", "restore", &file]);
    assert_eq!(unnamed.code, 2, "the ledger in use is never restored over: {unnamed:?}");
}
