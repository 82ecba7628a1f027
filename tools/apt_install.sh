#!/usr/bin/env bash
# Runs as root: installs Debian packages (name=version). With --policy no service starts by
# itself: a policy-rc.d that forbids it is there for as long as this runs.
set -euo pipefail

if [ "${1:-}" = --policy ]; then
  shift
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive
dpkg --configure -a  # What an interrupted run left half done.
apt-get install -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
  --no-install-recommends --no-remove "$@" | grep --line-buffered -E '^(The following|[0-9]+ upgraded|Need to get)' >&2
