# shellcheck shell=bash
# The commands of "cluster", apart from "up".

cluster_down() {
  (($# > 0)) || usage_error "'down' needs the name of a cluster"
  local name dir
  for name in "$@"; do
    check_name "$name"
    dir=$(cluster_dir "$name")
    [[ -d $dir ]] || continue
    (
      lock_cluster "$dir"
      remove_cluster "$dir"
    )
  done
}

# cluster_supervise NAME PID START_TIME: waits until that process is gone, then takes the cluster down. Started by "up".
cluster_supervise() {
  while same_process "$2" "$3"; do sleep 0.5; done
  # "down" must not end the one that is carrying it out.
  supervising=$BASHPID
  cluster_down "$1"
}

cluster_status() {
  (($# == 1)) || usage_error "'status' needs the name of a cluster"
  local dir name pid state
  dir=$(existing_cluster "$1")
  printf 'cluster   %s\nmode      %s\nstate     %s\nserver    %s\nfolder    %s\n\n' "$1" "$(<"$dir/mode")" "$(condition_of "$dir")" \
    "$(cat "$dir/url" 2>/dev/null || echo -)" "$dir"
  printf '%-26s %-8s %s\n' PROCESS PID STATE
  for name in $(process_names "$dir"); do
    if pid=$(process_pid "$dir" "$name"); then state=running; else pid=- state=ended; fi
    printf '%-26s %-8s %s\n' "$name" "$pid" "$state"
  done
}

cluster_list() {
  (($# == 0)) || usage_error "'list' takes no arguments"
  local dir
  printf '%-20s %-14s %-11s %s\n' NAME MODE STATE FOLDER
  for dir in "$(realpath -ms "$(clusters_root)")"/*; do
    [[ -e $dir/mode ]] || continue
    printf '%-20s %-14s %-11s %s\n' "${dir##*/}" "$(<"$dir/mode")" "$(condition_of "$dir")" "$dir"
  done
}

cluster_exec() {
  [[ $# -ge 3 && $2 == -- ]] || usage_error "'exec' is used as: cluster exec NAME -- CMD..."
  local dir
  dir=$(existing_cluster "$1")
  [[ -e $dir/env ]] || fail "entering cluster '$1'" "it is not up" "see 'cluster status $1'"
  shift 2
  # shellcheck source=/dev/null
  source "$dir/env"
  export PATH="$TRUEUP_BIN:$PATH"
  if [[ $TRUEUP_CLUSTER_MODE == node ]]; then
    [[ -e ${TRUEUP_NETNS:-} ]] || fail "entering cluster '$TRUEUP_CLUSTER_NAME'" "its node has ended" "take it down and up again"
    exec nsenter --net="$TRUEUP_NETNS" -- "$@"
  fi
  exec "$@"
}

cluster_load() {
  (($# >= 2)) || usage_error "'load' is used as: cluster load NAME ARCHIVE..."
  local dir archive
  dir=$(existing_cluster "$1")
  [[ $(<"$dir/mode") == node ]] || fail "loading images into cluster '$1'" "it has no real node" "simulated pods need no images; for real ones use 'cluster up --mode node'"
  shift
  for archive in "$@"; do
    [[ -r $archive ]] || fail "loading images into cluster '${dir##*/}'" "cannot read $archive" "make it with hack/cluster/images"
    import_image "$dir" "$archive"
    say "loaded ${archive##*/}"
  done
}

# existing_process NAME PROCESS: ends the script when the cluster has no such process; sets dir.
existing_process() {
  dir=$(existing_cluster "$1")
  [[ -e $dir/processes/$2.command ]] ||
    fail "looking for process '$2' of cluster '$1'" "there is none" "it has: $(process_names "$dir" | tr '\n' ' ')"
}

cluster_kill() {
  (($# == 2 || $# == 3)) || usage_error "'kill' is used as: cluster kill NAME PROCESS [SIGNAL]"
  local dir
  existing_process "$1" "$2"
  process_pid "$dir" "$2" >/dev/null || fail "sending a signal to $2 of cluster '$1'" "it has already ended" "start it with 'cluster restart $1 $2'"
  signal_process "$dir" "$2" "${3:-KILL}"
}

cluster_restart() {
  (($# == 2)) || usage_error "'restart' is used as: cluster restart NAME PROCESS"
  local dir
  existing_process "$1" "$2"
  case $2 in
    node | supervisor) fail "restarting $2 of cluster '$1'" "it can't be started again by itself" "take the cluster down and up again" ;;
  esac
  lock_cluster "$dir"
  stop_process "$dir" "$2" 4
  load_cluster "$dir"
  start_process "$dir" "$2"
  case $2 in containerd | kubelet) record_child "$dir" "$2" ;; esac
  wait_until "$startup_seconds" "the API server to answer" "$2" -- kube get --raw /readyz
  write_environment "$dir"
}
