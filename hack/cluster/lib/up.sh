# shellcheck shell=bash
# Starting a cluster.

cluster_up() {
  local name='' owner='' mode=control-plane unsafe_no_fsync=no listen=127.0.0.1
  while (($# > 0)); do
    case $1 in
      --mode) mode=${2:?--mode needs a value} && shift 2 ;;
      --mode=*) mode=${1#*=} && shift ;;
      --owner) owner=${2:?--owner needs a value} && shift 2 ;;
      --owner=*) owner=${1#*=} && shift ;;
      --address) listen=${2:?--address needs a value} && shift 2 ;;
      --address=*) listen=${1#*=} && shift ;;
      --unsafe-no-fsync) unsafe_no_fsync=yes && shift ;;
      -*) usage_error "'up' has no option '$1'" ;;
      *) [[ -z $name ]] || usage_error "'up' takes one name, but got '$name' and '$1'"
         name=$1 && shift ;;
    esac
  done
  [[ -n $name ]] || usage_error "'up' needs a name for the cluster"
  check_name "$name"
  case $mode in
    control-plane | kwok) ;;
    node) check_node_possible ;;
    *) usage_error "there is no mode '$mode': it is control-plane, kwok or node" ;;
  esac
  local owner_started=''
  [[ -z $owner ]] || owner_started=$(start_time "$owner") ||
    fail "starting cluster '$name'" "its owner, process $owner, is not running" "pass the pid of a process that is"

  local bin set=control-plane
  [[ $mode != node ]] || set=node
  bin=$("$here/build" "$set" | tail -n 1)

  local dir
  dir=$(cluster_dir "$name")
  lock_cluster "$dir"
  # One that works but for a process or two may be in the middle of somebody's test: only they can say that it may go.
  [[ ! -e $dir/ready ]] || ! process_pid "$dir" kube-apiserver >/dev/null ||
    fail "starting cluster '$name'" "it is already up, in $dir" "use it, or take it down with 'cluster down $name'"
  [[ -z $(ls -A "$dir") ]] || clear_remains "$dir"
  trap 'give_up $?' EXIT
  trap 'exit 130' INT TERM HUP

  mkdir -p "$dir/processes" "$dir/logs"
  echo "$mode" >"$dir/mode"
  echo "$bin" >"$dir/bin"
  [[ -z $owner ]] || run_process "$dir" supervisor "$here/cluster" supervise "$name" "$owner" "$owner_started"
  begin
  date -u +%Y-%m-%dT%H:%M:%SZ >"$dir/ready"
  write_environment "$dir"
  trap - EXIT INT TERM HUP
  say "cluster '$name' is up after ${SECONDS}s"
  echo "$dir"
}

# begin: starts everything. Uses the variables of cluster_up.
begin() {
  local address advertised node_name=node-1 api_port etcd_port peer_port
  local -a inside=() in_node=() ports
  if [[ $mode == node ]]; then
    start_sandbox
    address=$node_address advertised=$node_address api_port=6443 etcd_port=2379 peer_port=2380
  else
    mapfile -t ports < <(reserve_ports "$dir" 3)
    address=$listen advertised=$listen api_port=${ports[0]} etcd_port=${ports[1]} peer_port=${ports[2]}
  fi
  echo "$address" >"$dir/address"
  echo "https://$address:$api_port" >"$dir/url"
  start_control_plane
  case $mode in
    kwok) start_kwok ;;
    node) start_node ;;
  esac
}

# load_cluster DIR: the variables that the commands need, for a cluster that is up already.
load_cluster() {
  dir=$1
  bin=$(<"$dir/bin")
  mode=$(<"$dir/mode")
  inside=()
  [[ $mode != node ]] || enter_sandbox
}

# clear_remains DIR: what an earlier "up" left that was killed half way, failed, or died with the machine.
clear_remains() {
  say "clearing what an earlier start of cluster '${1##*/}' left"
  end_everything "$1"
  ! process_pid "$1" supervisor >/dev/null || stop_process "$1" supervisor 2
  find "$1" -xdev -mindepth 1 -delete
}

# give_up STATUS: the start failed or was interrupted. Nothing keeps running; the logs of a failure stay.
give_up() {
  trap - EXIT INT TERM HUP
  if (($1 == 130)); then
    remove_cluster "$dir"
  else
    end_everything "$dir"
    : >"$dir/failed"
  fi
  exit "$1"
}
