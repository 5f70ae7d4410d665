# shellcheck shell=bash
# etcd, API server, controller manager and scheduler: the same in every mode, apart from where they listen.
#
# The caller sets: dir, bin, address (where the API server listens), advertised, and "inside", the words in front of each
# command line that put it into the cluster's network namespace (none outside of node mode).

readonly service_range=10.96.0.0/16 first_service_address=10.96.0.1
readonly startup_seconds=60

# make_users: everyone who talks to the API server has an account of their own, so that the audit log tells them apart.
make_users() {
  local -r server="https://$address:$api_port"
  mkdir -p "$dir/kubeconfigs"
  new_user "$dir" "$server" "$dir/admin.kubeconfig" admin system:masters
  # No rights of its own: it gets what the chart or the manifests under test grant it, and nothing else.
  new_user "$dir" "$server" "$dir/trueup.kubeconfig" trueup-controller trueup:controllers
  new_user "$dir" "$server" "$dir/kubeconfigs/controller-manager" system:kube-controller-manager
  new_user "$dir" "$server" "$dir/kubeconfigs/scheduler" system:kube-scheduler
  new_user "$dir" "$server" "$dir/kubeconfigs/kwok" kwok system:masters
  new_user "$dir" "$server" "$dir/kubeconfigs/kubelet" "system:node:$node_name" system:nodes
  new_user "$dir" "$server" "$dir/kubeconfigs/kube-proxy" system:kube-proxy
  new_user "$dir" "$server" "$dir/kubeconfigs/coredns" system:coredns
}

start_etcd() {
  local -a fsync=()
  [[ $unsafe_no_fsync == no ]] || fsync=(--unsafe-no-fsync)
  local -r client="http://127.0.0.1:$etcd_port" peer="http://127.0.0.1:$peer_port"
  run_process "$dir" etcd "${inside[@]}" "$bin/etcd" --data-dir "$dir/etcd" --name "${dir##*/}" \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "${dir##*/}=$peer" \
    --log-level warn "${fsync[@]}"
}

start_apiserver() {
  local -r keys=$dir/pki
  local -a extra=()
  # Outside of node mode nothing but loopback is listened on, and loopback is not allowed as an endpoint's address: the
  # Service "kubernetes" then has none.
  [[ $advertised != 127.* ]] || extra=(--endpoint-reconciler-type none)
  run_process "$dir" kube-apiserver "${inside[@]}" "$bin/kube-apiserver" \
    --etcd-servers "http://127.0.0.1:$etcd_port" \
    --bind-address "$address" --secure-port "$api_port" --advertise-address "$advertised" \
    --cert-dir "$keys" --tls-cert-file "$keys/apiserver.crt" --tls-private-key-file "$keys/apiserver.key" \
    --client-ca-file "$keys/ca.crt" --token-auth-file "$keys/tokens.csv" \
    --kubelet-client-certificate "$keys/kubelet-client.crt" --kubelet-client-key "$keys/kubelet-client.key" \
    --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$keys/service-accounts.key" --service-account-signing-key-file "$keys/service-accounts.key" \
    --service-cluster-ip-range "$service_range" \
    --authorization-mode Node,RBAC --allow-privileged=true \
    --audit-policy-file "$config/audit-policy.yaml" --audit-log-path "$dir/audit.log" --audit-log-maxsize 4096 \
    --profiling=false "${extra[@]}"
}

start_controller_manager() {
  local -a extra=()
  # Simulated nodes must not be judged dead because a busy machine held kwok up for a minute.
  [[ $mode != kwok ]] || extra=(--node-monitor-grace-period 10m)
  run_process "$dir" kube-controller-manager "${inside[@]}" "$bin/kube-controller-manager" \
    --kubeconfig "$dir/kubeconfigs/controller-manager" --use-service-account-credentials \
    --service-account-private-key-file "$dir/pki/service-accounts.key" --root-ca-file "$dir/pki/ca.crt" \
    --kube-api-qps 1000 --kube-api-burst 2000 --leader-elect=false --secure-port 0 --profiling=false "${extra[@]}"
}

start_scheduler() {
  run_process "$dir" kube-scheduler "${inside[@]}" "$bin/kube-scheduler" --kubeconfig "$dir/kubeconfigs/scheduler" \
    --kube-api-qps 1000 --kube-api-burst 2000 --leader-elect=false --secure-port 0 --profiling=false
}

start_control_plane() {
  make_keys "$dir" "$advertised" "$first_service_address"
  make_users
  start_etcd
  start_apiserver
  wait_until "$startup_seconds" "the API server to answer" etcd kube-apiserver -- kube get --raw /readyz
  # Not before: for a moment it refuses everybody, and on a busy machine that is longer than they put up with.
  start_controller_manager
  start_scheduler
  # Without it no pod is admitted; that it is there shows that the controller manager works.
  wait_until "$startup_seconds" "the controller manager to make the default service account" \
    kube-apiserver kube-controller-manager -- kube get serviceaccount default --namespace default
}

# kube ARGUMENT...: kubectl as the administrator of this cluster. Without the variables it would read the user's preferences and
# keep a cache in the user's folder ~/.kube.
kube() { KUBERC=off KUBECACHEDIR="$dir/kubectl-cache" "${inside[@]}" "$bin/kubectl" --kubeconfig "$dir/admin.kubeconfig" "$@"; }

# wait_until SECONDS WHAT PROCESS... -- CMD...: runs the command until it succeeds. Gives up at once when one of the processes
# that it depends on has ended.
wait_until() {
  local -r deadline=$((SECONDS + $1)) what=$2
  shift 2
  local -a needed=()
  while [[ $1 != -- ]]; do needed+=("$1") && shift; done
  shift
  local name answer
  until answer=$("$@" 2>&1); do
    for name in "${needed[@]}"; do
      process_pid "$dir" "$name" >/dev/null || fail_with_log "$name" "waiting for $what" "$name has ended"
    done
    ((SECONDS < deadline)) || fail_with_log "${needed[-1]}" "waiting for $what" "not within the time allowed; the last answer was: $answer"
    sleep 0.1
  done
}

# fail_with_log PROCESS WHAT WHY: shows the end of the process's log.
fail_with_log() {
  say "the last lines of $dir/logs/$1.log:"
  tail -n 12 "$dir/logs/$1.log" | cut -c1-300 >&2 || true
  fail "starting cluster ${dir##*/}: $2" "$3" "the logs are in $dir/logs; 'cluster down ${dir##*/}' removes them"
}
