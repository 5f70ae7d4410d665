# shellcheck shell=bash
# What the audience sees: chapters, commands, what is waited for, what billing was told. On a terminal the live view stays below the
# text and is redrawn; what stands above it scrolls away like any other output. Elsewhere it is printed once a chapter.

chapter=0 chapters=0 doing="getting ready"
live_height=0 live_text=''

begin_screen() {
  tty=no bold='' dim='' green='' red='' yellow='' plain=''
  if [[ -t 1 && ${TERM:-dumb} != dumb ]]; then
    tty=yes
    [[ -n ${NO_COLOR:-} ]] || bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' plain=$'\e[0m'
  fi
  pause=${DEMO_PAUSE:-$([[ $tty == yes ]] && echo 2 || echo 0)}
  [[ $pause =~ ^[0-9]+(\.[0-9]+)?$ ]] || usage_error "DEMO_PAUSE is a number of seconds, not '$pause'"
}

# print LINE...: text that stays, above the live view.
print() {
  erase_live
  printf '%s\n' "$@"
  draw_live
}

# begin_chapter TITLE SENTENCE: what happens next, and why somebody should look.
begin_chapter() {
  chapter=$((chapter + 1))
  doing="chapter $chapter, \"$1\""
  print "" "${bold}$chapter/$chapters  $1${plain}" "     ${dim}$2${plain}"
}

# end_chapter: what billing was told meanwhile; a frame of the live view where it isn't redrawn all the time; a rest.
end_chapter() {
  tell_news
  [[ $tty == yes ]] || { echo && print_frame; }
  rest "$pause"
}

# rest SECONDS: with the live view going on.
rest() {
  local -r until=$((${EPOCHREALTIME/[.,]/} + ${1%%.*} * 1000000))
  [[ $tty == yes ]] || return 0
  while ((${EPOCHREALTIME/[.,]/} < until)); do
    refresh_view
    sleep 0.2
  done
}

# run CMD...: shows a command and runs it; its output is shown when it fails, and only then.
run() {
  print "   ${bold}\$ $(quoted "$@")${plain}"
  local output
  output=$(on_cluster "$@" 2>&1) || {
    erase_live
    printf '%s\n' "$output" >&2
    fail "running '$*'" "it ended with an error, see above" "try it by hand: hack/demo exec $(quoted "$@")"
  }
}

# note MARK TEXT: one fact.
note() { print "   $1 $2"; }
good() { note "${green}✓${plain}" "$1"; }

# quoted WORD...: as one would type it.
quoted() {
  local word line=''
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=@,%+-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+="${line:+ }$word"
  done
  printf '%s' "$line"
}

# erase_live, draw_live, redraw_live: the part of the screen that is redrawn. Nothing else writes to the terminal in between.
erase_live() {
  ((live_height > 0)) || return 0
  printf '\e[%dA\r\e[J' "$live_height"
  live_height=0
}

draw_live() {
  [[ $tty == yes ]] || return 0
  drawn="$live_text|${waiting_line:-}"
  local text=''
  [[ -z ${waiting_line:-} ]] || text="   ${yellow}…${plain} $waiting_line"$'\n'
  [[ -z $live_text ]] || text+=$'\n'$(fit_to_screen <<<"$live_text")$'\n'
  [[ -n $text ]] || return 0
  printf '%s' "$text"
  local -r newlines=${text//[!$'\n']/}
  live_height=${#newlines}
}

# redraw_live: at once, on terminals that can: others ignore what stands around it.
redraw_live() {
  [[ $tty == yes ]] || return 0
  local -r up=$live_height
  live_height=0
  printf '\e[?2026h%s' "$( ((up == 0)) || printf '\e[%dA\r\e[J' "$up")"
  draw_live
  printf '\e[?2026l'
}

screen_columns() { stty size </dev/tty 2>/dev/null | cut -d' ' -f2 || echo 100; }

# fit_to_screen: a line that wraps, or more lines than there are, can't be erased again.
fit_to_screen() {
  local rows columns
  read -r rows columns < <(stty size </dev/tty 2>/dev/null || echo "24 80")
  awk -v rows="$((rows - 4))" -v columns="$columns" '
    NR > rows { next }
    {
      # Colours take no room.
      out = ""; used = 0; rest = $0
      while (rest != "" && used < columns - 1) {
        if (match(rest, /^\033\[[0-9;]*[A-Za-z]/)) { out = out substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 1); continue }
        c = substr(rest, 1, 1); rest = substr(rest, 2); out = out c
        # Only the first byte of a character counts, also where awk takes bytes for characters.
        if (c !~ /[\200-\277]/) used++
      }
      while (match(rest, /^[\200-\277]/)) { out = out substr(rest, 1, 1); rest = substr(rest, 2) }
      print out (out ~ /\033/ ? "\033[0m" : "")
    }'
}
