# shellcheck shell=bash
# Whether a demo cleans up after itself. Its network and its containers live as long as its processes do, so it is enough to look for
# those, for mounts and for files; the name is one that nobody else has.

nothing_remains() {
  local -r state=${XDG_STATE_HOME:-$HOME/.local/state}/trueup
  local -r folder=${TRUEUP_CLUSTERS:-$state/clusters}/$name
  local found=''
  [[ ! -e $folder ]] || found+="the folder $folder"$'\n'
  [[ ! -e $state/demo/$name ]] || found+="the folder $state/demo/$name"$'\n'
  found+=$(pgrep --full --list-full -- "/$name/" || true)
  found+=$(grep -F -- "/$name" /proc/self/mountinfo || true)
  [[ -z $found ]] || {
    printf '%s\n' "$found"
    return 1
  }
}
