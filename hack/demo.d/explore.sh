# shellcheck shell=bash
# "demo shell" and "demo exec": commands for the demo that is up, from another terminal.

explore_exec() {
  (($# > 0)) || usage_error "'exec' needs a command"
  place=$(demo_place "$name")
  [[ -r $place/settings ]] ||
    fail "looking for the demo" "none called '$name' is up" "start it with 'make demo'; DEMO_NAME says which one is meant"
  # shellcheck source=/dev/null
  source "$place/settings"
  if [[ $mode == current ]]; then exec "$@"; fi
  # Its folders of programs go in front of this one's PATH, and would hide what the settings say: hence "env" at the end.
  exec "$root/hack/cluster/cluster" exec "$name" -- "$@"
}

explore_shell() {
  place=$(demo_place "$name")
  [[ -d $place ]] || explore_exec true
  printf '# Made by hack/demo.\n[ ! -r ~/.bashrc ] || . ~/.bashrc\nPS1="(trueup %s) \\w \\$ "\n' "$name" >"$place/bashrc"
  explore_exec bash --rcfile "$place/bashrc" -i
}
