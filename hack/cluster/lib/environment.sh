# shellcheck shell=bash
# The file "env" in a cluster's folder: what scripts and tests need to know about it, to be sourced by a shell.

# write_environment DIR: written anew whenever a process is started, since it names their pids.
write_environment() {
  local -r dir=$1
  local name pid
  {
    echo "# Made by hack/cluster for cluster ${dir##*/}. Source it."
    exported TRUEUP_CLUSTER_NAME "${dir##*/}"
    exported TRUEUP_CLUSTER_MODE "$(<"$dir/mode")"
    exported TRUEUP_CLUSTER_DIR "$dir"
    exported KUBECONFIG "$dir/admin.kubeconfig"
    # Keeps kubectl out of the user's ~/.kube.
    exported KUBERC off
    exported KUBECACHEDIR "$dir/kubectl-cache"
    exported TRUEUP_KUBECONFIG "$dir/trueup.kubeconfig"
    exported TRUEUP_AUDIT_LOG "$dir/audit.log"
    exported TRUEUP_BIN "$(<"$dir/bin")"
    exported TRUEUP_APISERVER_URL "$(<"$dir/url")"
    exported TRUEUP_NODE_IP "$(<"$dir/address")"
    if pid=$(process_pid "$dir" node); then exported TRUEUP_NETNS "/proc/$pid/ns/net"; fi
    for name in $(process_names "$dir"); do
      pid=$(process_pid "$dir" "$name") || continue
      name=${name#kube-}
      name=${name^^}
      exported "TRUEUP_${name//-/_}_PID" "$pid"
    done
  } >"$dir/.env.$BASHPID"
  mv "$dir/.env.$BASHPID" "$dir/env"
}

exported() { printf 'export %s=%q\n' "$1" "$2"; }
