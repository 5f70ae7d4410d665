# shellcheck shell=bash
# Root file systems of Debian, made without a container engine. Needs root.

readonly debian_suite=bookworm

# debian_mirror: the mirror that this machine uses itself, where it runs the same Debian; otherwise debootstrap's own choice.
debian_mirror() {
  if [[ -n ${TRUEUP_DEBIAN_MIRROR:-} ]]; then
    echo "$TRUEUP_DEBIAN_MIRROR"
  elif command -v apt-get >/dev/null; then
    apt-get indextargets --format '$(CODENAME) $(SITE)' 'Created-By: Packages' 2>/dev/null |
      awk -v suite="$debian_suite" '$1 == suite && !found { print $2; found = 1 }'
  fi
}

# debian_sources: what this machine installs from, where it runs the same Debian: with its updates and security updates.
debian_sources() {
  [[ -z ${TRUEUP_DEBIAN_MIRROR:-} ]] && command -v apt-get >/dev/null || return 0
  apt-get indextargets --format '$(CODENAME) $(SITE)' 'Created-By: Packages' 2>/dev/null |
    awk -v suite="$debian_suite" '$1 == suite || index($1, suite "-") == 1 { print "deb", $2, $1, "main" }' | sort -u
}

# debian_base: the layer that all Debian images share; prints its file.
debian_base() {
  local -r layer="$store/debian-$(hash_of "$here/lib/image-debian.sh").layer"
  if [[ ! -e $layer ]]; then
    require "making Debian images" debootstrap=debootstrap
    say "making the base that the Debian images share (debootstrap, about half a minute)"
    # shellcheck disable=SC2046 # no mirror is no argument
    debootstrap --variant=minbase "$debian_suite" "$work/base" $(debian_mirror) >"$layer.log" 2>&1 ||
      fail "making a Debian root file system" "debootstrap failed: $(tail -n 1 "$layer.log")" "see $layer.log; TRUEUP_DEBIAN_MIRROR chooses another mirror"
    slim "$work/base"
    pack_layer "$work/base" "$layer.new"
    mv "$layer.new" "$layer"
    rm -rf --one-file-system "$work/base"
  fi
  echo "$layer"
}

# unpack_debian ROOT: a copy of the base to work in.
unpack_debian() {
  local base
  base=$(debian_base)
  mkdir -p "$1"
  tar --extract --file "$base" --directory "$1" --numeric-owner
}

# install_in_debian ROOT PACKAGE...
install_in_debian() {
  local -r root=$1
  shift
  debian_sources >"$root.sources"
  say "installing $* in a Debian root file system"
  # Mounts made here are nobody else's, and gone when the command ends, however it ends.
  unshare --mount --propagation private bash -euc '
    root=$1
    shift
    mount -t proc proc "$root/proc"
    cp --dereference /etc/resolv.conf "$root/etc/resolv.conf"
    apt-config dump 2>/dev/null | grep -iE "^Acquire::(http|https)::" >"$root/etc/apt/apt.conf.d/00machine" || true
    [ ! -s "$root.sources" ] || cp "$root.sources" "$root/etc/apt/sources.list"
    # Nothing is to be started while it is installed.
    printf "#!/bin/sh\nexit 101\n" >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    chroot "$root" apt-get update
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install --yes --no-install-recommends "$@"
    rm "$root/usr/sbin/policy-rc.d" "$root/etc/apt/apt.conf.d/00machine" "$root/etc/resolv.conf"
  ' install "$root" "$@" >"$root.log" 2>&1 ||
    fail "installing $* in a Debian root file system" "$(tail -n 2 "$root.log")" "check that this machine reaches Debian's packages, then try again"
  slim "$root"
}

# slim ROOT: what no container reads.
slim() {
  rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*.log "$1"/var/log/apt \
    "$1"/usr/share/{doc,man,info,locale,lintian}/*
}

# installed_versions ROOT PACKAGE...: what was installed, for the log.
installed_versions() {
  local -r root=$1
  shift
  dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat='${Package} ${Version}\n' "$@"
}
