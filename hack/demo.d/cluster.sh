# shellcheck shell=bash
# The throwaway cluster: started for the demo, gone with it.

readonly hack_cluster=$root/hack/cluster

# in_cluster CMD...: with KUBECONFIG set, and in the cluster's own network. Administrator's rights.
in_cluster() {
  if [[ $mode == current ]]; then "$@"; else "$hack_cluster/cluster" exec "$name" -- "$@"; fi
}

# on_cluster CMD...: the same, for commands that the audience sees.
on_cluster() { in_cluster "$@"; }

start_cluster() {
  doing="starting the cluster"
  if [[ $mode == current ]]; then
    cluster_up=yes
    return
  fi
  local -r began=$SECONDS
  printf 'starting a throwaway Kubernetes%s\n' "$([[ $mode == node ]] && echo ' with a real node, in a network without a way out')"
  "$hack_cluster/cluster" down "$name" >"$place/logs/cluster.log" 2>&1
  cluster_folder=$("$hack_cluster/cluster" up "$name" --mode "$mode" --owner $$ 2>>"$place/logs/cluster.log" | tail -n 1) || {
    tail -n 20 "$place/logs/cluster.log" >&2
    fail "starting the cluster" "see above"
  }
  cluster_up=yes
  # shellcheck source=/dev/null
  server=$(source "$cluster_folder/env" && echo "$TRUEUP_APISERVER_URL")
  printf 'Kubernetes answers at %s after %s s\n' "$server" $((SECONDS - began))
  [[ $mode != node ]] || load_images
}

# load_images: there is no registry. The program in the mover's image is stripped: it is loaded much faster.
load_images() {
  doing="loading images"
  local -r began=$SECONDS
  printf 'loading images into the node\n'
  strip -o "$place/data/trueup" "$trueup"
  "$hack_cluster/images" load "$name" --binary "$place/data/trueup" web crash postgres mover >>"$place/logs/cluster.log" 2>&1 || {
    tail -n 20 "$place/logs/cluster.log" >&2
    fail "loading images into the node" "see above"
  }
  printf 'images are there after %s s\n' $((SECONDS - began))
}
