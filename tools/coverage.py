"""Line coverage of our code by its own tests, for each directory; called by ./dev coverage.

Only what runs in `bazel test` counts: the end-to-end tests start programs of another build. The
parsers, which read what strangers send, must be covered to PARSERS_LEAST percent.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BAZEL = "/usr/bin/bazel"
ROOMS = ("proxy", "filters", "control_plane", "cli")
PARSERS = [
    "proxy/http/canonical.cc", "proxy/http/grpc.cc", "proxy/http/h1_body.cc",
    "proxy/http/h1_parser.cc", "proxy/http/h1_request.cc", "proxy/http/h1_response.cc",
    "proxy/http/h2_fields.cc", "proxy/http/h2_gate.cc", "proxy/http/syntax.cc",
    "proxy/net/address.cc", "proxy/net/client_hello.cc", "proxy/net/proxy_protocol.cc",
    "proxy/net/spiffe.cc", "proxy/xds/wire.cc", "proxy/xds/yaml.cc",
]
PARSERS_LEAST = 95  # percent of lines


def run_tests(targets, profiles):
    """Runs tests with counters; returns the paths of their programs, or None if one failed."""
    flags = ["--config=cover", "--noshow_progress", "--ui_event_filters=-info",
             "--nocache_test_results", "--test_summary=terse", "--build_tests_only",
             "--test_tag_filters=-long,-nocover",
             # %m: one file for each program, whatever tests run it.
             f"--test_env=LLVM_PROFILE_FILE={profiles}/%m.profraw"]
    with tempfile.TemporaryDirectory() as scratch:
        events = pathlib.Path(scratch, "events.json")
        code = subprocess.run([BAZEL, "test", *flags, f"--build_event_json_file={events}",
                               "--", *targets], cwd=ROOT).returncode
        if code != 0:
            return None
        return programs_of(events)


def programs_of(events):
    """The programs that a `bazel test` ran, from its build events."""
    labels = set()
    for line in events.read_text().splitlines():
        label = json.loads(line).get("id", {}).get("testSummary", {}).get("label")
        if label:
            labels.add(label)
    paths = [ROOT / "bazel-bin" / label.removeprefix("//").replace(":", "/") for label in labels]
    # Tests in Python or shell have no counters.
    return [path for path in sorted(paths) if path.read_bytes()[:4] == b"\x7fELF"]


def line_counts(programs, profiles):
    """File -> (lines covered, lines), of our own code."""
    merged = profiles / "merged.profdata"
    subprocess.run(["llvm-profdata-19", "merge", "-sparse", "-o", merged,
                    *profiles.glob("*.profraw")], check=True)
    objects = [word for path in programs[1:] for word in ("-object", path)]
    exported = subprocess.run(
        ["llvm-cov-19", "export", "-summary-only", f"-instr-profile={merged}", programs[0],
         *objects], check=True, capture_output=True, text=True).stdout
    counts = {}
    for row in json.loads(exported)["data"][0]["files"]:
        # Bazel compiles in a directory of its own: what follows the room is the path.
        words = pathlib.PurePath(row["filename"]).parts
        at = next((i for i, word in enumerate(words) if word in ROOMS), None)
        name = "/".join(words[at:]) if at is not None else ""
        if not name or "external" in words or "_test" in name or "bazel-out" in words:
            continue
        counts[name] = (row["summary"]["lines"]["covered"], row["summary"]["lines"]["count"])
    return counts


def percent(covered, lines):
    return 100 * covered / lines if lines else 100


def report(counts):
    """Prints the table; returns what is below its bar, each a sentence."""
    rooms = collections.defaultdict(lambda: [0, 0])
    for name, (covered, lines) in counts.items():
        for room in (str(pathlib.PurePath(name).parent), "all"):
            rooms[room][0] += covered
            rooms[room][1] += lines
    for room, (covered, lines) in sorted(rooms.items()):
        print(f"{room:28} {percent(covered, lines):6.1f} %  of {lines:6} lines")
    print("\nparsers")
    low = []
    for name in PARSERS:
        if name not in counts:
            low.append(f"{name} is not covered at all: was it renamed? tools/coverage.py lists it")
            continue
        share = percent(*counts[name])
        print(f"{name:28} {share:6.1f} %  of {counts[name][1]:6} lines")
        if share < PARSERS_LEAST:
            low.append(f"{name}: {share:.1f} % of its lines are covered, at least "
                       f"{PARSERS_LEAST} % is wanted")
    return low


def coverage(targets):
    """Measures and prints; returns what is wrong, each a sentence."""
    with tempfile.TemporaryDirectory() as scratch:
        profiles = pathlib.Path(scratch)
        programs = run_tests(targets, profiles)
        if programs is None:
            return ["a test failed under coverage, see above"]
        return report(line_counts(programs, profiles))


def main():
    # With some targets only, the parsers that they do not reach are reported as not covered.
    wrong = coverage(sys.argv[1:] or ["//..."])
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
