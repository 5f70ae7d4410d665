# The bill of materials of the image, in CycloneDX 1.6, from `cargo metadata` on standard input and Debian's list of what is installed in
# $debian. Crates that only tests or the build use are not in the program, and not in here.

# Everything that can be reached from a crate by ordinary dependencies.
def reachable($edges):
  {seen: {}, todo: .}
  | until(.todo == [];
      .todo[0] as $id
      | .todo |= .[1:]
      | if .seen[$id] then . else .seen[$id] = true | .todo += ($edges[$id] // []) end)
  | .seen;

(.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]}) | from_entries) as $edges
| .resolve.root as $root
| ([$root] | reachable($edges)) as $used
| (.packages[] | select(.id == $root)) as $program
| [
    .packages[] | select($used[.id] and .id != $root)
    | {
        type: "library", "bom-ref": "pkg:cargo/\(.name)@\(.version)", name, version, purl: "pkg:cargo/\(.name)@\(.version)",
        licenses: (if .license then [{expression: (.license | gsub(" */ *"; " OR "))}] else [] end)
      }
  ] as $crates
| [
    $debian | split("\n\n")[] | split("\n") | map(select(test("^[A-Za-z-]+: ")) | capture("^(?<key>[^:]+): (?<value>.*)")) | from_entries
    | select(.Status == "install ok installed")
    | "pkg:deb/debian/\(.Package)@\(.Version | @uri)?arch=\(.Architecture)&distro=bookworm" as $purl
    | {type: "library", "bom-ref": $purl, name: .Package, version: .Version, purl: $purl}
  ] as $packages
| {
    bomFormat: "CycloneDX", specVersion: "1.6", version: 1,
    metadata: {component: {type: "application", "bom-ref": "trueup", name: $program.name, version: $program.version,
      licenses: [{expression: $program.license}]}},
    components: (($crates + $packages) | sort_by(.purl))
  }
