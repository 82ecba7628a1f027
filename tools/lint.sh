#!/usr/bin/env bash
# Defects that a machine can see: clang-tidy over C++, a syntax check over scripts.
#
# Without arguments: the C++ files that differ from the main branch. --all: every one. Else the
# files that are named. Called by ./dev lint, which has set up the tools.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse HEAD)
case ${1:-} in
  --all) mapfile -t files < <(git ls-files '*.cc') ;;
  "") mapfile -t files < <(git diff --name-only --diff-filter=d "$base" -- '*.cc'
    git ls-files --others --exclude-standard '*.cc') ;;
  *) files=("$@") ;;
esac

for script in dev .ci/run $(git ls-files '*.sh'); do
  bash -n "$script" || failed=1
done
git ls-files -z '*.py' | xargs -0 -r /usr/bin/python3 -c '
import sys
for path in sys.argv[1:]:
    compile(open(path).read(), path, "exec")' || failed=1

git ls-files -z '*.cc' '*.h' | xargs -0 -r clang-format-19 --dry-run --Werror 2>&1 |
  grep -E '^[^ ]+: error' | cut -d: -f1 | sort -u >"${TMPDIR:-/tmp}/glia-unformatted.$$" || true
if [ -s "${TMPDIR:-/tmp}/glia-unformatted.$$" ]; then
  echo "not formatted (mend with ./dev fmt):" && sed 's/^/  /' "${TMPDIR:-/tmp}/glia-unformatted.$$"
  failed=1
fi
rm -f "${TMPDIR:-/tmp}/glia-unformatted.$$"

if [ ${#files[@]} -gt 0 ]; then
  # Generated headers must be there before a file that includes them can be read.
  /usr/bin/bazel build --noshow_progress --ui_event_filters=-info //api/... @xds//:xds @crates//...
  external=$(/usr/bin/bazel info output_base 2>/dev/null)/external
  # What is not ours is a system header, or its names ("extensions/filters") would pass for ours.
  flags=(-std=c++20 -I. -Ibazel-bin -Ibazel-bin/api -isystem "$external/xds/gen"
    -isystem "$external/crates/boringssl/include" -isystem "$external/crates/nghttp2/lib/includes"
    -Wno-unused-parameter)
  echo "clang-tidy over ${#files[@]} files"
  # Its other output only counts what it does not show.
  printf "%s\n" "${files[@]}" |
    xargs -P "$(nproc)" -I{} clang-tidy-19 --quiet {} -- "${flags[@]}" 2>/dev/null || failed=1
fi
[ "$failed" -eq 0 ] && echo "nothing to say"
exit "$failed"
