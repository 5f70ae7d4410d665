# shellcheck shell=bash
# Where clusters keep what belongs to them, and who may change it.

# clusters_root: the folder that holds one folder for each cluster.
clusters_root() {
  echo "${TRUEUP_CLUSTERS:-${XDG_STATE_HOME:-${HOME:?neither TRUEUP_CLUSTERS nor HOME is set}/.local/state}/trueup/clusters}"
}

# check_name NAME: names become folders, cgroups and parts of host names.
check_name() {
  [[ $1 =~ ^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    usage_error "a cluster can't be called '$1': use at most 40 lower-case letters, digits and '-'"
}

# cluster_dir NAME: its folder, as an absolute path.
cluster_dir() { echo "$(realpath -ms "$(clusters_root)")/$1"; }

# existing_cluster NAME: its folder; ends the script when there is no such cluster.
existing_cluster() {
  local dir
  check_name "$1"
  dir=$(cluster_dir "$1")
  [[ -e $dir/mode ]] || fail "looking for cluster '$1'" "there is no folder $dir" "start it with 'cluster up $1', or see 'cluster list'"
  echo "$dir"
}

# cluster_id DIR: eight hex digits that tell apart clusters of the same name under different roots.
cluster_id() { sha256sum <<<"$1" | cut -c1-8; }

# lock_cluster DIR: makes the folder and keeps every other command that changes this cluster waiting until this script ends.
# The folder itself is the lock, so that no lock file is left behind; after waiting for it, it may have been removed and
# made anew by someone else, hence the comparison.
lock_cluster() {
  local -r dir=$1
  local told=no
  while true; do
    mkdir -p "$dir"
    chmod 700 "$dir"
    exec {cluster_lock}<"$dir" || continue
    if ! flock --nonblock "$cluster_lock"; then
      [[ $told == yes ]] || say "waiting for another command that is changing cluster ${dir##*/}"
      told=yes
      flock "$cluster_lock"
    fi
    [[ ! /proc/$BASHPID/fd/$cluster_lock -ef $dir ]] || return 0
    exec {cluster_lock}<&-
  done
}

# is_ready DIR: whether "up" got to its end and all that it started is still running.
is_ready() {
  local name
  [[ -e $1/ready ]] || return 1
  for name in $(process_names "$1"); do process_pid "$1" "$name" >/dev/null || return 1; done
}

# condition_of DIR: one word for people.
condition_of() {
  if is_ready "$1"; then
    echo up
  elif [[ -e $1/failed ]]; then
    echo failed
  elif [[ -e $1/ready ]]; then
    echo degraded
  else
    echo unfinished
  fi
}
