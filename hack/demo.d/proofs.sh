# shellcheck shell=bash
# Proofs that it is not only words: the application answers, and the backup can be restored.

# prove_http: through the Service, as a client would.
prove_http() {
  [[ $mode != kwok ]] || return 0
  local answer
  await 20 "the application answers" web_answers
  print "   ${bold}\$ curl $web_address${plain}" "   $answer"
}

# web_answers: sets answer.
web_answers() {
  if [[ $mode == current ]]; then
    # From outside the cluster: by the API server, which passes it on to the Service.
    web_address=/api/v1/namespaces/$prod/services/web:http/proxy/
    answer=$(in_cluster kubectl get --raw "$web_address" 2>&1) || return 1
  else
    web_address=http://$(in_cluster kubectl --namespace "$prod" get service web --output jsonpath='{.spec.clusterIP}')/
    answer=$(in_cluster curl --silent --show-error --fail --max-time 2 "$web_address" 2>&1) || return 1
  fi
}

# prove_backup: with restic alone, out of the repository into an empty database, and the rows counted in both.
prove_backup() {
  local snapshot file size
  IFS='|' read -r snapshot file size < <(in_cluster kubectl --namespace "$prod" get backup shop-first \
    --output jsonpath='{.status.artifact.shortId}|{.status.artifact.file}|{.status.artifact.size}{"\n"}')
  [[ -n $snapshot ]] || fail "restoring the backup" "its status names no snapshot"
  note "→" "snapshot $snapshot, $size of SQL. Is it any good? It is restored, by restic alone, into an empty database:"
  restoring_pod | in_cluster kubectl apply --filename - >>"$place/logs/kubectl.log"
  await 60 "a pod with restic in it is ready" pod_is_ready restore
  in_cluster kubectl --namespace "$prod" exec database-0 -- createdb --username shop restored
  print "   ${bold}\$ restic dump $snapshot /$file | psql restored${plain}"
  in_cluster kubectl --namespace "$prod" exec restore -- restic --no-lock --quiet dump "$snapshot" "/$file" >"$place/data/restored.sql" ||
    fail "restoring the backup" "restic could not read the snapshot, see above"
  in_cluster kubectl --namespace "$prod" exec --stdin database-0 -- \
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username shop restored <"$place/data/restored.sql" >/dev/null ||
    fail "restoring the backup" "psql refused what was restored, see above"
  local -r original=$(count_rows shop) restored=$(count_rows restored)
  note " " "original  $original" && note " " "restored  $restored"
  [[ -n $original && $original == "$restored" ]] || fail "comparing the restored database with the original" "they differ"
  good "the backup is restorable: $restored, as in the original"
}

# forbid_half: a user who may read all customers, but not all orders. pg_dump wants every row or none, and tables go by name.
forbid_half() {
  in_cluster kubectl --namespace "$prod" exec --stdin database-0 -- \
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username shop shop <<'SQL' || fail "making a database user who may not read everything" "see above"
\getenv password POSTGRES_PASSWORD
CREATE ROLE clerk LOGIN PASSWORD :'password';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
SQL
}

# prove_nothing_was_kept: the failed backup says why, and the repository has the one good snapshot and no other.
prove_nothing_was_kept() {
  local message kept
  message=$(in_cluster kubectl --namespace "$prod" get backup shop-half --output jsonpath='{.status.conditions[?(@.type=="Stalled")].message}')
  print "   its status says: ${message//$'\n'/ }"
  [[ $message == *"row-level security policy for table \"orders\""* ]] || fail "reading why the dump failed" "its status does not have pg_dump's own words"
  kept=$(in_cluster kubectl --namespace "$prod" exec restore -- restic --no-lock snapshots --json | jq length) ||
    fail "listing the repository's snapshots" "see above"
  [[ $kept == 1 ]] || fail "counting the repository's snapshots" "it should have 1, and has $kept"
  good "the repository has 1 snapshot: nothing of the failed one is left"
  in_cluster kubectl --namespace "$prod" delete pod/restore --wait=false --now >>"$place/logs/kubectl.log"
}

count_rows() {
  in_cluster kubectl --namespace "$prod" exec database-0 -- psql --no-psqlrc --no-align --tuples-only --username shop "$1" --command \
    "select (select count(*) from customers) || ' customers, ' || (select count(*) from orders) || ' orders'"
}

# restoring_pod: sees the repository as the backup's Job does, and has its key.
restoring_pod() {
  cat <<YAML
apiVersion: v1
kind: Pod
metadata: { name: restore, namespace: $prod }
spec:
  automountServiceAccountToken: false
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: { runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532 }
  containers:
    - name: restic
      image: $(image mover:dev)
      command: [sleep, "600"]
      env:
        - { name: RESTIC_REPOSITORY, value: /repository/acme }
        - name: RESTIC_PASSWORD
          valueFrom: { secretKeyRef: { name: backup-key, key: password } }
        - { name: RESTIC_CACHE_DIR, value: /tmp/restic }
        - { name: HOME, value: /tmp }
      volumeMounts: [{ name: repository, mountPath: /repository, readOnly: true }]
  volumes:
    - name: repository
      persistentVolumeClaim: { claimName: backups }
YAML
}
