# shellcheck shell=bash
# Before anything starts: what has to be installed, and what has to be built.

# choose_mode: real pods where that is possible. Sets mode (node, kwok or current) and why_simulated.
choose_mode() {
  why_simulated=''
  case ${CLUSTER:-} in
    "") ;;
    current) mode=current && return ;;
    *) usage_error "CLUSTER is 'current' or nothing, not '$CLUSTER': a cluster is never touched by accident" ;;
  esac
  case ${DEMO_MODE:-} in
    node | kwok) mode=$DEMO_MODE && return ;;
    "") mode=node ;;
    *) usage_error "DEMO_MODE is node or kwok, not '$DEMO_MODE'" ;;
  esac
  ((EUID == 0)) || why_simulated="a real node needs root"
  [[ -z $why_simulated ]] || mode=kwok
}

prepare() {
  require "the demo" jq=jq curl=curl openssl=openssl setpriv=util-linux tar=tar flock=util-linux
  command -v cargo >/dev/null || fail "building Trueup" "the command 'cargo' is not in PATH" "install Rust with rustup: https://rustup.rs"
  [[ $mode == kwok && -z $why_simulated ]] && why_simulated="DEMO_MODE=kwok"
  [[ $mode != current ]] || ask_about_current
  print "${bold}Trueup: what runs, what users see and what billing was told stay the same.${plain}"
  [[ $mode != kwok ]] || print "${yellow}SIMULATED PODS${plain}: $why_simulated. The API server and everything else is real."
  print ""
  build
}

# build: Trueup's own program, and meanwhile, at low priority, the cluster's: the first time that takes longest.
build() {
  doing="building"
  local began=$SECONDS set=control-plane cluster_build=''
  [[ $mode != node ]] || set=node
  if [[ $mode != current ]]; then
    nice "$root/hack/cluster/build" "$set" >"$place/logs/build-cluster.log" 2>&1 &
    cluster_build=$!
  fi
  printf 'building Trueup (cargo build)\n'
  (cd "$root" && cargo build --quiet --bin trueup) || fail "building Trueup" "cargo build failed, see above"
  trueup=${CARGO_TARGET_DIR:-$root/target}/debug/trueup
  if [[ -n $cluster_build ]]; then wait_for_cluster_build "$cluster_build"; fi
  printf 'built after %s s\n' $((SECONDS - began))
}

# wait_for_cluster_build PID: shows what it says.
wait_for_cluster_build() {
  local shown=0 lines
  while kill -0 "$1" 2>/dev/null; do
    lines=$(wc -l <"$place/logs/build-cluster.log")
    ((lines == shown)) || tail -n "+$((shown + 1))" "$place/logs/build-cluster.log"
    shown=$lines
    sleep 0.2
  done
  wait "$1" || {
    tail -n 20 "$place/logs/build-cluster.log" >&2
    fail "building the throwaway Kubernetes" "see above" "hack/cluster/build shows it in full"
  }
}
