# shellcheck shell=bash
# A cluster with a real node, and in it what Trueup needs: its image, a database, a receiver. All of it goes when the script does.

# open_helm_place: sets cluster, folder and archive.
open_helm_place() {
  name=e2e-helm-$$
  folder=$(mktemp -d "${TMPDIR:-/tmp}/trueup-e2e.XXXXXX")
  trap 'close_helm_place $?' EXIT
  trap 'exit 130' INT TERM HUP
  archive=${E2E_IMAGE:-}
  [[ -n $archive ]] || archive=$("$root/hack/image" --profile "${E2E_PROFILE:-dev}" | tail -n 1)
  PATH="$("$root/hack/cluster/build" node helm | tail -n 1):$PATH"
  say "starting a throwaway Kubernetes with a real node"
  "$root/hack/cluster/cluster" up "$name" --mode node --owner $$ >"$folder/cluster.log" 2>&1 || {
    tail -n 20 "$folder/cluster.log" >&2
    fail "starting the cluster" "see above"
  }
  say "loading images"
  "$root/hack/cluster/images" load "$name" web postgres >>"$folder/cluster.log" 2>&1 ||
    fail "loading images into the node" "$(tail -n 1 "$folder/cluster.log")"
  "$root/hack/cluster/cluster" load "$name" "$archive" >>"$folder/cluster.log" 2>&1 ||
    fail "loading the image into the node" "$(tail -n 1 "$folder/cluster.log")"
}

close_helm_place() {
  local -r status=$1
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  stop_load
  ((status == 0 && failures == 0)) || tell_what_was_there
  "$root/hack/cluster/cluster" down "$name"
  rm -rf --one-file-system "${folder:?}"
  exit "$status"
}

# tell_what_was_there: what a person would look at first.
tell_what_was_there() {
  {
    printf '\nwhat was there at the end:\n'
    kube get pods --all-namespaces --output wide
    kube get trueup --all-namespaces
    kube --namespace trueup-system logs --selector app.kubernetes.io/name=trueup --tail 15 --prefix
    kube get events --all-namespaces --sort-by .lastTimestamp | tail -n 15
  } 2>&1 | cut -c1-240 | sed 's/^/   /' >&2
}

inside() { "$root/hack/cluster/cluster" exec "$name" -- "$@"; }
kube() { inside kubectl "$@"; }
# in_trueup WORKLOAD ARGUMENT...: the program, in a pod of the release.
in_trueup() { kube --namespace trueup-system exec "$1/trueup" --container controller -- trueup "${@:2}"; }

# new_namespace NAME [LEVEL]: LEVEL is the PodSecurity standard that the API server enforces there.
new_namespace() {
  kube create namespace "$1"
  [[ -z ${2:-} ]] || kube label namespace "$1" "pod-security.kubernetes.io/enforce=$2"
}

# new_secret NAMESPACE NAME KEY VALUE: by standard input, since command lines are there for everyone to see.
new_secret() {
  jq --null-input --arg namespace "$1" --arg name "$2" --arg key "$3" --rawfile value <(printf '%s' "$4") \
    '{apiVersion: "v1", kind: "Secret", metadata: {$namespace, $name}, stringData: {($key): $value}}' | kube create --filename -
}

# within SECONDS CMD...: until the command succeeds.
within() {
  local -r until=$((SECONDS + $1))
  local said
  shift
  until said=$("$@" 2>&1); do
    ((SECONDS < until)) || { printf '%s\n' "$said" && return 1; }
    sleep 0.2
  done
}
