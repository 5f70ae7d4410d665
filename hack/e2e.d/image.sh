# shellcheck shell=bash
# What the image is, read from its archive.

readonly image_limit=150000000 # bytes, compressed: what a node pulls

check_image() {
  local -r size=$("$root/hack/image" size "$archive")
  check "the image is small: $((size / 1000000)) MB compressed" test "$size" -lt "$image_limit"
  check "it runs as nobody in particular" same "$(of_image .config.User)" 65532:65532
  check "it says what it is" same "$(of_image '.config.Labels | [."org.opencontainers.image.title", ."org.opencontainers.image.licenses"] | join(" ")')" "trueup Apache-2.0"
  check "its bill of materials has the crates and the packages" bill_of_materials
}

# of_image FILTER: from its description.
of_image() {
  local -r config=$(tar --extract --to-stdout --file "$archive" manifest.json | jq --raw-output '.[0].Config')
  tar --extract --to-stdout --file "$archive" "$config" | jq --raw-output "$1"
}

# bill_of_materials: in the layer that has it.
bill_of_materials() {
  local layer
  local -r path=$(of_image '.config.Labels."dev.trueup.sbom" | ltrimstr("/")')
  while read -r layer; do
    tar --extract --to-stdout --file "$archive" "$layer" | tar --extract --to-stdout "$path" 2>/dev/null |
      jq --exit-status '[.components[].name] | contains(["tokio", "sqlx", "restic", "ca-certificates"])' >/dev/null && return 0
  done < <(tar --extract --to-stdout --file "$archive" manifest.json | jq --raw-output '.[0].Layers[]')
  echo "no layer has a bill of materials at /$path that names them"
  return 1
}
