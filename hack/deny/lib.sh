# shellcheck shell=bash
# What is in advisories.txt: where it is from, which crates have advisories at all, and those of the crates that are used here.

readonly advisories=${TRUEUP_ADVISORIES:-$here/advisories.txt} lock=$root/Cargo.lock

# noted WHAT: commit or date of the copy.
noted() { sed -n "s/^# $1: //p" "$advisories"; }

# Names, sorted as comm wants them.
locked_crates() { sed -n 's/^name = "\(.*\)"$/\1/p' "$lock" | LC_ALL=C sort -u; }
advised_crates() { sed -n 's/^# advised: //p' "$advisories" | tr ' ' '\n' | LC_ALL=C sort -u; }
extracted_crates() { sed -n 's|^=== crates/\([^/]*\)/.*|\1|p' "$advisories" | LC_ALL=C sort -u; }
