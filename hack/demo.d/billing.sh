# shellcheck shell=bash
# What billing knows: asked from the receiver itself, never from the controller.

# billing PATH: the receiver's answer.
billing() { in_cluster curl --silent --show-error --fail --max-time 5 "$receiver_url$1"; }

# billing_has KIND NAMESPACE NAME STATE [CONDITION]: whether what billing applied last says so; CONDITION is jq over the resource.
# A namespace of "-" is none.
billing_has() {
  local known
  known=$(billing /resources 2>/dev/null | jq --compact-output --arg kind "$1" --arg namespace "$2" --arg name "$3" \
    '.resources | map(select(.kind == $kind and .name == $name and (.namespace // "-") == $namespace)) | last // empty') || return 1
  if [[ -z $known ]]; then
    why_not="billing has never heard of it"
    return 1
  fi
  why_not="billing has it as $(jq --raw-output '"\(.state), sequence \(.sequence)"' <<<"$known")"
  jq --exit-status --arg state "$4" ".state == \$state and (${5:-true})" <<<"$known" >/dev/null
}

# await_billing SECONDS KIND NAMESPACE NAME STATE [CONDITION WORDS]
await_billing() {
  await "$1" "billing has $(spoken "$2" "$3" "$4") as $5${7:+ $7}" billing_has "$2" "$3" "$4" "$5" "${6:-true}"
}

spoken() { if [[ $2 == - ]]; then echo "$1 $3"; else echo "$1 $2/$3"; fi; }

# tell_news: every event that billing has applied and the audience hasn't seen yet, in the order in which they happened.
declare -A told=()
tell_news() {
  local uid sequence events after line
  local -a news=()
  while read -r uid sequence; do
    after=${told[$uid]:-0}
    ((sequence > after)) || continue
    events=$(billing "/resources/$uid/events?after=$after" | jq --raw-output '.events[].body')
    told[$uid]=$sequence
    news+=("$events")
  done < <(billing /resources | jq --raw-output '.resources[] | "\(.uid) \(.sequence)"')
  ((${#news[@]} > 0)) || return 0
  local -a lines=()
  mapfile -t lines < <(printf '%s\n' "${news[@]}" | jq --raw-output --slurp --from-file "$parts/news.jq")
  print "   billing was told:"
  for line in "${lines[@]}"; do print "     $line"; done
}
