# shellcheck shell=bash
# Load: specs that change all the time, and how long what came of it was on its way to billing.

# start_load: until stop_load, one application after the other is told to have more pods, or fewer.
start_load() {
  (
    trap 'exit 0' TERM
    # shellcheck disable=SC2030 # meant for the subshell alone
    for ((n = 0; ; n++)); do
      kube --namespace acme-prod patch appdeployment web --type merge --patch "{\"spec\":{\"replicas\":$((1 + n % 2))}}"
      kube --namespace acme-dev patch appdeployment preview --type merge --patch "{\"spec\":{\"replicas\":$((1 + (n + 1) % 2))}}"
      sleep 0.5
    done
  ) >"$folder/load.log" 2>&1 &
  load=$!
  load_began=$(now)
}

stop_load() {
  [[ -n ${load:-} ]] || return 0
  kill "$load" 2>/dev/null || true
  wait "$load" 2>/dev/null || true
  load='' load_ended=$(now)
}

now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }

# billing PATH: the receiver's answer.
billing() { inside curl --silent --show-error --fail --max-time 5 "http://$receiver$1"; }

# everything_billed: each event that billing applied, with when it happened, by Kubernetes' own word, when it was recorded and when
# applied, one a line of JSON.
everything_billed() {
  local uid
  for uid in $(billing "/resources?limit=1000" | jq --raw-output '.resources[].uid'); do
    billing "/resources/$uid/events?limit=1000" | jq --compact-output \
      '.events[] | (.body | fromjson) as $event | {happened: $event.data.effectiveAt, recorded: $event.recordedtime, applied: .appliedAt, what: "\($event.data.name) \($event.data.to)"}'
  done
}

# delivery_during_load SECONDS: how many events were delivered, and how long the longest took from when it happened; that is also how
# long nobody led. More than SECONDS is a failure.
delivery_during_load() {
  mkdir -p "$root/target/e2e"
  everything_billed >"$root/target/e2e/deliveries.json"
  jq --slurp --raw-output --arg from "$load_began" --arg to "$load_ended" --argjson limit "$1" '
    def seconds: (sub("\\.[0-9]+"; "") | fromdate) + ((capture("\\.(?<part>[0-9]+)").part // "0") | "0.\(.)" | tonumber);
    def worst: max * 1000 | floor;
    map(select(.applied >= $from and .applied <= $to) | map_values(if test("^2") then seconds else . end))
    | (map(.applied - .happened) | worst) as $all
    | (map(.applied - .recorded) | worst) as $way
    | "\(length) events; billing had each within \($all) ms of when it happened, and within \($way) ms of when it was recorded",
      (if length > 20 and $all < $limit * 1000 then empty else error("that is too few, or too long") end)' "$root/target/e2e/deliveries.json" >"$folder/delivery"
}
