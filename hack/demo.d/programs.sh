# shellcheck shell=bash
# The two programs that the demo is about: the receiver, which plays billing's part, and the controller.

# start_program NAME CMD...: in the cluster's network; it ends with this script, even if that is killed.
start_program() {
  local -r name_of_it=$1
  shift
  local -a inside=()
  [[ $mode == current ]] || inside=("$hack_cluster/cluster" exec "$name" --)
  run_process "$place" "$name_of_it" setpriv --pdeathsig KILL "${inside[@]}" "$@"
}

start_receiver() {
  doing="starting the receiver"
  receiver_port=$(free_port 8090)
  receiver_url=http://127.0.0.1:$receiver_port
  in_cluster kubectl --namespace "$own_namespace" get secret billing-signing --output go-template='{{.data.key | base64decode}}' |
    (umask 077 && cat >"$place/data/signing-key")
  start_program receiver "$trueup" receiver --listen "127.0.0.1:$receiver_port" --database "sqlite:$place/data/billing.db" \
    --secret-file "$place/data/signing-key"
  await 20 "the receiver listens on $receiver_url" receiver_answers
}

receiver_answers() { in_cluster curl --silent --fail --max-time 2 "$receiver_url/livez" >/dev/null; }

start_controller() {
  doing="starting the controller"
  metrics_port=${metrics_port:-$(free_port 8080)}
  database_url="sqlite:$place/data/ledger.db"
  start_program controller "$(command -v env)" KUBECONFIG="$controller_kubeconfig" DATABASE_URL="$database_url" \
    "$trueup" controller --listen "127.0.0.1:$metrics_port" --mover-image "$(image mover:dev)"
  controller_expected=yes
  remember_settings
  await 30 "the controller is ready" controller_is_ready
}

controller_is_ready() { in_cluster curl --silent --fail --max-time 2 "http://127.0.0.1:$metrics_port/readyz" >/dev/null; }

kill_controller() {
  controller_expected=no
  signal_process "$place" controller KILL
  wait_until_gone "$place" controller 5
}

# all_alive: waiting is in vain when the program that should bring it about has ended.
all_alive() {
  local program
  for program in receiver controller; do
    [[ $program != controller || ${controller_expected:-no} == yes ]] || continue
    [[ -e $place/processes/$program.command ]] || continue
    process_pid "$place" "$program" >/dev/null || {
      waiting_line=''
      erase_live
      fail "${waiting_for:-waiting}" "the $program has ended; it said last: $(tail -n 1 "$place/logs/$program.log" | cut -c1-160)"
    }
  done
}

# free_port WISH: that port or the next that nobody listens on.
free_port() {
  local port
  for ((port = $1; port < $1 + 200; port++)); do
    in_cluster bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null || {
      echo "$port"
      return
    }
  done
  fail "looking for a free port" "all from $1 on are taken"
}

# image NAME:TAG: its full name on this cluster.
image() {
  case $1 in
    mover:*) echo "${DEMO_REGISTRY:-trueup.dev}/$1" ;;
    *) echo "${DEMO_REGISTRY:-trueup.dev/demo}/$1" ;;
  esac
}

# remember_settings: what "demo shell" needs to know.
remember_settings() {
  {
    printf 'export DATABASE_URL=%q\n' "$database_url"
    printf 'export TRUEUP_RECEIVER=%q\n' "$receiver_url"
    printf 'export TRUEUP_NAMESPACE=%q\n' "$own_namespace"
    printf 'export PATH=%q:$PATH\n' "${trueup%/*}"
    printf 'mode=%q\n' "$mode"
  } >"$place/settings"
}
