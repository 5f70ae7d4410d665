# shellcheck shell=bash
# What the scripts need from the distribution. Root on Debian or its relatives gets it installed; anyone else is told what to
# install.

# require PURPOSE COMMAND=PACKAGE...: a command may also be given as a path.
require() {
  local -r purpose=$1
  shift
  local pair
  local -a missing=()
  for pair in "$@"; do
    is_there "${pair%%=*}" || missing+=("${pair#*=}")
  done
  ((${#missing[@]} > 0)) || return 0
  local -r packages=$(printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' ')
  local -r command="apt-get install --no-install-recommends ${packages% }"
  ((EUID == 0)) && command -v apt-get >/dev/null ||
    fail "$purpose" "missing on this machine: ${packages% }" "as root: $command (or the packages of these names of your distribution)"
  say "installing ${packages% } for $purpose"
  install_packages "${missing[@]}" || fail "$purpose" "'$command' failed" "see above, then try it by hand"
  hash -r
}

# is_there COMMAND: also where an ordinary user's PATH doesn't look.
is_there() {
  if [[ $1 == /* ]]; then [[ -e $1 ]]; else PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; fi
}

# install_packages PACKAGE...: with the list of packages as it is; brings it up to date only when that fails.
install_packages() {
  local -ra install=(apt-get install --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=300 "$@")
  export DEBIAN_FRONTEND=noninteractive
  "${install[@]}" >/dev/null 2>&1 || {
    apt-get update --quiet >/dev/null
    "${install[@]}" >&2
  }
}
