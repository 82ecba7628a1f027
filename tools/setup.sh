# Brings a Debian 12 machine to where Glia builds: packages, cargo, maven, a Python environment, the
# programs in Go and on Node that tests talk to.
#
# Sourced by ./dev. Works with bash, coreutils and apt alone, because a fresh machine has nothing
# else. Every step first looks whether its work is done, so a run with nothing to do costs a
# fraction of a second and an interrupted run is simply run again.

GLIA_CACHE=${GLIA_CACHE:-${HOME:-/root}/.cache/glia}
BAZEL=/usr/bin/bazel  # Debian's, whatever else is on the PATH: the WORKSPACE is written for it.
APT_PACKAGES=third_party/apt-packages.txt
OLDEST_CARGO=70  # 1.70: the first that fetches crates without a copy of the whole index.
OLDEST_GO=19     # 1.19: Debian 12's, which builds the peers at the versions of third_party/go.
OLDEST_NODE=18   # Debian 12's, which runs the peer of third_party/node.

say() { printf '\033[2m[dev]\033[0m %s\n' "$*" >&2; }

die() {
  printf '[dev] error: %s\n' "$*" >&2
  exit 1
}

# setup PART...: each part is build, test, bench, lint (groups of Debian packages), python,
# python-test or python-load (requirement files, in one environment), go or node. Sets GLIA_PYTHON, GLIA_GO_PEERS and
# GLIA_NODE_PEERS.
setup() {
  mkdir -p "$GLIA_CACHE"
  local groups=() requirements=() go= node= part
  for part in "$@"; do
    case $part in
      python) requirements+=(third_party/python/requirements.txt) ;;
      go) go=1 ;;
      node) node=1 ;;
      python-*) requirements+=("third_party/python/requirements-${part#python-}.txt") ;;
      *) groups+=("$part") ;;
    esac
  done
  [ ${#requirements[@]} -eq 0 ] || groups+=(build)  # Python itself.
  setup_debian "${groups[@]}"
  setup_cargo
  [ ${#requirements[@]} -eq 0 ] || setup_python "${requirements[@]}"
  [ -z "$go" ] || setup_go
  [ -z "$node" ] || setup_node
}

# --- Debian packages -------------------------------------------------------------------------

# The upstream part of a Debian version: no epoch, no revision.
upstream() {
  local version=${1#*:}
  echo "${version%-*}"
}

# Is a cargo that can fetch our crates on the PATH?
has_cargo() {
  local version
  version=$(cargo --version 2>/dev/null) || return 1
  version=${version#cargo 1.}
  [ "${version%%.*}" -ge "$OLDEST_CARGO" ] 2>/dev/null
}

# Is a go that can build the peers on the PATH?
has_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null) || return 1
  version=${version#go1.}
  version=${version%%[!0-9]*}
  [ "${version:-0}" -ge "$OLDEST_GO" ]
}

# Are a node that can run the peer, and its npm, on the PATH?
has_node() {
  local version
  command -v npm >/dev/null || return 1
  version=$(node --version 2>/dev/null) || return 1
  version=${version#v}
  [ "${version%%.*}" -ge "$OLDEST_NODE" ] 2>/dev/null
}

# Lines "package version rule" of the pinned packages of these groups that this machine lacks.
missing_packages() {
  local group package version rule have installed
  declare -A installed
  while read -r package version; do
    installed[$package]=$version
  done < <(dpkg-query -W -f '${db:Status-Abbrev}|${binary:Package} ${Version}\n' 2>/dev/null |
    sed -n 's/^ii *|//p' | sed 's/^\([^ :]*\):[a-z0-9]* /\1 /')
  while read -r group package version rule; do
    [[ " $* " == *" $group "* ]] || continue
    have=${installed[$package]:-}
    case $rule in
      cargo) [ -z "$have" ] && ! has_cargo || continue ;;
      go) [ -z "$have" ] && ! has_go || continue ;;
      node) [ -z "$have" ] && ! has_node || continue ;;
      mvn) [ -z "$have" ] && ! command -v mvn >/dev/null || continue ;;
      any) [ -z "$have" ] || continue ;;
      exact) [ -z "$have" ] || [ "$(upstream "$have")" != "$(upstream "$version")" ] || continue ;;
      *) die "$APT_PACKAGES: $package has the rule '$rule'; use exact, any, cargo, go, node or mvn" ;;
    esac
    echo "$package $version $rule"
  done < <(sed 's/#.*//; /^ *$/d' "$APT_PACKAGES")
}

# The version to install of a package, given the pinned one. Says so when it is not the same.
choose_version() {
  local package=$1 pinned=$2 rule=$3 offered
  # Not `apt-cache show package=version`: it ends with 0 for a version that it has never seen.
  if apt-cache madison "$package" | cut -d'|' -f2 | tr -d ' ' | grep -qxF -- "$pinned"; then
    echo "$pinned"
    return
  fi
  offered=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
  if [ -z "$offered" ] || [ "$offered" = "(none)" ]; then
    die "Debian offers no package $package here: is this Debian 12 with the component 'main' in its apt sources?"
  fi
  if [ "$rule" = exact ] && [ "$(upstream "$offered")" != "$(upstream "$pinned")" ]; then
    [ -n "${GLIA_ANY_VERSION:-}" ] ||
      die "$package: Glia is pinned to $pinned, this machine offers $offered. Use Debian 12, or try your luck with GLIA_ANY_VERSION=1 ./dev ..."
  fi
  say "$package: found $offered instead of the pinned $pinned"
  echo "$offered"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

setup_debian() {
  local missing line names=() chosen
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  local wanted
  wanted=$(cut -d' ' -f1 <<<"$missing" | sort -u | tr '\n' ' ')
  command -v apt-get >/dev/null ||
    die "there is no apt-get here. Glia is built on Debian 12; install what $APT_PACKAGES names"
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
    die "Debian packages are missing. Run this as root, then this command again:
  apt-get update && apt-get install -y --no-install-recommends $wanted"
  say "installing Debian packages: $wanted"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
    die "apt-get update failed (see above): check the network and the apt sources, then run this again"
  while read -r line; do
    chosen=$(choose_version $line) || exit 1
    names+=("${line%% *}=$chosen")
  done < <(sort -u <<<"$missing")
  # The servers among the peers of the benchmark must not start by themselves.
  local quiet=()
  [ -e /usr/sbin/policy-rc.d ] || quiet=(--policy)
  as_root bash "$PWD/tools/apt_install.sh" "${quiet[@]}" "${names[@]}" ||
    die "apt-get install failed (see above). After mending it run this again: it goes on where it stopped"
}

# Bazel calls `cargo` by name. Where an old one stands first on the PATH, Debian's cargo-web
# goes before it.
setup_cargo() {
  has_cargo && return 0
  [ -x /usr/bin/cargo ] || return 0  # Only the groups without a build come here.
  mkdir -p "$GLIA_CACHE/bin"
  ln -sf /usr/bin/cargo "$GLIA_CACHE/bin/cargo"
  export PATH="$GLIA_CACHE/bin:$PATH"
  has_cargo || die "cargo is older than 1.$OLDEST_CARGO: $(cargo --version 2>&1). Remove it, or put a newer one first on the PATH"
}

# --- Python ----------------------------------------------------------------------------------

# One environment for each content of requirements.txt, so clones at different commits do not undo
# each other; the other files add to it. A mark in it says which file is all there.
setup_python() {
  local file base=third_party/python/requirements.txt directory lock
  directory=$GLIA_CACHE/python-$(content_hash "$base")
  GLIA_PYTHON=$directory/bin/python
  export GLIA_PYTHON
  exec {lock}>"$directory.lock"
  if ! flock --nonblock "$lock"; then
    say "waiting for another ./dev that sets up the same Python environment"
    flock "$lock"
  fi
  for file in "$@"; do
    local mark="$directory/.has-$(basename "$file")-$(content_hash "$file")"
    if [ ! -e "$mark" ]; then
      say "installing Python packages ($(grep -c == "$file")) into $directory"
      install_requirements "$directory" "$file"
    fi
    touch "$mark"
  done
  exec {lock}>&-
}

content_hash() { sha256sum <"${1:-/dev/stdin}" | cut -c1-12; }

install_requirements() {
  local directory=$1 file=$2
  if [ ! -e "$directory/bin/pip" ]; then  # The last thing that venv makes.
    rm -rf "$directory"
    /usr/bin/python3 -m venv "$directory" || die "python3 -m venv failed (see above)"
    forget_old_environments
  fi
  "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --require-hashes -r "$file" ||
    die "pip could not install $file (see above): check the network and run this again"
}

# Environments that nobody used for a month.
forget_old_environments() {
  local mark
  for mark in "$GLIA_CACHE"/python-*/.has-requirements.txt-*; do
    [ -n "$(find "$mark" -mtime +30 2>/dev/null)" ] || continue
    rm -rf "${mark%/.has-*}" "${mark%/.has-*}.lock"
  done
}

# --- Peers in Go -----------------------------------------------------------------------------

GO_PEERS=(github.com/summerwind/h2spec/cmd/h2spec github.com/summerwind/h2spec/cmd/h2specd ./xdsplane ./xdscaller)

# One directory for each state of the pins and of our own programs. go.sum holds the checksum of every
# module; each is looked up in Go's checksum database, too, when it is fetched for the first time.
setup_go() {
  GLIA_GO_PEERS=$GLIA_CACHE/go-peers-$(cd third_party/go && cat go.mod go.sum xdsplane/main.go xdscaller/main.go | content_hash)
  export GLIA_GO_PEERS
  [ ! -e "$GLIA_GO_PEERS/.complete" ] || return 0
  local go=go
  has_go || go=/usr/lib/go-1.$OLDEST_GO/bin/go
  say "building programs in Go that tests talk to: ${GO_PEERS[*]##*/}"
  (cd third_party/go && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -modcacherw" GOPATH=$GLIA_CACHE/go \
    GOCACHE=$GLIA_CACHE/go/build "$go" build -trimpath -o "$GLIA_GO_PEERS/" "${GO_PEERS[@]}") ||
    die "the programs in Go could not be built (see above): check the network and run this again"
  touch "$GLIA_GO_PEERS/.complete"
}

# --- A peer on Node ---------------------------------------------------------------------------

# One directory for each state of the pins and of our own program. The lock holds the checksum of every
# package, and no script of a package is run.
setup_node() {
  GLIA_NODE_PEERS=$GLIA_CACHE/node-peers-$(cd third_party/node && cat package.json package-lock.json xdscaller.js | content_hash)
  export GLIA_NODE_PEERS
  [ ! -e "$GLIA_NODE_PEERS/.complete" ] || return 0
  say "installing packages of Node for a program that tests talk to"
  mkdir -p "$GLIA_NODE_PEERS"
  cp third_party/node/{package.json,package-lock.json,xdscaller.js} "$GLIA_NODE_PEERS/"
  (cd "$GLIA_NODE_PEERS" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    die "npm could not install third_party/node (see above): check the network and run this again"
  touch "$GLIA_NODE_PEERS/.complete"
}

# --- Bazel -----------------------------------------------------------------------------------

bazel_build() {
  "$BAZEL" build --ui_event_filters=-info --noshow_progress "$@" || die "the build failed (see above)"
}
