# shellcheck shell=bash
# A new user who has a cluster and follows docs/quickstart.md to the letter: its manifests are saved under the names that it gives
# them, and its commands typed in its order. Only the image comes another way, as from a registry that the nodes reach, and the
# application's is one that is there without the internet.

readonly quickstart=$root/docs/quickstart.md

quickstart_story() {
  open_helm_place
  make_clone
  local line
  while read -r line; do
    case $line in
      docker\ * | kind\ *) ;;
      *' exec -it '*) ;;
      # What only looks may look again: people are slower than this.
      *' exec '* | *' get '*) step "$line" within 30 in_clone "$line" ;;
      *) step "$line" in_clone "$line" ;;
    esac
  done < <(typed_lines)
  check "billing charges for the three pods of the application" within 60 billed_replicas 3
}

# make_clone: the repository as far as the page uses it, and the page's manifests, each after the command that applies it.
make_clone() {
  clone=$folder/clone
  mkdir -p "$clone"
  ln -s "$root/charts" "$root/crds" "$root/examples" "$clone"
  awk -v into="$clone" '
    match($0, /apply -f [a-z]+\.yaml/) { file = into "/" substr($0, RSTART + 9, RLENGTH - 9) }
    /^```$/ { on = 0 }
    on { print > file }
    /^```yaml$/ { on = 1 }' "$quickstart"
  sed -i 's|nginxinc/nginx-unprivileged:stable|trueup.dev/demo/web:1|' "$clone/web.yaml"
}

# typed_lines: the page's commands; those that stand in a sentence too.
typed_lines() {
  awk '
    /^```/ { on = !on }
    on { next }
    /^    / { sub(/^ +/, ""); print; next }
    { count = split($0, part, "`")
      for (n = 2; n <= count; n += 2) if (part[n] ~ /^kubectl /) print part[n] }' "$quickstart"
}

in_clone() { inside bash -c "cd '$clone' && $1"; }

billed_replicas() {
  in_clone "kubectl get --raw /api/v1/namespaces/trueup-system/services/receiver:8090/proxy/resources" |
    jq --exit-status --argjson count "$1" 'any(.resources[]; .name == "web" and .billable.replicas == $count)' >/dev/null
}
