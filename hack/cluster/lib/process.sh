# shellcheck shell=bash
# Starting and ending a cluster's processes. Each is known by its pid and its start time together: the kernel hands out
# pids again, and a signal must never reach a process that this cluster didn't start.
#
# In the cluster's folder: processes/NAME.command (the command line, NUL-separated, so that it can be started again),
# processes/NAME.pid ("PID START_TIME") and logs/NAME.log.

# start_time PID: when the process started, in clock ticks since boot; fails when it is gone or only a zombie is left.
start_time() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  # The second field is the program's name in parentheses and may hold blanks: count from behind it.
  local -a fields
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]:-X} != [ZX] ]] || return 1
  echo "${fields[19]}"
}

# same_process PID START_TIME: whether that very process is still running.
same_process() { [[ $(start_time "$1") == "$2" ]]; }

# process_pid DIR NAME: the pid of a process of the cluster that is running; fails when it is not.
process_pid() {
  local pid started
  read -r pid started 2>/dev/null <"$1/processes/$2.pid" || return 1
  same_process "$pid" "$started" && echo "$pid"
}

# define_process DIR NAME CMD...: writes down how a process is started.
define_process() {
  local -r dir=$1 name=$2
  shift 2
  printf '%s\0' "$@" >"$dir/processes/$name.command"
}

# start_process DIR NAME: starts it in a session of its own, so that a Ctrl-C meant for the caller doesn't reach it. The
# record is written by the process itself just before it becomes the program: there is no moment in which it runs unrecorded.
start_process() {
  local -r dir=$1 name=$2
  local -a command
  mapfile -d '' -t command <"$dir/processes/$name.command"
  (
    trap - EXIT
    close_inherited_files
    # Not inside "$( )": that is a process of its own, with a pid and a start time of its own.
    me=$BASHPID
    echo "$me $(start_time "$me")" >"$dir/processes/$name.pid"
    exec setsid "${command[@]}"
  ) </dev/null >>"$dir/logs/$name.log" 2>&1 &
  disown
  # Whoever asks for the pid next must find it.
  local n
  for ((n = 0; n < 100; n++)); do
    [[ ! -s $dir/processes/$name.pid ]] || return 0
    sleep 0.01
  done
}

# close_inherited_files: a daemon that keeps its caller's lock or pipe open makes others wait for ever.
close_inherited_files() {
  local fd
  for fd in "/proc/$BASHPID/fd/"*; do
    fd=${fd##*/}
    # The glob's own descriptor is among them, and closed by now: closing it again does no harm. No redirection may stand
    # around this loop: the shell would keep what it replaces in a descriptor, and that would be closed, too.
    if ((fd > 2)); then eval "exec $fd>&-"; fi
  done
}

# run_process DIR NAME CMD...: defines and starts.
run_process() {
  define_process "$@"
  rm -f "$1/processes/$2.pid"
  start_process "$1" "$2"
}

# signal_process DIR NAME SIGNAL: to that very process, or to none.
signal_process() {
  local pid
  pid=$(process_pid "$1" "$2") || return 0
  kill -s "$3" "$pid" 2>/dev/null || true
}

# stop_process DIR NAME SECONDS: asks it to end, waits that long, then makes it end.
stop_process() {
  local -r dir=$1 name=$2 patience=$3
  signal_process "$dir" "$name" TERM
  # A stopped process would not see the request.
  signal_process "$dir" "$name" CONT
  wait_until_gone "$dir" "$name" "$patience" || {
    signal_process "$dir" "$name" KILL
    wait_until_gone "$dir" "$name" 10 ||
      fail "ending $name of cluster ${dir##*/}" "process $(process_pid "$dir" "$name") survived SIGKILL for 10 s" \
        "look at what it waits for in /proc/$(process_pid "$dir" "$name")/stack, then run 'down' again"
  }
  rm -f "$dir/processes/$name.pid"
}

# wait_until_gone DIR NAME SECONDS: succeeds as soon as the process is gone, fails when time is up.
wait_until_gone() {
  local n
  for ((n = 0; n < $3 * 20; n++)); do
    process_pid "$1" "$2" >/dev/null || return 0
    sleep 0.05
  done
  ! process_pid "$1" "$2" >/dev/null
}

# process_names DIR: the names of all processes that the cluster was ever given.
process_names() {
  local file
  for file in "$1/processes/"*.command; do
    [[ ! -e $file ]] || basename "$file" .command
  done
}
