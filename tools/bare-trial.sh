#!/usr/bin/env bash
# Tries the project as a newcomer on a bare Debian 12: debootstrap's smallest root, a fresh clone,
# the two commands, nothing else. Run by hand, as root; takes as long as a first build.
#
# usage: tools/bare-trial.sh DIRECTORY [COMMAND...]
#   DIRECTORY   where the root goes; an existing one is used again. Remove it with --one-file-system.
#   COMMAND...  what to run in the clone instead of: ./dev test, then ./dev demo
# The root gets what every machine has from its owner: resolver, apt sources, extra certificates.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '5,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "bare-trial: run as root (debootstrap and chroot need it)" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "bare-trial: apt-get install debootstrap" >&2; exit 1; }

root=$(realpath -m "$1")
shift
repository=$(cd "$(dirname "$0")/.." && pwd)

if [ ! -e "$root/.bare-trial" ]; then
  debootstrap --variant=minbase bookworm "$root" ${DEBIAN_MIRROR:-} |
    grep -v '^I: \(Retrieving\|Validating\|Extracting\|Unpacking\|Configuring\)'
  touch "$root/.bare-trial"
fi

copy_if_there() {
  local path
  for path in "$@"; do
    [ -e "$path" ] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -aL "$path" "$root$(dirname "$path")/"
  done
}
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
copy_if_there /etc/resolv.conf /etc/hosts /etc/pip.conf /usr/local/share/ca-certificates \
  /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources
for path in /etc/apt/apt.conf.d/*; do  # Proxies and the like.
  [ -e "$root$path" ] || ! grep -qE '^Acquire' "$path" || cp -L "$path" "$root/etc/apt/apt.conf.d/"
done

mounted=()
leave() {
  local place
  [ ! -x "$root/usr/bin/bazel" ] ||
    HOME=/root chroot "$root" sh -c 'cd /srv/glia && bazel shutdown' >/dev/null 2>&1 || true
  for place in "${mounted[@]}"; do umount -l "$place"; done
}
trap leave EXIT
for place in proc sys dev; do
  mountpoint -q "$root/$place" && continue
  mount --rbind "/$place" "$root/$place"
  mount --make-rslave "$root/$place"
  mounted+=("$root/$place")
done

rm -rf "$root/srv/glia"
git clone -q "$repository" "$root/srv/glia"
[ $# -gt 0 ] || set -- sh -c './dev test && ./dev demo'
start=$SECONDS
status=0
env -i HOME=/root TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  chroot "$root" sh -c 'cd /srv/glia && exec "$@"' sh "$@" || status=$?
echo "bare-trial: status $status after $((SECONDS - start)) s"
exit "$status"
