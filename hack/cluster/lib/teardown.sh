# shellcheck shell=bash
# Taking a cluster down: whatever state it is in, also half started or crashed, and also when it was done before.

# end_everything DIR: ends all that runs. Clients go before the API server, and the API server before etcd: it would otherwise
# wait for its store. Nothing that is in there has to survive, hence the short patience.
end_everything() {
  local -r dir=$1
  local name
  [[ ! -d $dir/processes ]] || {
    for name in kwok coredns kube-proxy node kube-scheduler kube-controller-manager; do signal_process "$dir" "$name" TERM; done
    stop_node "$dir"
    for name in $(process_names "$dir"); do
      case $name in
        kube-apiserver | etcd | supervisor) ;;
        *) stop_process "$dir" "$name" 2 ;;
      esac
    done
    stop_process "$dir" kube-apiserver 2
    stop_process "$dir" etcd 2
  }
  release_ports "$dir"
}

# remove_cluster DIR: ends everything and removes the folder. The supervisor may be the one who does it: it goes last.
remove_cluster() {
  local -r dir=$1
  end_everything "$dir"
  local supervisor
  supervisor=$(process_pid "$dir" supervisor) || supervisor=none
  if [[ $supervisor != none && $supervisor != "${supervising:-}" ]]; then stop_process "$dir" supervisor 2; fi
  rm -rf --one-file-system "$dir"
  [[ ! -e $dir ]] || fail "removing cluster ${dir##*/}" "$dir could not be removed whole" "look at what is left in it, then run 'cluster down ${dir##*/}' again"
}
