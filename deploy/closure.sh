#!/bin/sh
# Makes the root of the image below the directory $1: Glia's programs and nft, each with the shared objects
# that it asks for and the loader, and the few files that libc reads. Run where they are installed.
set -eu
root=$1
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/etc" "$root/tmp" "$root/var/lib/glia" "$root/run"
chmod 1777 "$root/tmp"

add() {  # With the links that lead to it, for the loader looks by name.
  mkdir -p "$root$(dirname "$1")"
  cp -L "$1" "$root$1"
}
for program in /usr/bin/glia /usr/bin/glia-proxy /usr/bin/glia-control /usr/bin/glia-translate \
  /usr/sbin/nft; do
  add "$program"
  ldd "$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p'
done | sort -u | while read -r object; do
  add "$object"
done
# glibc looks names up through these.
for object in libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
  for place in /lib/*-linux-gnu/"$object"; do
    if [ -e "$place" ]; then add "$place"; fi
  done
done
mkdir -p "$root/usr/share/doc"
cp -r /usr/share/doc/glia "$root/usr/share/doc/glia"
echo 'glia:x:1337:1337:Glia sidecar:/var/lib/glia:/usr/sbin/nologin' > "$root/etc/passwd"
echo 'glia:x:1337:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
chown -R 0:0 "$root"
chown 1337:1337 "$root/var/lib/glia"
