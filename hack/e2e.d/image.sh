# shellcheck shell=bash
# What the image is, read from its archive.

readonly image_limit=150000000 # bytes, compressed: what a node pulls

check_image() {
  local -r size=$("$root/hack/image" size "$archive")
  check "the image is small: $((size / 1000000)) MB compressed" test "$size" -lt "$image_limit"
  check "it runs as nobody in particular" same "$(of_image .config.User)" 65532:65532
  check "it says what it is" same "$(of_image '.config.Labels | [."org.opencontainers.image.title", ."org.opencontainers.image.licenses"] | join(" ")')" "trueup Apache-2.0"
  check "it says which version and which commit it is" version_and_revision
  check "its bill of materials has the crates that Cargo.lock pins, and the packages" bill_of_materials
  check "it has the licences' texts" from_image licences/tokio-
}

# of_image FILTER: from its description.
of_image() {
  local -r config=$(tar --extract --to-stdout --file "$archive" manifest.json | jq --raw-output '.[0].Config')
  tar --extract --to-stdout --file "$archive" "$config" | jq --raw-output "$1"
}

version_and_revision() {
  same "$(of_image '.config.Labels."org.opencontainers.image.version"')" "$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)" &&
    of_image '.config.Labels."org.opencontainers.image.revision"' | grep -E '^[0-9a-f]{40}(-dirty)?$'
}

# bill_of_materials: each crate in it is one that Cargo.lock pins, in that version, and what people ask for first is in it.
bill_of_materials() {
  local -r path=$(of_image '.config.Labels."dev.trueup.sbom" | ltrimstr("/")')
  local -r bill=$folder/sbom.json
  from_image "${path##*/}" "$bill" && jq --exit-status '[.components[].name] | contains(["tokio", "sqlx", "restic", "ca-certificates"])' "$bill" >/dev/null &&
    same "$(comm -23 <(crates_of_bill "$bill") <(crates_of_lock))" ""
}

crates_of_bill() { jq --raw-output '.components[] | select(.purl | startswith("pkg:cargo/")) | "\(.name) \(.version)"' "$1" | LC_ALL=C sort; }
crates_of_lock() { sed -n '/^name = /{s/^name = "\(.*\)"/\1/;N;s/\nversion = "\(.*\)"/ \1/p}' "$root/Cargo.lock" | LC_ALL=C sort; }

# from_image NAME [FILE]: whether a layer has something of that name under /usr/share/trueup; writes the first into FILE.
from_image() {
  local layer path
  while read -r layer; do
    path=$(tar --extract --to-stdout --file "$archive" "$layer" | tar --list | grep "^usr/share/trueup/$1") || continue
    path=${path%%$'\n'*}
    [[ -z ${2:-} ]] || tar --extract --to-stdout --file "$archive" "$layer" | tar --extract --to-stdout "$path" >"$2"
    return 0
  done < <(tar --extract --to-stdout --file "$archive" manifest.json | jq --raw-output '.[0].Layers[]')
  echo "no layer has /usr/share/trueup/$1"
  return 1
}
