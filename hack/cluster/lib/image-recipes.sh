# shellcheck shell=bash
# How each image is made. A recipe packs the archive that it is told to; what it is made from is hashed into the archive's
# name, so that a change makes a new one and an unchanged one is made only once.

readonly nobody=65534:65534 postgres_id=999

# recipe_inputs IMAGE: the files that decide what is in an image.
recipe_inputs() {
  echo "$here/lib/image-recipes.sh" "$here/lib/image-archive.sh"
  case $1 in
    pause) echo "$config/images/pause.c" ;;
    web-* | crash) command -v busybox ;;
    postgres) echo "$here/lib/image-debian.sh" "$config/images/postgres-entrypoint" ;;
    mover) echo "$here/lib/image-debian.sh" "$binary" ;;
  esac
}

# recipe_needs IMAGE: sees to it that what making it takes is installed.
recipe_needs() {
  case $1 in
    web-* | crash) require "making the image $1" busybox=busybox-static ;;
    postgres | mover) ((EUID == 0)) || fail "making the image $1" "it needs root, for debootstrap" "run it as root" ;;
    pause) command -v gcc >/dev/null || require "making the image $1" busybox=busybox-static ;;
  esac
}

# What every pod's first container does: nothing, until it is told to end.
recipe_pause() {
  mkdir -p "$work/rootfs"
  if command -v gcc >/dev/null && gcc -static -Os -s -o "$work/rootfs/pause" "$config/images/pause.c" 2>"$work/gcc.log"; then
    pack_rootfs "$pause_image" "{\"Entrypoint\":[\"/pause\"],\"User\":\"$nobody\"}" "$1"
  else
    busybox_root
    pack_rootfs "$pause_image" '{"Entrypoint":["/bin/sh","-c","trap exit TERM INT; while :; do sleep 3600 & wait; done"]}' "$1"
  fi
}

recipe_web-1() { web_server 1 "$1"; }
recipe_web-2() { web_server 2 "$1"; }

# web_server VERSION ARCHIVE: answers every request for / with its version. A shell stays in front of the server: the first
# process of a container is not ended by a signal that it doesn't handle, and each stop would take the whole grace period.
web_server() {
  busybox_root
  mkdir -p "$work/rootfs/www/cgi-bin"
  echo "trueup.dev/demo/web version $1" >"$work/rootfs/www/index.html"
  printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\nhostname\n' >"$work/rootfs/www/cgi-bin/hostname"
  chmod +x "$work/rootfs/www/cgi-bin/hostname"
  pack_rootfs "trueup.dev/demo/web:$1" '{"Entrypoint":["/bin/sh","-c"],"Cmd":["trap \"exit 0\" TERM INT; echo \"web version '"$1"' listens on 8080\"; httpd -f -v -p 8080 -h /www & wait"],"Env":["PATH=/bin"],"User":"'"$nobody"'","ExposedPorts":{"8080/tcp":{}}}' "$2"
}

recipe_crash() {
  busybox_root
  pack_rootfs trueup.dev/demo/crash:1 '{"Entrypoint":["/bin/sh","-c"],"Cmd":["echo \"fatal: cannot read the setting GREETING: no such setting\" >&2; exit 1"],"Env":["PATH=/bin"],"User":"'"$nobody"'"}' "$1"
}

recipe_postgres() {
  local -r root=$work/rootfs
  install_postgres "$root"
  install -m 755 "$config/images/postgres-entrypoint" "$root/usr/local/bin/docker-entrypoint.sh"
  installed_versions "$root" postgresql-15 >&2
  pack_rootfs trueup.dev/demo/postgres:15 '{"Entrypoint":["docker-entrypoint.sh"],"Cmd":["postgres"],"Env":["PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","PGDATA=/var/lib/postgresql/data","LANG=C.UTF-8"],"Volumes":{"/var/lib/postgresql/data":{}},"StopSignal":"SIGINT","ExposedPorts":{"5432/tcp":{}}}' "$1"
}

install_postgres() {
  unpack_debian "$1"
  # Before the package makes one: the same id as in the official image, so that manifests with runAsUser 999 work here too.
  chroot "$1" groupadd --system --gid "$postgres_id" postgres
  chroot "$1" useradd --system --gid postgres --uid "$postgres_id" --home-dir /var/lib/postgresql --shell /bin/bash postgres
  install_in_debian "$1" postgresql-15 postgresql-client-15
  # The compiler behind "jit" is most of the size. PostgreSQL does without when it isn't there.
  rm -rf "$1"/usr/lib/postgresql/15/lib/{llvmjit.so,bitcode} "$1"/usr/lib/*/{libLLVM*,libz3*} "$1"/usr/lib/llvm-*
  rm -rf "$1"/etc/postgresql/15 "$1"/var/lib/postgresql/15
  install -d -m 700 -o "$postgres_id" -g "$postgres_id" "$1/var/lib/postgresql/data"
  install -d -m 2775 -o "$postgres_id" -g "$postgres_id" "$1/run/postgresql"
}

recipe_mover() {
  local -r tools="$store/mover-tools-$(hash_of "$here/lib/image-debian.sh" <(echo restic ca-certificates)).layer"
  if [[ ! -e $tools ]]; then
    unpack_debian "$work/tools"
    install_in_debian "$work/tools" restic ca-certificates
    installed_versions "$work/tools" restic >&2
    pack_layer "$work/tools" "$tools.new"
    mv "$tools.new" "$tools"
  fi
  # The program is a layer of its own: it changes all the time, what lies under it doesn't.
  mkdir -p "$work/rootfs/usr/local/bin"
  install -m 755 "$binary" "$work/rootfs/usr/local/bin/trueup"
  pack_layer "$work/rootfs" "$work/layer.tar"
  pack_image trueup.dev/mover:dev '{"Entrypoint":["/usr/local/bin/trueup"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}' "$1" "$tools" "$work/layer.tar"
}

# busybox_root: a root file system of nothing but busybox.
busybox_root() {
  local name
  mkdir -p "$work/rootfs/bin" "$work/rootfs/tmp" "$work/rootfs/etc"
  chmod 1777 "$work/rootfs/tmp"
  cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
  for name in $(busybox --list); do
    [[ $name == busybox ]] || ln -s busybox "$work/rootfs/bin/$name"
  done
  echo 'root:x:0:0:root:/:/bin/sh' >"$work/rootfs/etc/passwd"
  echo 'nobody:x:65534:65534:nobody:/:/bin/sh' >>"$work/rootfs/etc/passwd"
}

# pack_rootfs REFERENCE SETTINGS ARCHIVE: an image whose only layer is $work/rootfs.
pack_rootfs() {
  pack_layer "$work/rootfs" "$work/layer.tar"
  pack_image "$1" "$2" "$3" "$work/layer.tar"
}
