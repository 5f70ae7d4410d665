# shellcheck shell=bash
# Running the parts of a test: each with its time, quiet when all is well, and in full when not.

took=() failed=()
began_all=$SECONDS

# run_part NAME: runs part_NAME and tells how it went.
run_part() {
  echo "== $1"
  execute_part "$1"
  tell_part "$1"
}

# start_part NAME, finish_part NAME: the same beside others, told at the end.
start_part() {
  echo "== $1, beside the next"
  execute_part "$1" &
  beside=$!
}

finish_part() {
  [[ -n ${beside:-} ]] || return 0
  wait "$beside"
  beside=''
  echo "== $1, which ran beside them"
  tell_part "$1"
}

# execute_part NAME: what it says goes to a log, how it ended and how long it took to a file next to it.
execute_part() {
  local -r began=$SECONDS
  local status=0
  # In a subshell of its own, and not as part of a condition, so that "set -e" holds in it.
  set +e
  (
    set -e
    "part_$1"
  ) >"$logs/$1.log" 2>&1
  status=$?
  set -e
  echo "$status $((SECONDS - began))" >"$logs/$1.end"
}

# tell_part NAME: of cargo's tests the results are shown, of a failure what failed.
tell_part() {
  local -r name=$1 log=$logs/$1.log
  local status seconds
  read -r status seconds <"$logs/$name.end"
  results "$log"
  if ((status != 0)); then
    failed+=("$name")
    tell_failures "$log"
    echo "   $name FAILED; the whole output is in ${log#"$root/"}"
  fi
  took+=("$(printf '%-12s %5d s%s' "$name" "$seconds" "$( ((status == 0)) || echo '   FAILED')")")
}

# results LOG: which tests ran, and how they went.
results() { grep -E '^ +Running |^ +Doc-tests |^test result: |^[0-9]+ passed, [0-9]+ failed' "$1" | sed 's/^ */   /' || true; }

# tell_failures LOG: what cargo says between its words for failures; otherwise the end.
tell_failures() {
  if grep -q '^failures:$' "$1"; then
    awk '/^failures:$/ { on = 1 } on { print "   " $0 } /^test result:/ { on = 0 }' "$1" | head -n 200
  else
    tail -n 40 "$1" | sed 's/^/   /'
  fi
}

tell_result() {
  echo
  printf '%s\n' "${took[@]}" "$(printf '%-12s %5d s' total $((SECONDS - began_all)))"
  if ((${#failed[@]} > 0)); then
    echo "test: FAILED: ${failed[*]}"
    exit 1
  fi
  echo "test: all parts passed"
}
