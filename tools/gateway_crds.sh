#!/usr/bin/env bash
# Fetches the Gateway API's definitions (standard channel) as their Go module has them, and prints their directory.
# Kept in ~/.cache/glia, or in $GLIA_CACHE. Without Go this ends with status 3.
set -euo pipefail

MODULE=sigs.k8s.io/gateway-api@v1.4.1
SUM=h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=

cache=${GLIA_CACHE:-${HOME:-/root}/.cache/glia}
go=$(command -v go || command -v /usr/local/go/bin/go || true)
if [ -z "$go" ]; then
  echo "gateway_crds.sh: no Go on this machine" >&2
  exit 3
fi
cd "$(mktemp -d)"  # Outside of any module.
trap 'rmdir "$PWD"' EXIT
told=$(GOPATH=$cache/go GOFLAGS=-modcacherw GOTOOLCHAIN=local "$go" mod download -json "$MODULE")
field() { sed -n "s/^.*\"$1\": \"\(.*\)\".*$/\1/p" <<<"$told"; }
if [ "$(field Sum)" != "$SUM" ]; then
  echo "gateway_crds.sh: $MODULE has the checksum $(field Sum), not $SUM" >&2
  exit 1
fi
echo "$(field Dir)/config/crd/standard"
