"""Runs every test of the project and counts test cases; called by ./dev test.

Phases: all tests optimised; our code's tests under AddressSanitizer and UBSan; the tests that are
tagged "tsan" under ThreadSanitizer; the end-to-end tests in test/e2e with real peers; the
demonstration; with --long, the fuzz targets for a while, and the package in a bare Debian. The last line of the output is "N passed, N failed", and nothing else decides the
exit status.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree

import fuzz

ROOT = pathlib.Path(__file__).resolve().parent.parent
BAZEL = "/usr/bin/bazel"
OLDEST_GO = (1, 22)
E2E_TIMEOUT_S = 300
# What ./dev build builds.
PROGRAMS = ("//proxy/server:glia-proxy", "//control_plane:glia-control",
            "//control_plane/standalone:glia-translate", "//cli:glia",
            "//test/e2e:report_control", "//test/pool:pool")
DEMO_LIMIT_S = 360  # Twice what ./dev demo may take: other things may run beside a test.
FUZZ_SECONDS = 30  # for each target
NOT_RUN = {"FAILED_TO_BUILD", "NO_STATUS", "INCOMPLETE"}


class Tally:
    """What was seen so far."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skipped = []
        self.phases = []

    def phase(self, name, run):
        print(f"\n=== {name}", flush=True)
        start, passed, failed = time.monotonic(), self.passed, len(self.failures)
        run()
        seconds = time.monotonic() - start
        line = (f"{name}: {self.passed - passed} passed, {len(self.failures) - failed} failed, "
                f"{seconds:.0f} s")
        self.phases.append(line)
        print(f"--- {line}", flush=True)

    def finish(self):
        print("\n=== summary")
        for line in self.phases:
            print(f"  {line}")
        for name, why in self.skipped:
            print(f"  skipped {name}: {why}")
        for name in self.failures:
            print(f"  FAILED {name}")
        if not self.passed and not self.failures:
            self.failures.append("nothing ran")
            print("  FAILED: no test ran at all")
        print(f"{self.passed} passed, {len(self.failures)} failed", flush=True)
        return 1 if self.failures else 0


def count_cases(path, label, tally):
    """Adds the cases of one test.xml (GoogleTest's, or the one that Bazel writes for others).
    Returns how many it held and how many of them failed."""
    try:
        tree = xml.etree.ElementTree.parse(path)
    except (OSError, xml.etree.ElementTree.ParseError):
        return 0, 0
    cases = failed = 0
    for case in tree.iter("testcase"):
        if case.get("status") == "notrun":
            continue
        name = f"{label} {case.get('classname', '')}.{case.get('name', '')}"
        cases += 1
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            tally.failures.append(name)
        elif case.get("result") == "skipped" or case.find("skipped") is not None:
            note = case.find("skipped")
            why = (note.get("message") if note is not None else None) or "the test says so"
            tally.skipped.append((name, why.strip().splitlines()[-1]))
        else:
            tally.passed += 1
    return cases, failed


def count_events(path, configuration, tally):
    """Counts the result of a `bazel test` from its build events. Returns whether a test that
    failed explains a failing exit status."""
    outputs, status, broken = {}, {}, []
    with open(path, encoding="utf-8") as events:
        for line in events:
            event = json.loads(line)
            kind = event.get("id", {})
            if "testResult" in event:
                files = event["testResult"].get("testActionOutput", [])
                outputs.setdefault(kind["testResult"]["label"], []).extend(
                    urllib.parse.unquote(urllib.parse.urlparse(f["uri"]).path)
                    for f in files if f.get("name") == "test.xml" and "uri" in f)
            elif "testSummary" in event:
                status[kind["testSummary"]["label"]] = event["testSummary"]["overallStatus"]
            elif "targetCompleted" in kind and not event.get("completed", {}).get("success"):
                broken.append(kind["targetCompleted"]["label"])
    for label in broken:
        status.setdefault(label, "FAILED_TO_BUILD")
    for label, outcome in sorted(status.items()):
        name = f"{label} ({configuration})" if configuration else label
        if outcome in NOT_RUN:
            tally.failures.append(f"{name}: {outcome.lower().replace('_', ' ')}")
            continue
        # A flaky target lists one file an attempt: the last one is what it ended with.
        paths = outputs.get(label, [])[-1:]
        cases, failed = count_cases(paths[0], name, tally) if paths else (0, 0)
        if outcome != "PASSED" and failed == 0:
            tally.failures.append(f"{name}: {outcome.lower()}")  # A crash leaves no cases.
        elif cases == 0:
            tally.passed += 1
    return any(outcome != "PASSED" for outcome in status.values())


def bazel_test(tally, targets, flags, tags, configuration=""):
    with tempfile.TemporaryDirectory() as scratch:
        events = pathlib.Path(scratch, "events.json")
        command = [BAZEL, "test", "--keep_going", "--noshow_progress", "--test_summary=terse",
                   "--ui_event_filters=-info", f"--build_event_json_file={events}",
                   f"--test_tag_filters={','.join(tags)}", *flags, "--", *targets]
        code = subprocess.run(command, cwd=ROOT).returncode
        explained = count_events(events, configuration, tally) if events.exists() else False
    # 4: no test matched, which the summary catches if it is so in every phase.
    if code not in (0, 4) and not explained:
        tally.failures.append(f"bazel test {' '.join(flags)}: exit status {code}, see above")


def recent_go():
    """The path of a Go that can build the Go peers, or None."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not go:
        return None
    words = subprocess.run([go, "version"], capture_output=True, text=True).stdout.split()
    try:
        version = tuple(int(part) for part in words[2].removeprefix("go").split(".")[:2])
    except (IndexError, ValueError):
        return None
    return go if version >= OLDEST_GO else None


def sanitized_end_to_end(tally):
    """The same scripts with programs that are built with AddressSanitizer and UBSan. What they find
    ends a program with status 1 or a signal, and is in its log."""
    with tempfile.TemporaryDirectory(prefix="glia-asan-") as scratch:
        command = [BAZEL, "build", "--noshow_progress", "--ui_event_filters=-info", "--config=asan",
                   *PROGRAMS]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            tally.failures.append("the programs with AddressSanitizer: do not build, see above")
            return
        for label in PROGRAMS:  # The next build turns bazel-bin away from them.
            path = label.removeprefix("//").replace(":", "/")
            pathlib.Path(scratch, path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "bazel-bin" / path, pathlib.Path(scratch, path))
        end_to_end(tally, False, scratch, GLIA_SANITIZED="1", ASAN_OPTIONS="detect_leaks=1",
                   UBSAN_OPTIONS="print_stacktrace=1")


def end_to_end(tally, long, programs=ROOT / "bazel-bin", **more):
    environment = dict(os.environ, GLIA_BIN=str(programs), PYTHONPATH=str(ROOT), **more)
    go = recent_go()
    if go:
        environment["GLIA_GO"] = go
    else:
        environment.pop("GLIA_GO", None)
        oldest = ".".join(map(str, OLDEST_GO))
        print(f"no Go {oldest} or newer on this machine: tests with peers in Go are skipped")
    if long:
        environment["GLIA_LONG"] = "1"
    for script in sorted((ROOT / "test" / "e2e").glob("*_test.py")):
        run_script(tally, script, environment)


def run_script(tally, script, environment):
    name = str(script.relative_to(ROOT))
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch, "report.json")
        command = [sys.executable, str(ROOT / "tools" / "unittest_report.py"), script, report]
        try:
            code = subprocess.run(command, cwd=ROOT, env=environment,
                                  timeout=E2E_TIMEOUT_S).returncode
        except subprocess.TimeoutExpired:
            tally.failures.append(f"{name}: not finished after {E2E_TIMEOUT_S} s")
            return
        if not report.exists():
            tally.failures.append(f"{name}: ended with status {code} before its report")
            return
        seen = json.loads(report.read_text())
    tally.passed += seen["passed"]
    tally.skipped += [(f"{name} {case}", why) for case, why in seen["skipped"]]
    tally.failures += [f"{name} {case}" for case in seen["failed"]]
    if not seen["passed"] and not seen["failed"] and not seen["skipped"]:
        tally.failures.append(f"{name}: has no test")


def packaging(tally):
    """What people install: of programs with all linked in, tried in a bare Debian 12. Last, because bazel-bin
    holds those programs afterwards."""
    with tempfile.TemporaryDirectory(prefix="glia-package-") as packages:
        if subprocess.run([ROOT / "dev", "package", "--out", packages], cwd=ROOT).returncode != 0:
            tally.failures.append("./dev package: failed, see above")
            return
        environment = dict(os.environ, GLIA_BIN=str(ROOT / "bazel-bin"), PYTHONPATH=str(ROOT),
                           GLIA_PACKAGES=packages)
        run_script(tally, ROOT / "test" / "e2e" / "package_test.py", environment)


def fuzzing(tally):
    targets = fuzz.all_targets()
    wrong = fuzz.fuzz(targets, FUZZ_SECONDS)
    for text in wrong:
        print(text)
    tally.passed += len(targets) - len(wrong)
    tally.failures += [f"fuzzing {text.splitlines()[0]}" for text in wrong]


def demonstration(tally):
    """./dev demo is a test too: it says itself whether all was seen."""
    environment = dict(os.environ, GLIA_DEMO_LIMIT_S=str(DEMO_LIMIT_S))
    code = subprocess.run([sys.executable, ROOT / "demo" / "run.py"], cwd=ROOT,
                          env=environment).returncode
    if code == 0:
        tally.passed += 1
    else:
        tally.failures.append(f"demo/run.py: status {code}, see above")


def main():
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true",
                        help='also what is tagged "long"; sets GLIA_LONG=1 for the others')
    parser.add_argument("targets", nargs="*",
                        help="Bazel targets instead of everything; then no end-to-end tests")
    options = parser.parse_args()
    targets = options.targets or ["//..."]
    ours = [] if options.long else ["-long"]
    env = ["--test_env=GLIA_LONG=1"] if options.long else []
    tally = Tally()
    try:
        # Without --build_tests_only: what no test uses must compile too.
        tally.phase("optimised", lambda: bazel_test(tally, targets, env, ours))
        tally.phase("AddressSanitizer and UBSan", lambda: bazel_test(
            tally, targets, ["--config=asan", "--build_tests_only", *env], ours + ["-noasan"],
            "asan"))
        tally.phase("ThreadSanitizer", lambda: bazel_test(
            tally, targets, ["--config=tsan", "--build_tests_only", *env], ours + ["tsan"],
            "tsan"))
        if options.long and not options.targets:
            tally.phase("end to end under AddressSanitizer and UBSan",
                        lambda: sanitized_end_to_end(tally))
        if not options.targets:
            # bazel-bin pointed at the last configuration: make it the optimised one again.
            subprocess.run([BAZEL, "build", "--noshow_progress", "--ui_event_filters=-info",
                            "//proxy/...", "//control_plane/...", "//cli/...",
                            "//test/interop:hostile_cases", "//test/faults:fault_shim.so", "//test/bench/...",
                            "//test/pool"],
                           cwd=ROOT)
            tally.phase("end to end", lambda: end_to_end(tally, options.long))
            tally.phase("demonstration", lambda: demonstration(tally))
            if options.long:
                tally.phase("fuzzing", lambda: fuzzing(tally))
                tally.phase("package", lambda: packaging(tally))
    except KeyboardInterrupt:
        tally.failures.append("interrupted")
    subprocess.run([sys.executable, ROOT / "tools" / "prune_cache.py"])
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
