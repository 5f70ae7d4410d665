# shellcheck shell=bash
# The story: what happens to a customer's things in a week, in two minutes. Each chapter does something, waits until billing has
# heard of it, and goes on.

readonly prod=acme-prod dev=acme-dev

tell_story() {
  chapters=10
  [[ $mode != kwok ]] || chapters=8
  a_customer_arrives
  if [[ $mode != kwok ]]; then
    a_backup_is_made
    a_dump_dies
  fi
  it_is_scaled
  it_is_broken
  it_is_mended
  the_tenant_is_suspended
  the_tenant_is_resumed
  the_controller_is_killed
  one_is_deleted
}

# example FILE...: applies examples, with this run's addresses and images in them.
example() {
  local file
  for file in "$@"; do
    print "   ${bold}\$ kubectl apply -f examples/$file.yaml${plain}"
    sed -e "s|http://127\.0\.0\.1:8090|$receiver_url|" -e "s|trueup\.dev/demo/|${DEMO_REGISTRY:-trueup.dev/demo}/|" "$root/examples/$file.yaml" |
      in_cluster kubectl apply --filename - >>"$place/logs/kubectl.log" || fail "applying examples/$file.yaml" "see above"
  done
}

a_customer_arrives() {
  begin_chapter "A customer arrives" "A tenant with two namespaces, two applications, a database. Billing hears of each change as it happens."
  example billing tenant
  await_billing 30 Tenant - acme Active
  example web preview
  if [[ $mode != kwok ]]; then
    new_secret "$prod" database password "$(openssl rand -hex 16)"
    example database
  fi
  await_billing 60 AppDeployment "$prod" web Available '.billable.replicas == 2' "with 2 pods"
  await_billing 60 AppDeployment "$dev" preview Available
  prove_http
  end_chapter
}

a_backup_is_made() {
  begin_chapter "The database is backed up" "A Job dumps it in its own image. The backup counts only once all of it is in the repository."
  await 90 "the database takes connections" pod_is_ready database-0
  new_secret "$prod" backup-key password "$(openssl rand -hex 32)"
  example repository backup
  await_billing 120 Backup "$prod" shop-first Completed
  prove_backup
  end_chapter
}

a_dump_dies() {
  begin_chapter "A dump dies half way" "Its user may not read all rows of one table; pg_dump finds out after it has written another one."
  forbid_half
  print "   ${bold}\$ sed 's/shop-first/shop-half/; s/user: shop/user: clerk/' examples/backup.yaml | kubectl apply -f -${plain}"
  sed -e 's/shop-first/shop-half/; s/user: shop/user: clerk/' -e "s|trueup\.dev/demo/|${DEMO_REGISTRY:-trueup.dev/demo}/|" "$root/examples/backup.yaml" |
    in_cluster kubectl apply --filename - >>"$place/logs/kubectl.log" || fail "applying examples/backup.yaml for another user" "see above"
  await_billing 120 Backup "$prod" shop-half Failed
  prove_nothing_was_kept
  end_chapter
}

pod_is_ready() { in_cluster kubectl --namespace "$prod" wait "pod/$1" --for condition=Ready --timeout 1s >/dev/null 2>&1; }

it_is_scaled() {
  begin_chapter "It is scaled" "Twice the pods: billing is told the new size when they serve, not when they were asked for."
  run kubectl -n "$prod" scale appdeployment/web --replicas 4
  await_billing 60 AppDeployment "$prod" web Available '.billable.replicas == 4' "with 4 pods"
  end_chapter
}

it_is_broken() {
  begin_chapter "It is broken" "An image that crashes at once. The old pods serve on, and after its deadline the rollout has failed, with a reason."
  run kubectl -n "$prod" patch appdeployment/web --type merge -p "$(image_patch crash:1)"
  await_billing 90 AppDeployment "$prod" web Failed
  show_reason
  end_chapter
}

# show_reason: what somebody sees who looks at the application.
show_reason() {
  local message
  message=$(in_cluster kubectl --namespace "$prod" get appdeployment web --output jsonpath='{.status.conditions[?(@.type=="Stalled")].message}')
  print "   its status says: ${message:0:160}"
}

it_is_mended() {
  begin_chapter "It is mended" "The image that worked is put back."
  run kubectl -n "$prod" patch appdeployment/web --type merge -p "$(image_patch web:1)"
  await_billing 60 AppDeployment "$prod" web Available '.billable.replicas == 4' "with 4 pods"
  end_chapter
}

the_tenant_is_suspended() {
  begin_chapter "The customer's account is suspended" "Every application of the tenant stops; nothing is deleted, and nothing is charged."
  run kubectl patch tenant/acme --type merge -p '{"spec":{"suspend":true}}'
  await_billing 60 AppDeployment "$prod" web Suspended '.billable.replicas == 0' "with 0 pods"
  await_billing 60 AppDeployment "$dev" preview Suspended
  await_billing 60 Tenant - acme Suspended
  end_chapter
}

the_tenant_is_resumed() {
  begin_chapter "It is resumed" "Everything comes back as it was."
  run kubectl patch tenant/acme --type merge -p '{"spec":{"suspend":false}}'
  await_billing 60 Tenant - acme Active
  await_billing 60 AppDeployment "$prod" web Available '.billable.replicas == 4' "with 4 pods"
  await_billing 60 AppDeployment "$dev" preview Available
  end_chapter
}

the_controller_is_killed() {
  begin_chapter "The controller is killed in the middle of a rollout" "SIGKILL: no goodbye, no clean-up. The rollout goes on without it; what it missed, it finds out."
  run kubectl -n "$prod" patch appdeployment/web --type merge -p "$(image_patch web:2)"
  await_billing 30 AppDeployment "$prod" web Progressing
  local -r pid=$(process_pid "$place" controller)
  print "   ${bold}\$ kill -KILL $pid${plain}"
  kill_controller
  print "   at that moment, $(in_cluster kubectl --namespace "$prod" get deployment web --output jsonpath='{.status.updatedReplicas} of {.spec.replicas} pods are new')"
  await 60 "the rollout is done, with nobody to tell of it" rollout_is_done
  billing_has AppDeployment "$prod" web Progressing || fail "looking at billing while the controller is down" "it should have web as Progressing, but $why_not"
  good "billing still has it as Progressing: nobody has told it otherwise"
  note "${bold}\$${plain}" "${bold}trueup controller${plain}"
  start_controller
  await_billing 30 AppDeployment "$prod" web Available '.billable.replicas == 4' "with 4 pods"
  end_chapter
}

rollout_is_done() { in_cluster kubectl --namespace "$prod" rollout status deployment/web --watch=false | grep -q "successfully rolled out"; }

one_is_deleted() {
  begin_chapter "An application is deleted" "Its pods end first; then the ledger closes its stream, billing hears the last of it, and the object goes."
  run kubectl -n "$dev" delete appdeployment/preview --timeout 60s
  await_billing 30 AppDeployment "$dev" preview Deleted
  end_chapter
}

image_patch() { printf '{"spec":{"image":"%s"}}' "$(image "$1")"; }
