# shellcheck shell=bash
# Simulated nodes and pods: kwok plays the part of the kubelets.

# kwok_stages: what kwok is told to simulate. Its own stages come from its own module, in the version that is pinned; how pods
# behave is ours.
kwok_stages() {
  local -r stages="$(kwok_source)/kustomize/stage"
  local name
  for name in node/fast/node-initialize node/heartbeat/node-heartbeat pod/fast/pod-delete \
    volume/fast/{pv-bind,pv-delete,pvc-provision,pvc-delete}; do
    [[ -r $stages/$name.yaml ]] || fail "preparing kwok" "its module has no $stages/$name.yaml" "see whether the version pinned in modules/kwok/go.mod has renamed it"
    echo "$stages/$name.yaml"
  done
  echo "$config/kwok/pods.yaml"
}

# kwok_source: the folder of the pinned module's files. The program may have come from elsewhere, or Go's cache of modules may
# have been emptied since it was built: then they are fetched.
kwok_source() {
  local folder
  folder=$(in_kwok_module list -m -f '{{.Dir}}' sigs.k8s.io/kwok) || folder=''
  if [[ -z $folder ]] && in_kwok_module mod download sigs.k8s.io/kwok >&2; then
    folder=$(in_kwok_module list -m -f '{{.Dir}}' sigs.k8s.io/kwok) || folder=''
  fi
  [[ -n $folder ]] || fail "looking for the files of kwok's module" "go doesn't have them, see above" \
    "kwok is used only with '--mode kwok'; it needs go, and its files once from where go gets modules"
  echo "$folder"
}

in_kwok_module() { GOFLAGS=-mod=readonly GOWORK=off go -C "$here/modules/kwok" "$@"; }

start_kwok() {
  local -a stages=()
  local stage listed
  listed=$(kwok_stages)
  for stage in $listed; do stages+=(--config "$stage"); done
  # No node leases: by them several kwoks share the nodes, and one that is started again would look on until its own old
  # lease has run out.
  run_process "$dir" kwok "${inside[@]}" "$bin/kwok" --kubeconfig "$dir/kubeconfigs/kwok" --manage-all-nodes --node-ip 127.0.0.1 \
    --node-lease-duration-seconds 0 "${stages[@]}"
  kube apply --filename "$config/kwok/nodes.yaml" >"$dir/logs/kubectl.log"
  wait_until "$startup_seconds" "the simulated nodes to be ready" kwok -- \
    kube wait node --all --for condition=Ready --timeout 1s
}
