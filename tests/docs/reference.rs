//! The pages that the program prints.

use std::fs;

use trueup::api::{crds, reference};

use crate::root;

#[test]
fn the_pages_of_the_kinds_are_those_of_the_types() {
    let folder = root().join("docs/reference/kinds");
    for definition in crds() {
        let path = folder.join(format!("{}.md", definition.spec.names.kind.to_lowercase()));
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == reference(&definition), "{} differs from the types; run `make reference`", path.display());
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), crds().len());
}
