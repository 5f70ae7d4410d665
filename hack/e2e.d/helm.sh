# shellcheck shell=bash
# Trueup's whole life on a cluster, by Helm alone: installed from nothing, tried, upgraded under load, rolled back, uninstalled, and
# installed again; first with the chart's defaults, then with several replicas on PostgreSQL.

# step WHAT CMD...: a check that the rest relies on. Within one, nothing ends at a command that fails: hence "&&" below.
step() {
  local -r before=$failures
  check "$@"
  ((failures == before)) || fail "the end-to-end test with Helm" "'$1' failed, and the rest relies on it" "see above"
}

readonly system=trueup-system
# What is upgraded from: the chart as it was released last.
before_this=$(echo "$root"/tests/chart/before/trueup-*.tgz)
chart=$root/charts/trueup

helm_story() {
  open_helm_place
  check_image
  on_sqlite
  on_postgres
}

# on_sqlite: one pod, whose volume outlives the chart.
on_sqlite() {
  step "a namespace that lets in restricted pods only" new_namespace "$system" restricted
  step "helm installs the definitions" helm_quietly install trueup-crds "$root/charts/trueup-crds" --namespace "$system"
  step "helm installs the chart before this one as it is by default, and its pod gets ready" from_before on_defaults install
  step "helm test" helm_quietly test trueup --namespace "$system"
  step "a tenant gets ready" a_tenant
  step "helm upgrades it to this one, with data in place" on_defaults upgrade --set leaseSeconds=4
  step "helm rolls back to the one before" helm_quietly rollback trueup 1 --namespace "$system" --wait --timeout 120s
  step "the audit finds nothing" within 60 in_trueup statefulset audit
  step "helm uninstalls Trueup" helm_quietly uninstall trueup --namespace "$system" --wait --timeout 60s
  check "the tenant's namespaces are still there" kube get namespace acme-prod acme-dev
  step "installed again, it carries on with the ledger that stayed" on_defaults install
  step "whose history has the tenant's whole life" says "Active" in_trueup statefulset history tenant acme
  step "a tenant that is deleted goes, with its namespaces" kube delete tenant/acme --timeout 90s
  step "helm uninstalls all of it" helm_quietly uninstall trueup trueup-crds --namespace "$system" --wait --timeout 60s
  step "and the namespace goes" kube delete namespace "$system" --timeout 60s
}

# from_before CMD...: with the chart before this one.
from_before() {
  local -r chart=$before_this
  "$@"
}

on_defaults() { helm_quietly "$1" trueup "$chart" --namespace "$system" --wait --timeout 120s "${@:2}"; }

a_tenant() { kube apply --filename "$root/examples/tenant.yaml" && kube wait tenant/acme --for condition=Ready --timeout 60s; }

# says WORD CMD...
says() { "${@:2}" | grep -- "$1"; }

# on_postgres: two pods, one of which leads.
on_postgres() {
  local password key
  password=$(openssl rand -hex 16) key="whsec_$(openssl rand -base64 32)"

  step "namespaces for billing and its like" restricted_namespaces
  step "a database for the ledger" a_database "$password"
  step "a receiver, from the same image" a_receiver "$key"
  receiver=$(kube --namespace billing get service receiver --output jsonpath='{.spec.clusterIP}'):8090
  step "helm installs the definitions" helm_quietly install trueup-crds "$root/charts/trueup-crds" --namespace "$system"
  step "helm installs the chart before this one, and its pods get ready" from_before install_trueup --wait --timeout 120s
  step "helm test" helm_quietly test trueup --namespace "$system"
  check_memory
  step "the examples are applied" apply_examples
  step "the tenant and its applications get ready" everything_is_ready
  step "billing hears of all of them" within 30 billed '["AppDeployment/preview/Available","AppDeployment/web/Available","Tenant/acme/Active"]'
  step "the mover of the image stores a backup" a_backup
  check "Prometheus has every target up, every alert loaded, and data for every panel" prometheus_sees "$name" "$system" trueup

  start_load
  step "helm upgrades it to this one under load, pod by pod" install_trueup --set log.filter=debug --set podAnnotations.upgraded=yes --wait --timeout 180s
  step "helm rolls back under load" helm_quietly rollback trueup 1 --namespace "$system" --wait --timeout 180s
  stop_load
  check "no event was held up" delivery_during_load 30
  sed 's/^/        /' "$folder/delivery"
  step "everything comes to rest" at_rest
  step "the audit finds nothing" within 60 in_trueup deployment audit

  local before after
  before=$(workloads)
  step "helm uninstalls Trueup" helm_quietly uninstall trueup --namespace "$system" --wait --timeout 60s
  step "helm uninstalls the definitions' chart" helm_quietly uninstall trueup-crds --namespace "$system" --wait --timeout 60s
  after=$(workloads)
  check "every workload of the tenant runs on, untouched" same "$after" "$before"
  check "the definitions are still there" same "$(definitions)" "$(cd "$root/crds" && printf '%s\n' *.yaml | sed 's/\.yaml$//' | sort)"
  check "and so are the objects" kube get tenant/acme appdeployment/web --namespace acme-prod
  check "no namespace hangs" no_namespace_hangs
  check "Trueup's own namespace goes at once" kube delete namespace "$system" --timeout 60s

  new_namespace "$system" restricted >/dev/null
  new_secret "$system" trueup-ledger url "postgres://trueup:$password@ledger.ledger/trueup" >/dev/null
  new_secret "$system" billing-signing key "$key" >/dev/null
  step "the definitions' chart takes over what stayed" helm_quietly install trueup-crds "$root/charts/trueup-crds" --namespace "$system"
  step "Trueup is installed again, on the ledger that it had" install_trueup --wait --timeout 120s
  step "a tenant that is deleted now goes, with its namespaces" deleted_for_good
  step "billing hears the last of it" within 30 billed '["AppDeployment/preview/Deleted","AppDeployment/web/Deleted","Tenant/acme/Deleted"]'
}

# check_memory: what a controller keeps that has nothing to do. A program that is not optimised keeps more, and is only told of.
check_memory() {
  local mebibytes limit=25
  [[ $archive == */trueup-release-* ]] || limit=100
  # shellcheck disable=SC2016 # that shell's variables are meant
  mebibytes=$(kube --namespace "$system" exec deployment/trueup -- bash -c \
    'while read -r what kibibytes _; do [[ $what != VmRSS: ]] || echo $((kibibytes / 1024)); done </proc/1/status')
  check "an idle controller keeps $mebibytes MiB in memory" test "$mebibytes" -lt "$limit"
}

helm_quietly() { inside helm "$@"; }

install_trueup() {
  inside helm upgrade --install trueup "$chart" --namespace trueup-system --set replicas=2 \
    --set ledger.postgres.secretName=trueup-ledger --set receiver=http://receiver.billing:8090 --set resources.requests.cpu=300m "$@"
}

restricted_namespaces() { new_namespace trueup-system restricted && new_namespace billing restricted && new_namespace ledger baseline; }

a_database() {
  new_secret ledger ledger password "$1" &&
    new_secret trueup-system trueup-ledger url "postgres://trueup:$1@ledger.ledger/trueup" &&
    kube apply --filename "$root/hack/e2e.d/manifests/ledger.yaml" &&
    kube --namespace ledger rollout status deployment/ledger --timeout 90s
}

a_receiver() {
  new_secret billing billing-signing key "$1" &&
    new_secret trueup-system billing-signing key "$1" &&
    kube apply --filename "$root/hack/e2e.d/manifests/receiver.yaml" &&
    kube --namespace billing rollout status deployment/receiver --timeout 60s
}

# apply_examples: the sink first, with where the receiver is in this cluster.
apply_examples() {
  sed 's|http://127\.0\.0\.1:8090|http://receiver.billing:8090|' "$root/examples/billing.yaml" | kube apply --filename - &&
    a_tenant &&
    kube apply --filename "$root/examples/web.yaml" --filename "$root/examples/preview.yaml"
}

everything_is_ready() {
  kube wait tenant/acme --for condition=Ready --timeout 60s &&
    kube --namespace acme-prod wait appdeployment/web --for condition=Ready --timeout 60s &&
    kube --namespace acme-dev wait appdeployment/preview --for condition=Ready --timeout 60s
}

# at_rest: with two pods and one, as billing has it too, and no others.
at_rest() {
  kube --namespace acme-prod patch appdeployment web --type merge --patch '{"spec":{"replicas":2}}' &&
    kube --namespace acme-dev patch appdeployment preview --type merge --patch '{"spec":{"replicas":1}}' &&
    within 60 billed_for "web 2" "preview 1" &&
    within 60 pods_left 3
}

# billed_for "NAME COUNT"...: whether billing charges for that many pods of each.
billed_for() {
  local one
  for one in "$@"; do
    billing /resources | jq --exit-status --arg name "${one% *}" --argjson count "${one#* }" \
      'any(.resources[]; .name == $name and .state == "Available" and .billable.replicas == $count)' >/dev/null || return 1
  done
}

pods_left() { same "$(workloads | wc -l)" "$1"; }

# billed STATES: whether billing has these of the kinds that it charges for, as sorted JSON of "kind/name/state".
billed() {
  local -r found=$(billing /resources | jq --compact-output '[.resources[] | select(.kind != "Backup") | "\(.kind)/\(.name)/\(.state)"] | sort')
  same "$found" "$1"
}

a_backup() {
  new_secret acme-prod database password "$(openssl rand -hex 16)" &&
    new_secret acme-prod backup-key password "$(openssl rand -hex 32)" &&
    kube apply --filename "$root/examples/database.yaml" --filename "$root/examples/repository.yaml" &&
    within 90 kube --namespace acme-prod wait pod/database-0 --for condition=Ready --timeout 1s &&
    kube apply --filename "$root/examples/backup.yaml" &&
    kube --namespace acme-prod wait backup/shop-first --for condition=Ready --timeout 120s
}

# workloads: every pod of the tenant that is to stay, by what identifies it.
workloads() {
  kube get pods --all-namespaces --selector app.kubernetes.io/managed-by=trueup --field-selector status.phase=Running --output json |
    jq --raw-output '.items[] | select(.metadata.deletionTimestamp == null) | "\(.metadata.namespace)/\(.metadata.name) \(.metadata.uid) \(.status.containerStatuses[0].restartCount)"' | sort
}

definitions() { kube get customresourcedefinitions --output name | sed -n 's|.*/\(.*\.trueup\.dev\)$|\1|p' | sort; }

no_namespace_hangs() { same "$(kube get namespaces --field-selector status.phase=Terminating --output name)" ""; }

deleted_for_good() {
  kube --namespace acme-prod delete appdeployment/web backup/shop-first --timeout 90s &&
    kube --namespace acme-dev delete appdeployment/preview --timeout 90s &&
    kube delete tenant/acme --timeout 120s &&
    same "$(kube get namespaces acme-prod acme-dev --ignore-not-found --output name)" ""
}
