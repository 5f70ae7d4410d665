# shellcheck shell=bash
# Programs that `cargo install` builds, once per user each.

# crate_program NAME VERSION [OPTION...]: prints the program, which it builds if need be, with what the crate's own Cargo.lock pins.
# Compiled quickly rather than to run quickly: none of them has much to do.
crate_program() {
  local -r name=$1 version=$2
  shift 2
  local folder
  command -v cargo >/dev/null || fail "building $name" "the command 'cargo' is not in PATH" "install Rust with rustup: https://rustup.rs"
  folder="$(cache_root)/crates/$name-$version-$(hash_of <(rustc --version) <(echo "$*"))"
  with_lock "$folder/lock" "building $name" install_crate "$folder" "$@"
  echo "$folder/bin/$name"
}

# install_crate FOLDER [OPTION...]: cargo puts the program in place when it is whole.
install_crate() {
  local -r folder=$1
  shift
  [[ ! -x $folder/bin/$name ]] || return 0
  say "building $name $version, which takes some minutes the first time ..."
  env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    cargo install --quiet --locked --root "$folder" --version "=$version" "$@" "$name" >&2
}
