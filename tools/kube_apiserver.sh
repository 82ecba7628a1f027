#!/usr/bin/env bash
# Builds kube-apiserver from the Kubernetes Go module that third_party/kube pins, unless it is there, and prints
# the path of the program. About 9 minutes of two cores, once; kept in ~/.cache/glia, or in $GLIA_CACHE.
#
# go.sum holds the checksum of every module; each is looked up in Go's checksum database, too, when it is fetched
# for the first time. Needs Go 1.24, which Debian 12 does not have: without it this ends with status 3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../third_party/kube"
OLDEST_GO=24  # 1.24, as go.mod says.

cache=${GLIA_CACHE:-${HOME:-/root}/.cache/glia}
go=$(command -v go || command -v /usr/local/go/bin/go || true)
version=$([ -z "$go" ] || "$go" env GOVERSION)
version=${version#go1.}
version=${version%%[!0-9]*}
if [ "${version:-0}" -lt "$OLDEST_GO" ]; then
  echo "kube_apiserver.sh: no Go 1.$OLDEST_GO or newer on this machine" >&2
  exit 3
fi
directory=$cache/kube-apiserver-$(cat go.mod go.sum apiserver/main.go | sha256sum | cut -c1-12)
program=$directory/kube-apiserver
kubernetes=$(awk '$1 == "k8s.io/kubernetes" {print $2}' go.mod)
mkdir -p "$directory"
exec 9>"$directory.lock"
flock 9
if [ ! -x "$program" ]; then
  echo "kube_apiserver.sh: building kube-apiserver $kubernetes; this takes some minutes, once" >&2
  minor=${kubernetes#v1.}
  CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -modcacherw" GOPATH=$cache/go \
    GOCACHE=$cache/go/build nice -n 10 "$go" build -p 2 -trimpath -buildvcs=false -o "$program.new" \
    -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes
      -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}" \
    ./apiserver >&2
  mv "$program.new" "$program"
fi
echo "$program"
