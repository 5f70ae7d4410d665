# shellcheck shell=bash
# Where things that are built once per user are kept.

# cache_root: the folder under which everything is cached.
cache_root() { echo "${TRUEUP_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither TRUEUP_CACHE nor HOME is set}/.cache}/trueup}"; }

# hash_of FILE...: sixteen hex digits of what is in the files, whatever they are called.
hash_of() { cat "$@" | sha256sum | cut -c1-16; }

# with_lock LOCK_FILE WHAT CMD...: runs a command while no other process holds the lock; says so when it has to wait
# (not when WHAT is empty, as for what takes a moment).
# The command doesn't inherit the lock, so that nothing it leaves behind can hold it. "set -e" holds inside: it would be
# switched off if the subshell were part of a condition.
with_lock() {
  local -r lock=$1 what=$2
  shift 2
  mkdir -p "$(dirname "$lock")"
  local fd status
  exec {fd}>"$lock"
  if ! flock --nonblock "$fd"; then
    [[ -z $what ]] || say "waiting for another process that is $what"
    flock "$fd"
  fi
  set +e
  (
    set -e
    "$@"
  ) {fd}>&-
  status=$?
  set -e
  exec {fd}>&-
  return "$status"
}
