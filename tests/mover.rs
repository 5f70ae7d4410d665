//! The mover against the real restic: what ends well is whole, and what does not end well leaves nothing.

mod mover_support;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use mover_support::{Dump, Pod, Repository, UID, pseudo_random, until};
use trueup::domain::{Ended, FailureReason};

#[test]
fn a_good_dump_is_stored_and_comes_back_byte_for_byte() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    let bytes = pseudo_random(3 << 20);
    let mut dump = Dump::open(&pod);
    dump.write(&bytes);
    dump.end(&pod, "0");

    let manifest = mover.ended().sealed();
    let snapshots = repository.snapshots();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0]["id"], manifest.snapshot_id);
    assert_eq!(snapshots[0]["hostname"], "acme-prod/nightly");
    let tags = snapshots[0]["tags"].to_string();
    for tag in ["trueup", &format!("uid={UID}"), "sequence=2"] {
        assert!(tags.contains(&format!("\"{tag}\"")), "{tag} in {tags}");
    }
    assert_eq!(manifest.size_bytes, bytes.len() as u64);
    assert_eq!(manifest.sha256, mover_support::sha256(&bytes));
    assert_eq!(manifest.file, "shop.dump");
    assert_eq!(manifest.dump_tool, "pg_dump (PostgreSQL) 17.2");
    assert!(manifest.repository_tool.starts_with("restic "), "{}", manifest.repository_tool);
    assert!(manifest.started_at <= manifest.completed_at);
    assert!(repository.dump(&manifest.snapshot_id, "shop.dump") == bytes, "other bytes came back");
}

#[test]
fn a_dump_that_fails_half_way_leaves_no_snapshot_and_its_exit_code_is_told() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    // As the Job's dump container does it, with a shell.
    let script = "echo 'pg_dump 17' >tool; (head -c 5000000 /dev/urandom; exit 1) >pipe; \
                  echo $? >exit.tmp; mv exit.tmp exit";
    let status = Command::new("sh").args(["-c", script]).current_dir(pod.folder()).status().unwrap();
    assert!(status.success());

    let failure = mover.ended().failed();
    assert_eq!(failure.reason, FailureReason::DumpFailed);
    assert!(failure.message.contains("exit code 1") && failure.message.contains("5000000 bytes"), "{failure}");
    repository.holds_nothing_and_is_unlocked();
}

#[test]
fn a_dump_that_vanishes_without_an_exit_code_leaves_no_snapshot() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start_with(&["--exit-wait-seconds", "1"]);
    let mut dump = Dump::open(&pod);
    dump.write(&pseudo_random(1 << 20));
    drop(dump);

    let failure = mover.ended().failed();
    assert_eq!(failure.reason, FailureReason::DumpFailed);
    assert!(failure.message.contains("without an exit code"), "{failure}");
    repository.holds_nothing_and_is_unlocked();
}

#[test]
fn an_empty_dump_is_a_failure_even_if_it_says_that_all_went_well() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    Dump::open(&pod).end(&pod, "0");

    assert_eq!(mover.ended().failed().reason, FailureReason::DumpEmpty);
    repository.holds_nothing_and_is_unlocked();
}

#[test]
fn a_dump_that_fails_before_it_opens_the_pipe_is_not_waited_for() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    mover.says("waiting for the dump");
    pod.write_exit_code("127");

    let failure = mover.ended().failed();
    assert_eq!(failure.reason, FailureReason::DumpFailed);
    assert!(failure.message.contains("exit code 127"), "{failure}");
}

#[test]
fn an_exit_code_that_was_there_before_the_dump_vouches_for_nothing() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    pod.write_exit_code("0");

    let failure = pod.start().ended().failed();
    assert_eq!(failure.reason, FailureReason::DumpFailed);
    assert!(failure.message.contains("already there"), "{failure}");
}

#[test]
fn a_wrong_key_is_told_without_being_told_and_no_dump_waits_for_the_mover() {
    let repository = Repository::made();
    let pod = Pod::new(&repository.with_key("not-the-key-of-it"));
    let ended = pod.start().ended();

    assert!(!ended.everything_said().contains("not-the-key-of-it"), "the key was said");
    let failure = ended.failed();
    assert_eq!(failure.reason, FailureReason::RepositoryKeyWrong);
    assert!(failure.message.contains("acme-prod/nightly"), "{failure}");
    // A dump container that starts only now must not hang at opening its pipe.
    assert!(fs::OpenOptions::new().write(true).create(true).truncate(true).open(pod.pipe()).is_err());
}

#[test]
fn two_movers_that_make_the_repository_at_once_both_store_their_dumps() {
    let repository = Repository::planned();
    let pods = [Pod::new(&repository).of("uid-a"), Pod::new(&repository).of("uid-b")];
    let movers = pods.each_ref().map(Pod::start);
    for (pod, fill) in pods.iter().zip([1, 2]) {
        let mut dump = Dump::open(pod);
        dump.write(&[fill; 10_000]);
        dump.end(pod, "0");
    }
    let manifests = movers.map(|mover| mover.ended().sealed());

    assert_eq!(repository.snapshots().len(), 2);
    for (manifest, fill) in manifests.iter().zip([1, 2]) {
        assert_eq!(repository.dump(&manifest.snapshot_id, "shop.dump"), [fill; 10_000]);
    }
    assert_eq!(fs::read_dir(repository.folder().join("keys")).unwrap().count(), 1, "two master keys");
    let beside = fs::read_dir(repository.folder().parent().unwrap()).unwrap();
    assert_eq!(beside.filter(|it| it.as_ref().unwrap().file_name() != "cache").count(), 1, "a draft was left");
}

#[test]
fn a_backup_that_runs_again_leaves_one_artifact_and_spares_those_of_others() {
    let repository = Repository::made();
    Pod::new(&repository).of("uid-of-another").stores(b"another's");
    let first = Pod::new(&repository).stores(b"first");
    let second = Pod::new(&repository).stores(b"second");

    let ids: Vec<_> = repository.snapshots().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&second.snapshot_id) && !ids.contains(&first.snapshot_id));
    assert_eq!(second.superseded_left, 0);
    assert_eq!(repository.dump(&second.snapshot_id, "shop.dump"), b"second");
}

#[test]
fn a_snapshot_that_is_not_the_whole_dump_is_taken_back() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let lying = pod.folder().join("restic-that-lies");
    let script = r#"#!/bin/sh
        if [ "$1" = ls ]; then echo '{"path":"/shop.dump","size":1}'; else exec restic "$@"; fi
    "#;
    fs::write(&lying, script).unwrap();
    fs::set_permissions(&lying, fs::Permissions::from_mode(0o755)).unwrap();
    let mover = pod.start_with(&["--restic", lying.to_str().unwrap()]);
    let mut dump = Dump::open(&pod);
    dump.write(b"more than a byte");
    dump.end(&pod, "0");

    let failure = mover.ended().failed();
    assert_eq!(failure.reason, FailureReason::StoreFailed);
    assert!(failure.message.contains("has 1 bytes, but the dump had 16"), "{failure}");
    repository.holds_nothing_and_is_unlocked();
}

#[test]
fn forgetting_removes_a_backups_artifacts_and_can_be_repeated() {
    let repository = Repository::made();
    Pod::new(&repository).of("uid-of-another").stores(b"another's");
    Pod::new(&repository).stores(b"mine");

    let pod = Pod::new(&repository);
    assert_eq!(pod.forget().ended().ended_well(), Ended::Forgotten(1));
    assert_eq!(pod.forget().ended().ended_well(), Ended::Forgotten(0));
    assert_eq!(repository.snapshots().len(), 1, "the other backup's artifact stays");
}

#[test]
fn forgetting_is_fine_where_there_is_no_repository_and_makes_none() {
    let repository = Repository::planned();
    assert_eq!(Pod::new(&repository).forget().ended().ended_well(), Ended::Forgotten(0));
    assert!(!repository.folder().exists());
}

#[test]
fn forgetting_in_a_repository_that_does_not_answer_is_a_failure() {
    let repository = Repository::planned();
    let pod = Pod::new(&repository.at("rest:http://user:s3cret-word@127.0.0.1:1/"));
    let ended = pod.forget().ended();
    assert!(!ended.everything_said().contains("s3cret-word"), "the store's password was said");
    assert_eq!(ended.failed().reason, FailureReason::RepositoryUnreachable);
}

#[test]
fn a_mover_that_is_killed_alone_has_restic_save_nothing() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    let mut dump = Dump::open(&pod);
    dump.write(&pseudo_random(5 << 20));
    let restic = mover.restic();
    repository.waits_for_a_lock();
    mover.killed();

    // restic outlives the mover here; in a pod it would be killed, too. It ends by itself, and without saving.
    until("restic ends", || !restic.is_alive());
    assert!(repository.snapshots().is_empty(), "half a dump was saved");
    // The dump is not left hanging either.
    assert!(dump.is_refused());
}

#[test]
fn a_mover_that_is_killed_with_its_restic_is_followed_by_one_that_succeeds_despite_the_lock() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    let mut dump = Dump::open(&pod);
    dump.write(&pseudo_random(5 << 20));
    let restic = mover.restic();
    repository.waits_for_a_lock();
    restic.signal("STOP");
    mover.killed();
    restic.signal("KILL");
    until("restic is gone", || !restic.is_alive());
    assert_eq!(repository.locks(), 1, "the dead left its lock");
    assert!(repository.snapshots().is_empty());

    let manifest = Pod::new(&repository).stores(b"whole");
    assert_eq!(repository.dump(&manifest.snapshot_id, "shop.dump"), b"whole");
    assert_eq!(repository.snapshots().len(), 1);
}

#[test]
fn a_restic_that_is_killed_is_told_and_leaves_neither_snapshot_nor_lock() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    let mut dump = Dump::open(&pod);
    dump.write(&pseudo_random(5 << 20));
    let restic = mover.restic();
    repository.waits_for_a_lock();
    restic.signal("KILL");

    let failure = mover.ended().failed();
    assert_eq!(failure.reason, FailureReason::StoreFailed);
    assert!(failure.message.contains("restic was killed"), "{failure}");
    repository.holds_nothing_and_is_unlocked();
}

#[test]
fn a_mover_that_is_told_to_stop_stops_and_leaves_nothing() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    let mut dump = Dump::open(&pod);
    dump.write(&pseudo_random(5 << 20));
    let restic = mover.restic();
    repository.waits_for_a_lock();
    mover.signal("TERM");

    assert_eq!(mover.ended().failed().reason, FailureReason::Interrupted);
    assert!(!restic.is_alive());
    repository.holds_nothing_and_is_unlocked();
}

#[test]
fn a_mover_that_waits_for_a_dump_can_be_told_to_stop() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    mover.says("waiting for the dump");
    mover.signal("TERM");
    assert_eq!(mover.ended().failed().reason, FailureReason::Interrupted);
}

#[test]
fn a_repository_that_is_locked_is_waited_for_and_no_byte_of_the_dump_is_lost() {
    let repository = Repository::made();
    let holder = repository.exclusively_held();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    let bytes = pseudo_random(300_000);
    let mut dump = Dump::open(&pod);
    dump.write(&bytes[..150_000]);
    mover.says("the repository is locked");
    // Its lock is now that of a dead one, which the mover removes.
    holder.killed();
    dump.write(&bytes[150_000..]);
    dump.end(&pod, "0");

    let manifest = mover.ended().sealed();
    assert_eq!(manifest.sha256, mover_support::sha256(&bytes));
    assert!(repository.dump(&manifest.snapshot_id, "shop.dump") == bytes);
    assert_eq!(repository.snapshots().len(), 1);
}

#[test]
fn a_lock_of_the_living_is_respected_until_patience_ends() {
    let repository = Repository::made();
    let holder = repository.exclusively_held();
    let pod = Pod::new(&repository);
    let mover = pod.start_with(&["--lock-wait-seconds", "1"]);
    let mut dump = Dump::open(&pod);
    dump.write(b"some bytes");

    assert_eq!(mover.ended().failed().reason, FailureReason::RepositoryLocked);
    assert_eq!(repository.locks(), 1, "the lock of a living one was removed");
    holder.killed();
}

#[test]
fn a_long_dump_takes_little_memory() {
    let repository = Repository::made();
    let pod = Pod::new(&repository);
    let mover = pod.start();
    // A dump that comes late must not be taken for one that has ended.
    mover.says("waiting for the dump");
    let mut dump = Dump::open(&pod);
    let chunk = pseudo_random(1 << 20);
    for round in 0..64_u8 {
        dump.write(&chunk.iter().map(|byte| byte ^ round).collect::<Vec<_>>());
    }
    // All of it but a pipe's and a socket's worth has gone through the mover now, and it still runs.
    let peak = mover.peak_kibibytes();
    dump.end(&pod, "0");
    assert_eq!(mover.ended().sealed().size_bytes, 64 << 20);
    assert!(peak < 48 * 1024, "{peak} KiB for a dump of 65536 KiB");
}

#[test]
fn a_missing_restic_is_told_with_what_to_do() {
    let repository = Repository::planned();
    let failure = Pod::new(&repository).start_with(&["--restic", "no-such-program"]).ended().failed();
    assert_eq!(failure.reason, FailureReason::Misconfigured);
    assert!(failure.message.contains("Debian: package restic"), "{failure}");
}

#[test]
fn a_missing_key_is_told_before_anything_is_done() {
    let failure = Pod::new(&Repository::planned().with_key("")).start().ended().failed();
    assert_eq!(failure.reason, FailureReason::Misconfigured);
    assert!(failure.message.contains("RESTIC_PASSWORD"), "{failure}");
}
