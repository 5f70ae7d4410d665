# shellcheck shell=bash
# What a transcript of the demo must show.

passed=0 failures=0

# check WHAT CMD...: counts and tells whether the command succeeds; shows what it says when not.
check() {
  local -r what=$1
  local output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok      $what"
  else
    failures=$((failures + 1))
    echo "FAILED  $what"
    [[ -z $output ]] || sed 's/^/        /' <<<"$output"
  fi
}

tell_checks() {
  echo "e2e: $passed passed, $failures failed in ${SECONDS}s"
  ((failures == 0))
}

check_facts() {
  local -r lived="Pending Progressing Available Progressing Available Progressing Failed Progressing Available Suspended Progressing Available Progressing Available"
  check "pods were real" absent "SIMULATED PODS"
  check "the application answered through its Service" shown "^ +trueup.dev/demo/web version 1$"
  check "billing heard of the tenant's life" same "$(told "Tenant acme")" "Provisioning Active Suspended Active"
  check "billing heard of web's life" same "$(told "AppDeployment acme-prod/web")" "$lived"
  check "billing heard of preview's life" same "$(told "AppDeployment acme-dev/preview")" "Pending Progressing Available Suspended Progressing Available Terminating Deleted"
  check "billing heard of the backup's life" same "$(told "Backup acme-prod/shop-first")" "Pending Running Completed"
  check "billing heard of the failed backup's life" same "$(told "Backup acme-prod/shop-half")" "Pending Running Failed"
  check "billing was told of each place once, in order" dense
  check "the backup was restored, row for row" shown "^ +✓ the backup is restorable: 500 customers, 5000 orders"
  check "the failed backup says what pg_dump said" shown '^ +its status says: .*row-level security policy for table "orders"'
  check "a dump that dies half way leaves nothing in the repository" shown "^ +✓ the repository has 1 snapshot: nothing of the failed one is left"
  check "the controller was killed half way" shown '\$ kill -KILL [0-9]+$'
  check "billing knew nothing better while it was dead" shown "✓ billing still has it as Progressing"
  check "the history has web's life in order" same "$(remembered)" "$lived"
  check "the audit's last line says that all invariants hold" shown '^audit: all invariants hold \([0-9].*\)$'
}

shown() { grep -qE -- "$1" "$transcript"; }
absent() { ! grep -F -- "$1" "$transcript"; }

# same FOUND WANTED
same() {
  [[ $1 == "$2" ]] || {
    printf 'wanted  %s\nfound   %s\n' "$2" "$1"
    return 1
  }
}

# told WHAT: the states that billing was told of, one after the other; rows in which the state stays are left out.
told() { billing_lines | awk -v what="$1" '$1 " " $2 == what && $4 != $6 { out = out sep $6; sep = " " } END { print out }'; }

# billing_lines: "KIND NAME #N FROM → TO ..." as the demo prints them.
billing_lines() { grep -E '^     (Tenant|AppDeployment|Backup) [^ ]+ +#[0-9]+ ' "$transcript"; }

# dense: for each resource 1, 2, 3 and so on.
dense() {
  billing_lines | awk '
    { key = $1 " " $2; number = substr($3, 2) }
    number != seen[key] + 1 { print key ": " number " after " seen[key] + 0; bad = 1 }
    { seen[key] = number }
    END { exit bad }'
}

# remembered: the states in the history, which is what stands between its heading and the audit's. The first row has no arrow.
remembered() {
  sed -n '/^What happened to web/,/^Does everything hold/p' "$transcript" |
    awk '$1 ~ /^[0-9]+$/ && $2 ~ /^[0-9]+-/ {
      to = $5 == "→" ? $6 : $4
      if ($5 != "→" || $4 != $6) { out = out sep to; sep = " " }
    } END { print out }'
}
