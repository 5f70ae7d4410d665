# shellcheck shell=bash
# Writing image archives by hand, in the format of "docker save", which containerd imports: layers, a description, a list.

# pack_layer FOLDER FILE: a layer from a folder. The same content gives the same bytes, whenever it is packed.
pack_layer() { tar --create --file "$2" --directory "$1" --sort=name --mtime=@0 --numeric-owner .; }

# pack_image REFERENCE SETTINGS ARCHIVE LAYER...: SETTINGS is the "config" of an image's description as JSON: Entrypoint, Cmd,
# Env, User and so on.
pack_image() {
  local -r reference=$1 settings=$2 archive=$3
  shift 3
  local -r folder=$archive.parts
  local layer digest layers='' digests=''
  rm -rf "$folder"
  mkdir -p "$folder"
  for layer in "$@"; do
    digest=$(sha256sum "$layer" | cut -d' ' -f1)
    ln "$layer" "$folder/$digest.tar" 2>/dev/null || cp "$layer" "$folder/$digest.tar"
    layers+="${layers:+,}\"$digest.tar\""
    digests+="${digests:+,}\"sha256:$digest\""
  done
  printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(image_architecture)" "$settings" "$digests" >"$folder/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":[%s]}]' "$reference" "$layers" >"$folder/manifest.json"
  pack_layer "$folder" "$archive.new"
  rm -rf "$folder"
  mv "$archive.new" "$archive"
}

# image_architecture: Go's name for this machine's.
image_architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}
