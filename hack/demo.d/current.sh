# shellcheck shell=bash
# CLUSTER=current: the user's own cluster. Nothing is done to it before it was shown and confirmed, and everything that was made
# there is removed again.

# ask_about_current: which cluster it is, what will be made there, and whether that is all right.
ask_about_current() {
  # Nothing has been started yet: the reason says it all.
  nothing_begun=yes
  require "the demo on a cluster of yours" kubectl=kubectl
  local address answer
  context=$(kubectl config current-context 2>/dev/null) || fail "using the current cluster" "kubectl has no current context" "choose one with 'kubectl config use-context'"
  address=$(kubectl config view --minify --output jsonpath='{.clusters[0].cluster.server}')
  kubectl version --output json --request-timeout 10s >/dev/null 2>&1 || fail "using the current cluster" "context $context at $address does not answer"
  printf '%sThe current cluster is context %s at %s.%s\n' "$bold" "$context" "$address" "$plain"
  cat <<TEXT
The demo would make there, and remove at its end:
  - the custom resources of trueup.dev, the namespace $own_namespace, ClusterRole and ClusterRoleBinding trueup-demo
  - the tenant acme with the namespaces $prod and $dev, and two applications and a database in them
Controller and receiver run on this machine. Its nodes need the images $(image web:1), $(image web:2), $(image crash:1),
$(image postgres:15) and $(image mover:dev): hack/cluster/images makes them; DEMO_REGISTRY says where they are.
TEXT
  refuse_if_in_use
  if [[ ${CONFIRM:-} == 1 ]]; then nothing_begun=no && return; fi
  [[ -t 0 ]] || fail "using the current cluster" "nobody is there to be asked" "set CONFIRM=1 to go ahead"
  read -r -p "Go ahead? Type the context's name: " answer
  [[ $answer == "$context" ]] || fail "using the current cluster" "not confirmed, and nothing was done"
  nothing_begun=no
}

# refuse_if_in_use: what is there already is somebody's, and would be removed at the end.
refuse_if_in_use() {
  local -r found=$(rests_of_a_demo)
  [[ -z $found ]] || fail "using the current cluster" "it already has ${found//$'\n'/, }" "remove that if it is a demo's rest; the demo never touches what it didn't make"
}

rests_of_a_demo() {
  kubectl get customresourcedefinitions --output name | grep '\.trueup\.dev$' || true
  kubectl get namespaces "$own_namespace" "$prod" "$dev" --ignore-not-found --output name
  kubectl get clusterroles,clusterrolebindings --output name | grep '/trueup-demo$' || true
}

# current_kubeconfig_for_controller: a ServiceAccount with a token for the time of the demo, and the cluster's address.
current_kubeconfig_for_controller() {
  kubectl --namespace "$own_namespace" create serviceaccount trueup-demo >>"$place/logs/kubectl.log"
  local token
  token=$(kubectl --namespace "$own_namespace" create token trueup-demo --duration 8h)
  (umask 077 && kubectl config view --minify --flatten --output json) | jq --rawfile token <(printf '%s' "$token") \
    '.users = [{name: "trueup-demo", user: {token: $token}}] | .contexts[0].context.user = "trueup-demo"'
}

# leave_current: in the order in which things depend on each other. The controller has to be there to let go of its own; whatever it
# doesn't let go of in time is freed by force, since all of it was made by this demo.
leave_current() {
  printf 'removing what the demo made in the current cluster; that may take a minute\n'
  {
    process_pid "$place" controller || start_process "$place" controller
    kubectl patch billingsinks/billing --type merge --patch '{"spec":{"abandonUndelivered":true}}'
    local kind
    for kind in backups appdeployments; do remove_all "$kind" "$prod" "$dev"; done
    remove_all tenants -
    remove_all billingsinks -
    kubectl delete namespaces "$prod" "$dev" "$own_namespace" --ignore-not-found --timeout 120s
    kubectl delete --filename "$root/crds" --ignore-not-found --timeout 60s
    kubectl delete clusterrole/trueup-demo clusterrolebinding/trueup-demo --ignore-not-found
  } >>"$place/logs/leave.log" 2>&1
  local -r left=$(rests_of_a_demo)
  [[ -z $left ]] || printf 'warning: still there: %s\n' "${left//$'\n'/, }" >&2
}

# remove_all KIND NAMESPACE...: a namespace of "-" is none.
remove_all() {
  local -r kind=$1
  local namespace object
  shift
  for namespace in "$@"; do
    local -a where=(--namespace "$namespace")
    [[ $namespace != - ]] || where=()
    kubectl delete "$kind" --all "${where[@]}" --timeout 60s && continue
    for object in $(kubectl get "$kind" "${where[@]}" --output name); do
      kubectl patch "$object" "${where[@]}" --type merge --patch '{"metadata":{"finalizers":null}}'
    done
  done
}
