# shellcheck shell=bash
# The end of the story: the whole life of one resource, and whether everything holds.

end_story() {
  stop_view
  doing="the history"
  print "" "${bold}What happened to web, from the ledger:${plain}"
  print "${bold}\$ trueup history appdeployment web -n $prod${plain}"
  with_ledger "$trueup" history appdeployment web --namespace "$prod"
  doing="the audit"
  print "" "${bold}Does everything hold?${plain}"
  print "${bold}\$ trueup audit${plain}"
  local status=0
  with_ledger "$trueup" audit || status=$?
  if [[ -n ${DEMO_EXIT:-} && ${DEMO_EXIT} != 0 ]]; then
    settled=1
    exit "$status"
  fi
  invite
  # Until Ctrl-C: then the trap cleans up.
  while all_alive; do sleep 1; done
}

# with_ledger CMD...: sees the cluster as an administrator, the ledger, and the receiver.
with_ledger() {
  in_cluster env DATABASE_URL="$database_url" TRUEUP_RECEIVER="$receiver_url" TRUEUP_NAMESPACE="$own_namespace" "$@"
}

invite() {
  local demo=hack/demo
  [[ $name == demo ]] || demo="DEMO_NAME=$name hack/demo"
  print "" "That took $(seconds $(((${EPOCHREALTIME/[.,]/} - began) / 1000))). Everything stays up until Ctrl-C. In another terminal:" ""
  try "$demo shell" "a shell in which these work:"
  try "kubectl get trueup -A" "what users see"
  try "kubectl -n $prod scale appdeployment/web --replicas 3" "change something"
  try "trueup watch" "the live view"
  try "trueup history appdeployment web -n $prod" "what happened to it"
  try "trueup outbox status" "what billing was sent, and what waits"
  try "trueup audit" "whether all of it holds"
  try "curl -s $receiver_url/resources | jq ." "what billing has"
}

# try COMMAND WHAT
try() { printf '   %-58s %s\n' "$1" "$2"; }
