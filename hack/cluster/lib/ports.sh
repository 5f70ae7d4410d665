# shellcheck shell=bash
# Free loopback ports, reserved across all of this user's clusters from the moment they are chosen: two clusters that start
# at the same time can't be given the same one before either listens on it.

# The range lies below the one that Linux takes for outgoing connections.
readonly first_port=21000 last_port=31999

# reserve_ports DIR COUNT: prints that many ports, and remembers them as this cluster's.
reserve_ports() {
  local -r reservations="$(cache_root)/ports"
  mkdir -p "$reservations"
  with_lock "$reservations/.lock" "" choose_ports "$reservations" "$1" "$2"
}

choose_ports() {
  local -r reservations=$1 dir=$2 count=$3
  local port found=0
  while ((found < count)); do
    port=$((first_port + (RANDOM * 32768 + RANDOM) % (last_port - first_port + 1)))
    is_reserved "$reservations/$port" && continue
    is_listening "$port" && continue
    echo "$dir" >"$reservations/$port"
    echo "$port"
    found=$((found + 1))
  done
}

# is_reserved FILE: whether the cluster that reserved the port still exists.
is_reserved() { [[ -e $1 && -e $(<"$1") ]]; }

# is_listening PORT: whether something answers there already.
is_listening() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# release_ports DIR: gives back what the cluster had reserved.
release_ports() {
  local file
  for file in "$(cache_root)/ports/"[0-9]*; do
    [[ ! -e $file || $(<"$file") != "$1" ]] || rm -f "$file"
  done
}
