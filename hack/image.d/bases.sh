# shellcheck shell=bash
# The images that the Dockerfile begins with, made here under the names that it gives them.

# in_buildah ARGUMENT...: with a store of its own, so that nobody else's images are touched.
in_buildah() {
  local driver=overlay
  # overlayfs doesn't lie on top of itself.
  [[ $(stat -fc %T "$store") != overlayfs ]] || driver=vfs
  buildah --root "$store/buildah" --runroot "$store/buildah-run" --storage-driver "$driver" "$@"
}

# default_of ARGUMENT: what the Dockerfile says for it.
default_of() { sed -n "s/^ARG $1=//p" "$root/Dockerfile"; }

make_bases() {
  debian_image=$(default_of DEBIAN_IMAGE) rust_image=$(default_of RUST_IMAGE)
  has_image "$debian_image" || make_debian_image
  has_image "$rust_image" || make_rust_image
}

has_image() { in_buildah inspect --type image "$1" >/dev/null 2>&1; }

# make_debian_image: with what this machine installs from. The package lists are the build's own to fetch.
make_debian_image() {
  say "making the base image $debian_image from Debian's packages"
  unpack_debian "$work/debian"
  debian_sources >"$work/sources"
  [[ ! -s $work/sources ]] || cp "$work/sources" "$work/debian/etc/apt/sources.list"
  apt-config dump 2>/dev/null | grep -iE '^Acquire::(http|https)::' >"$work/debian/etc/apt/apt.conf.d/00machine" || true
  commit_image "$debian_image" "$work/debian"
}

# make_rust_image: the compiler that builds Trueup on this machine, where the official image has it.
make_rust_image() {
  say "making the base image $rust_image from Debian's packages and this machine's Rust"
  local -r home=$work/rust/usr/local/cargo
  local sysroot wanted
  sysroot=$(cd "$root" && rustc --print sysroot)
  wanted=${rust_image##*:} wanted=${wanted%%-*}
  [[ $("$sysroot/bin/rustc" --version) == "rustc $wanted "* ]] ||
    fail "making the image $rust_image" "this machine's compiler is $("$sysroot/bin/rustc" --version)" "make rust-toolchain.toml and the Dockerfile name the same version"
  unpack_debian "$work/rust"
  install_in_debian "$work/rust" gcc libc6-dev ca-certificates
  # Crates come from where this machine gets them, whose certificate may be one that only this machine knows.
  cp /etc/ssl/certs/ca-certificates.crt "$work/rust/etc/ssl/certs/ca-certificates.crt"
  mkdir -p "$home"
  cp -r "$sysroot/bin" "$home/bin"
  cp -r "$sysroot/lib" "$home/lib"
  commit_image "$rust_image" "$work/rust" --env CARGO_HOME=/usr/local/cargo \
    --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# commit_image NAME FOLDER [SETTING...]: an image whose only layer is the folder.
commit_image() {
  local container
  container=$(in_buildah from scratch)
  in_buildah copy --quiet "$container" "$2" / >/dev/null
  in_buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd /bin/bash "${@:3}" "$container"
  in_buildah commit --quiet --rm "$container" "$1" >/dev/null
  rm -rf --one-file-system "${2:?}"
}
