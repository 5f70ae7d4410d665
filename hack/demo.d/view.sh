# shellcheck shell=bash
# The live view, `trueup watch`: what the cluster says beside what the ledger recorded and billing applied. On a terminal it runs in
# the background and writes a frame whenever something changed; the screen shows the last one.

start_view() {
  case $mode in
    kwok) view_title="demo · SIMULATED PODS" ;;
    node) view_title="demo · real pods" ;;
    current) view_title="demo · context $context" ;;
  esac
  [[ $tty == yes ]] || return 0
  start_program view "$(command -v env)" CLICOLOR_FORCE="$([[ -n ${NO_COLOR:-} ]] || echo 1)" COLUMNS="$(($(screen_columns) - 1))" \
    DATABASE_URL="$database_url" TRUEUP_RECEIVER="$receiver_url" "$trueup" watch --plain --interval 200ms --title "$view_title"
}

stop_view() {
  live_text=''
  erase_live
  stop_process "$place" view 2
}

# refresh_view: takes in the newest frame and draws, if anything is new.
refresh_view() {
  local frame
  if [[ -s $place/logs/view.log ]]; then
    # The last whole one: from its title to its legend.
    frame=$(tail -n 120 "$place/logs/view.log" | awk -v title="$view_title" '
      index($0, title) { frame = ""; on = 1 }
      on { frame = frame $0 "\n" }
      on && /stalled(\033\[0?m)?$/ { whole = frame; on = 0 }
      END { printf "%s", whole }')
    [[ -z $frame ]] || live_text=$frame
  fi
  [[ "$live_text|${waiting_line:-}" == "${drawn:-}" ]] || redraw_live
}

# print_frame: one frame, where nothing is redrawn.
print_frame() { with_ledger env COLUMNS=150 "$trueup" watch --once --title "$view_title"; }
