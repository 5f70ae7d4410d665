//! What a release makes for kubectl's plugin manager.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Runs a script of packaging/krew.
fn script(name: &str, args: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/krew").join(name);
    Command::new(path).args(args).output().unwrap()
}

/// What it printed; it succeeded.
fn said(name: &str, args: &[&str]) -> String {
    let output = script(name, args);
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn digest(path: &str) -> String {
    hex::encode(Sha256::digest(fs::read(path).unwrap()))
}

#[test]
fn a_release_fills_krews_manifest_in_with_what_it_packed() {
    let folder = tempfile::TempDir::new().unwrap();
    let program = folder.path().join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (program, into) = (program.to_str().unwrap(), folder.path().to_str().unwrap());
    let addresses = ["https://example.org/downloads/", "https://example.org"];
    let fill = [&[into], &addresses[..]].concat();

    let pack = |arch: &str| said("archive", &[program, arch, into]).trim().to_owned();
    let amd64 = pack("amd64");
    let missing = script("fill", &fill);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("arm64"), "{missing:?}");
    let arm64 = pack("arm64");
    let before = digest(&amd64);
    assert_eq!(digest(&pack("amd64")), before, "the same bytes each time");

    let manifest: Value = serde_yaml::from_str(&said("fill", &fill)).unwrap();
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    assert_eq!(manifest["spec"]["version"], version);
    for (place, (arch, archive)) in [("amd64", &amd64), ("arm64", &arm64)].into_iter().enumerate() {
        let platform = &manifest["spec"]["platforms"][place];
        assert_eq!(platform["selector"]["matchLabels"]["arch"], arch);
        assert_eq!(platform["sha256"], digest(archive));
        let address = format!("https://example.org/downloads/trueup-{version}-linux-{arch}.tar.gz");
        assert_eq!(platform["uri"], address);
        assert!(archive.ends_with(address.rsplit('/').next().unwrap()), "{archive}");
    }
    let short = manifest["spec"]["shortDescription"].as_str().unwrap();
    assert!(short.len() <= 80, "krew's index takes no longer one");
    let text = manifest.to_string();
    for place in ["VERSION", "SHA256", "DOWNLOADS", "HOMEPAGE"] {
        assert!(!text.contains(place), "{place} was left in {text}");
    }
}
