# shellcheck shell=bash
# The room in which a real node lives: namespaces of its own for network, mounts and processes. All three end with the process
# called "node": killing it kills every container, and takes every mount and every network interface along. Nothing has to be
# cleaned up one by one, also when this script never gets to run again; only cgroups do.

# Every cluster has the same addresses: none can see another's. None of them leads out.
readonly node_address=10.89.0.1 node_network=10.89.0.1/24 pod_network=10.244.0.0/24 cluster_dns=10.89.0.1
# Where processes inside find the cluster's folder. Short, because paths of sockets are limited to 107 bytes.
readonly inner=/run/cluster

start_sandbox() {
  case $dir/ in
    /run/* | /var/run/* | /var/log/* | /var/lib/cni/*)
      fail "starting a node for cluster '${dir##*/}'" "its folder $dir lies where the node gets a file system of its own" "set TRUEUP_CLUSTERS to another place"
      ;;
  esac
  run_process "$dir" node unshare --net --mount --propagation slave --pid --fork --kill-child --mount-proc "$here/lib/sandbox-init" "$dir" "$inner"
  wait_until 10 "the node's namespaces" node -- test -e "$dir/sandbox-ready"
  enter_sandbox
  make_network
  make_cgroups
}

# enter_sandbox: sets "inside", which puts a command into the network, and "in_node", which puts it wholly into the node.
enter_sandbox() {
  local pid
  pid=$(process_pid "$dir" node) || fail "entering cluster '${dir##*/}'" "its node has ended" "take it down and up again"
  # Not "ip netns exec": it mounts a new /sys, and then the kubelet finds no cgroups.
  inside=(nsenter "--net=/proc/$pid/ns/net" --)
  in_node=(nsenter "--net=/proc/$pid/ns/net" "--mount=/proc/$pid/ns/mnt" "--pid=/proc/$pid/ns/pid_for_children" --)
}

make_network() {
  "${inside[@]}" bash -euc '
    ip link set lo up
    # A bridge without ports: an address that is neither loopback, which the API server refuses, nor outside.
    ip link add node0 type bridge
    ip address add "$1" dev node0
    ip link set node0 up
    # Addresses of Services are translated only for packets that have a route.
    ip route add "$2" dev node0
    echo 1 >/proc/sys/net/ipv4/ip_forward
  ' network "$node_network" "$service_range" || fail "making the network of cluster '${dir##*/}'" "see above" "check that this kernel has bridges and network namespaces"
  # Nothing may be sent to an address that is not this machine's.
  [[ $("${inside[@]}" ip route get "$node_address") == local* ]] ||
    fail "making the network of cluster '${dir##*/}'" "$node_address is not a local address in it" "this is a bug: please report it"
}

# cgroup_roots: one on current systems, one for each controller on older ones.
cgroup_roots() {
  local root
  if [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]]; then
    echo /sys/fs/cgroup
  else
    for root in /sys/fs/cgroup/*/; do
      [[ -L ${root%/} || ! -e $root/cgroup.procs ]] || echo "${root%/}"
    done
  fi
}

cgroup_name() { echo "trueup-$(cluster_id "$1")"; }

make_cgroups() {
  local root
  for root in $(cgroup_roots); do
    mkdir -p "$root/$(cgroup_name "$dir")"
    [[ $root != /sys/fs/cgroup ]] || enable_controllers "$root"
  done
}

# enable_controllers ROOT: a new cgroup only has the controllers that its parent hands down.
enable_controllers() {
  local controller
  for controller in $(<"$1/cgroup.controllers"); do
    echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || true
  done
}

# stop_node DIR: ends the node and all that is in it.
stop_node() {
  local -r dir=$1
  signal_process "$dir" node KILL
  wait_until_gone "$dir" node 10 || fail "ending the node of cluster '${dir##*/}'" "process $(process_pid "$dir" node) survived SIGKILL for 10 s" "run 'down' again"
  remove_cgroups "$dir"
}

# remove_cgroups DIR: the kernel lets go of ended processes a little later, hence the patience.
remove_cgroups() {
  local root n
  for root in $(cgroup_roots); do
    for ((n = 0; n < 100; n++)); do
      [[ -d $root/$(cgroup_name "$1") ]] || break
      find "$root/$(cgroup_name "$1")" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    done
    [[ ! -d $root/$(cgroup_name "$1") ]] || say "warning: $root/$(cgroup_name "$1") could not be removed: something in it is still running"
  done
}
