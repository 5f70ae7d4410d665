# shellcheck shell=bash
# Where the demo keeps its things while it is up, and how it goes: everything that it started ends, whatever happens.

# demo_place NAME: found again by "demo shell".
demo_place() { echo "${XDG_STATE_HOME:-${HOME:?neither XDG_STATE_HOME nor HOME is set}/.local/state}/trueup/demo/$1"; }

open_place() {
  began=${EPOCHREALTIME/[.,]/}
  place=$(demo_place "$name")
  mkdir -p "$place"
  chmod 700 "$place"
  exec {place_lock}<"$place"
  flock --nonblock "$place_lock" ||
    fail "starting the demo" "another one called '$name' is up, in $place" "end it with Ctrl-C where it runs, or start this one with DEMO_NAME=another"
  # What a demo left that could not clean up.
  rm -rf --one-file-system "${place:?}"/*
  mkdir "$place/processes" "$place/logs" "$place/data"
  trap 'close_place $?' EXIT
  trap 'exit 130' INT TERM HUP
  set -E
  trap 'failed_at="${BASH_SOURCE[0]##*/} line $LINENO: $BASH_COMMAND"' ERR
}

# close_place STATUS: whatever the reason, nothing of ours stays behind; after a failure its logs do.
close_place() {
  local -r status=$1
  trap - EXIT
  # A second Ctrl-C must not leave half of it running.
  trap '' INT TERM HUP
  set +e
  waiting_line=''
  erase_live
  ((status == 0 || status == 130)) || [[ ${nothing_begun:-no} == yes ]] || tell_failure "$status"
  [[ $status != 130 ]] || printf '\n'
  ((${settled:-0} == 1)) || [[ ${nothing_begun:-no} == yes ]] || printf 'cleaning up\n'
  stop_process "$place" view 2
  [[ $mode != current || -z ${cluster_up:-} ]] || leave_current
  stop_process "$place" controller 8
  stop_process "$place" receiver 8
  [[ $mode == current ]] || "$hack_cluster/cluster" down "$name"
  rm -rf --one-file-system "$place"
  exit "$status"
}

# tell_failure STATUS: where it happened, what the programs said last, what to try. The logs are kept.
tell_failure() {
  local -r kept=$(mktemp -d "${TMPDIR:-/tmp}/trueup-demo-failed.XXXXXX")
  {
    printf '\n%sThe demo failed%s in %s (exit code %s).\n' "$red" "$plain" "$doing" "$1"
    [[ -z ${failed_at:-} ]] || printf 'It was at %s\n' "$failed_at"
    # An early failure has no cluster to look at.
    if [[ -n ${cluster_up:-} ]]; then look_around >"$kept/cluster.txt" 2>&1; fi
    cp -r "$place/logs/." "$kept/" 2>/dev/null
    [[ -z ${cluster_folder:-} ]] || cp -r "$cluster_folder/logs" "$kept/cluster-logs" 2>/dev/null
    local log
    for log in controller receiver cluster; do
      [[ -s $kept/$log.log ]] || continue
      printf '\n%s says last:\n' "$log"
      tail -n 12 "$kept/$log.log" | cut -c1-400 | sed 's/^/   /'
    done
    [[ ! -s $kept/cluster.txt ]] || {
      printf '\nand the cluster:\n'
      cut -c1-200 "$kept/cluster.txt" | head -n 40 | sed 's/^/   /'
    }
    printf '\nAll logs are kept in %s.\n' "$kept"
    printf 'To try: the same again (a busy machine may miss a deadline); DEMO_MODE=kwok for simulated pods; DEMO_NAME=another if one is up.\n'
  } >&2
}

# look_around: what a person would ask first.
look_around() {
  in_cluster kubectl get trueup --all-namespaces --output wide
  in_cluster kubectl get pods --all-namespaces
  in_cluster kubectl get events --all-namespaces --sort-by=.lastTimestamp | tail -n 15
}
