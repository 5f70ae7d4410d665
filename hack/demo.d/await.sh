# shellcheck shell=bash
# Waiting: always for a condition, never longer than a deadline, and never in silence.

# await SECONDS WHAT CMD...: until the command succeeds. WHAT ends the sentence "waiting until ...". "why_not", if a command sets
# it, says what is known about the reason when time is up.
await() {
  local -r patience=$1 what=$2 began=${EPOCHREALTIME/[.,]/}
  shift 2
  local passed
  why_not='' waiting_for="waiting until $what"
  if [[ $tty == no ]]; then printf '   … waiting until %s (at most %s s)\n' "$what" "$patience"; fi
  until "$@"; do
    passed=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
    ((passed < patience * 1000)) || {
      waiting_line=''
      erase_live
      fail "waiting until $what" "not so after $patience s${why_not:+; $why_not}"
    }
    all_alive
    waiting_line="waiting until $what  ${dim}$((passed / 1000)) s of $patience s${plain}"
    refresh_view
    sleep 0.15
  done
  passed=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
  waiting_line=''
  good "$what  ${dim}$(seconds "$passed")${plain}"
}

# seconds MILLISECONDS: for people.
seconds() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }
