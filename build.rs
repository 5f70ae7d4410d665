//! The migrations are compiled in, and a new file among them is no change that rustc would notice.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
