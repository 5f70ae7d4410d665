# shellcheck shell=bash
# The build itself, once for each state of the sources.

# build_image: prints the archive.
build_image() {
  local archive
  archive=$store/trueup-$profile-$(sources_hash).tar
  [[ -e $archive ]] || with_lock "$store/.lock-trueup" "building the image" build_in_workshop "$archive"
  echo "$archive"
}

# sources_hash: of everything that gets into the image, with its names.
sources_hash() {
  local -a files
  mapfile -t files < <(cd "$root" && find Cargo.toml Cargo.lock rust-toolchain.toml Dockerfile src migrations hack/image.d -type f | LC_ALL=C sort)
  hash_of <(cd "$root" && sha256sum "${files[@]}") "$lib/image-debian.sh"
}

# build_in_workshop ARCHIVE: in a folder that is removed afterwards, however it ends.
build_in_workshop() {
  [[ ! -e $1 ]] || return 0
  local -r started=$SECONDS
  local version
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
  work=$(mktemp -d "$store/work.XXXXXX")
  trap 'rm -rf --one-file-system "$work"' EXIT
  trap 'exit 130' INT TERM HUP
  chmod 755 "$work"
  make_bases
  say "building trueup.dev/trueup:$version from the Dockerfile, profile $profile"
  in_buildah bud --quiet --pull-never --isolation chroot --format docker --timestamp 0 --build-arg "PROFILE=$profile" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$(revision)" --ignorefile "$root/.dockerignore" \
    --tag "trueup.dev/trueup:$version" "$root" >"$work/log" 2>&1 || {
    tail -n 25 "$work/log" >&2
    fail "building the image" "buildah failed, see above"
  }
  in_buildah push --quiet "trueup.dev/trueup:$version" "docker-archive:$work/archive.tar:trueup.dev/trueup:$version" >/dev/null
  mv "$work/archive.tar" "$1"
  in_buildah rmi --prune >/dev/null 2>&1 || true
  say "built the image in $((SECONDS - started))s: $(($(compressed_size "$1") / 1000000)) MB compressed"
  forget_older "$1"
}

# revision: which commit it was built from; with a mark where the sources differ from it.
revision() { git -C "$root" describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown; }

# forget_older ARCHIVE: of each profile two are kept: somebody may be loading the one before.
forget_older() {
  find "$store" -maxdepth 1 -name "trueup-$profile-*.tar" -printf '%T@ %p\n' | sort -rn | tail -n +3 | cut -d' ' -f2- | xargs --no-run-if-empty rm -f
}

# compressed_size ARCHIVE: of its layers, each as a registry keeps it.
compressed_size() {
  local layer total=0
  while read -r layer; do
    total=$((total + $(tar --extract --to-stdout --file "$1" "$layer" | gzip -6 | wc -c)))
  done < <(tar --extract --to-stdout --file "$1" manifest.json | jq --raw-output '.[0].Layers[]')
  echo "$total"
}
