# shellcheck shell=bash
# How these scripts talk: progress and errors on stderr, results on stdout.

# say MESSAGE: one line of progress.
say() { printf '%s\n' "$*" >&2; }

# fail WHAT WHY [NEXT]: ends the script with what was being done and to what, why it failed, and what to do now.
fail() {
  printf 'error: %s: %s\n' "$1" "$2" >&2
  [[ -z ${3:-} ]] || printf '  next: %s\n' "$3" >&2
  exit 1
}

# usage_error MESSAGE: a command line that can't be understood ends with 2, as in the rest of the project.
usage_error() {
  printf 'error: %s\n' "$1" >&2
  printf '  next: %s --help\n' "${0##*/}" >&2
  exit 2
}

# show_help: a script's help is the comment at its top, without the "#!" line.
show_help() { sed -n '2,/^[^#]/{/^#/{s/^# \{0,1\}//;p}}' "$0"; }

# What follows relies on /proc, flock and setsid, and on a bash of this century.
if [[ $(uname -s) != Linux ]] || ((BASH_VERSINFO[0] < 5)); then
  fail "starting ${0##*/}" "it needs Linux and bash 5 or newer, and this is $(uname -s) with bash ${BASH_VERSION}" "run it in a Linux machine, virtual or not"
fi
