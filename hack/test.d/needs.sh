# shellcheck shell=bash
# What the tests need from the machine, and the programs of the throwaway Kubernetes.

get_what_is_missing() {
  command -v cargo >/dev/null || fail "testing" "the command 'cargo' is not in PATH" "install Rust with rustup: https://rustup.rs"
  get_postgres
  require "the tests" restic=restic jq=jq curl=curl openssl=openssl shellcheck=shellcheck setpriv=util-linux flock=util-linux pgrep=procps \
    python3=python3 node=nodejs npm=npm
  get_what_cuts_links
  mapfile -t scripts < <(grep --files-with-matches --recursive '^#!.*bash' hack packaging .ci)
}

# get_what_cuts_links: for network namespaces and what goes wrong between them. Without root there are none, and their tests say
# that they skip the cuts.
get_what_cuts_links() {
  ((EUID != 0)) || require "cutting links" ip=iproute2 tc=iproute2 nft=nftables unshare=util-linux setpriv=util-linux
}

# get_postgres: the programs of a server, as the ledger's tests start one of their own. No server of the system's is set up.
get_postgres() {
  local found
  for found in /usr/lib/postgresql/*/bin/initdb $(type -P initdb); do
    [[ ! -x $found ]] || return 0
  done
  if ((EUID == 0)) && command -v apt-get >/dev/null; then
    say "installing postgresql-15 for the ledger's tests"
    install_packages postgresql-common
    local -r settings=/etc/postgresql-common/createcluster.conf
    local -r before=$(cat "$settings" 2>/dev/null)
    echo 'create_main_cluster = false' >>"$settings"
    install_packages postgresql-15 || fail "installing postgresql-15" "apt-get failed, see above" "try it by hand"
    printf '%s\n' "$before" >"$settings"
  fi
  require "the ledger's tests" /usr/lib/postgresql/15/bin/initdb=postgresql-15
}

# build_cluster_meanwhile PART...: for the parts that need it. Their own calls wait for it.
build_cluster_meanwhile() {
  [[ " $* " =~ " rest "|" controllers "|" cluster " ]] || return 0
  nice hack/nats/build >"$logs/build-nats.log" 2>&1 || {
    tail -n 15 "$logs/build-nats.log"
    fail "building the NATS server" "see above" "hack/nats/build"
  }
  nice hack/typescript/build >"$logs/build-typescript.log" 2>&1 || {
    tail -n 15 "$logs/build-typescript.log"
    fail "installing the TypeScript compiler" "see above" "hack/typescript/build"
  }
  # Prometheus first: it takes some minutes, Kubernetes more.
  { nice hack/prometheus/build && nice hack/cluster/build control-plane helm; } >"$logs/build-cluster.log" 2>&1 &
  cluster_build=$!
}

# wait_for_cluster_build: says so when it takes long, since nothing else would.
wait_for_cluster_build() {
  [[ -n ${cluster_build:-} ]] || return 0
  local -r began=$SECONDS
  ! kill -0 "$cluster_build" 2>/dev/null || echo "         waiting for the programs of the throwaway Kubernetes; $logs/build-cluster.log says how far they are"
  wait "$cluster_build" || {
    tail -n 15 "$logs/build-cluster.log"
    fail "building Prometheus and the throwaway Kubernetes" "see above" "hack/prometheus/build && hack/cluster/build control-plane"
  }
  cluster_build=''
  ((SECONDS - began < 2)) || took+=("$(printf '%-12s %5d s' waiting $((SECONDS - began)))")
}
