"""Measures glia-proxy beside Envoy, HAProxy, nginx, nghttpx and a bare relay; called by ./dev bench.

  ./dev bench            the comparison; exit status 1 if a request failed or a bar was missed
  ./dev bench parts      Google Benchmark for the parts (every //test/bench:*_bench)
  ./dev bench control [--write]
                         the control plane: what one change costs in meshes of several sizes, and
                         how long it takes to reach thousands of sidecars
  ./dev bench models     choosing among model servers; --help says what
  ./dev bench instructions [--renew]
                         instructions a request by callgrind against their budget; or a new budget

Origin and load generator are one thread on the first CPU, each proxy has one worker on the second.
The proxies take turns within each round, so what the machine does meanwhile meets all of them; ratios
are taken within a round. rows.py says what is measured and what the bars are, docs/BENCHMARKS.md why.
"""

import argparse
import collections
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import control
import instructions
import measure
import models
import peers
import plot
import rows
import stage
import table
from peers import BenchError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BAZEL = "/usr/bin/bazel"
RELEASE = ["--config=release", "-c", "opt"]
PROGRAMS = {"load": "//test/bench:load", "relay": "//test/bench:relay",
            "glia-proxy": "//proxy/server:glia-proxy"}
PAGE = ROOT / "docs" / "BENCHMARKS.md"
PLOT = ROOT / "docs" / "benchmarks.svg"
# A block is measured again if other processes took more than this share of the machine meanwhile.
QUIET = 0.15
# After so many blocks that failed a contestant is not asked again on that row.
MOST_STRIKES = 2


def say(line):
    print(line, file=sys.stderr, flush=True)


def build(targets, flags=RELEASE):
    say(f"building {' '.join(targets)}")
    command = [BAZEL, "build", "--ui_event_filters=-info", "--noshow_progress", *flags, *targets]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise BenchError("the build failed (see above)")


def built(target, where=None):
    path, name = target.removeprefix("//").split(":")
    return pathlib.Path(where or ROOT / "bazel-bin") / path / name


def run_parts(arguments):
    sources = sorted((ROOT / "test" / "bench").glob("*_bench.cc"))
    targets = [f"//test/bench:{source.stem}" for source in sources]
    build(targets)
    worst = 0
    for target in targets:
        print(f"\n=== {target}", flush=True)
        worst = max(worst, subprocess.run([built(target), *arguments]).returncode)
    return worst


def run_instructions(arguments):
    if arguments not in ([], ["--renew"]):
        raise BenchError(f"instructions: {' '.join(arguments)} is not --renew")
    if not instructions.available():
        raise BenchError("valgrind is not on this machine; ./dev bench installs it")
    # As ./dev test builds it: link-time optimisation would take minutes there.
    build([instructions.TARGET], ["-c", "opt"])
    measured = instructions.measure(built(instructions.TARGET))
    for scenario, number in measured.items():
        print(f"{scenario:16} {number}")
    if arguments:
        instructions.write_budget(measured)
        return 0
    found = instructions.complaints(measured, instructions.read_budget())
    for sentence in found:
        say(f"bench: {sentence}")
    return 1 if found else 0


def measure_quietly(scene, row, contestant, tries):
    """The least disturbed of up to `tries` blocks; a block with errors counts at once."""
    best = None
    for _ in range(tries):
        block = measure.KINDS[row.kind](scene, row, contestant)
        if best is None or block.errors or block.others < best.others:
            best = block
        if best.errors or best.others <= QUIET:
            break
    return best


class Comparison:
    """All rounds, and what was found out."""

    def __init__(self, arguments, scene):
        self.arguments = arguments
        self.scene = scene
        self.blocks = []
        self.unmeasured = {}  # (row, contestant): why, the last time.
        self.strikes = collections.Counter()  # (row, contestant): blocks that failed.
        self.rounds = 0

    def run(self):
        begun = time.monotonic()
        longest = 0
        for number in range(self.arguments.rounds):
            left = self.arguments.minutes * 60 - (time.monotonic() - begun)
            if number and left < longest:
                say(f"no time for round {number + 1}: {self.arguments.minutes} minutes are used up")
                break
            start = time.monotonic()
            for row in self.arguments.rows:
                if number < row.most_rounds:
                    self.play(row, number)
            longest = max(longest, time.monotonic() - start)
            self.rounds = number + 1

    def play(self, row, number):
        wanted = [(label, contestant) for label, contestant in row.contestants.items()
                  if contestant[0] in self.arguments.only]
        # Forward and backward in turn, so that nobody always comes after the same neighbour.
        for label, contestant in wanted if number % 2 == 0 else wanted[::-1]:
            if self.strikes[row.name, label] >= MOST_STRIKES:
                continue
            try:
                block = measure_quietly(self.scene, row, contestant, self.arguments.tries)
            except stage.LoadLost as error:
                self.give_up(row, label, error)
                self.scene.restart()
            except BenchError as error:
                self.give_up(row, label, error)
            else:
                self.keep(row, label, number, block)

    def give_up(self, row, label, error):
        self.unmeasured[row.name, label] = str(error)
        self.strikes[row.name, label] += 1
        say(f"bench: {row.name} with {label} cannot be measured: {error}")

    def keep(self, row, label, number, block):
        self.strikes[row.name, label] += block.errors > 0
        self.blocks.append({"row": row.name, "label": label, "round": number, **vars(block)})
        figures = "  ".join(
            f"{figure.name} {block.figures[figure.name]:.{figure.digits}f}"
            for figure in row.figures if block.figures.get(figure.name) is not None)
        trouble = f"  {block.errors} ERRORS: {block.first_error}" * (block.errors > 0)
        say(f"round {number + 1}/{self.arguments.rounds}  {row.name:18} {label:16} {figures}  "
            f"(others {block.others * 100:.0f} %){trouble}")


def machine():
    cpu = next((line.split(":", 1)[1].strip()
                for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n")
                if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT,
                            capture_output=True, text=True).stdout.strip()
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": os.uname().release, "commit": commit,
            "date": time.strftime("%Y-%m-%d")}


def raise_descriptor_limit():
    """For 10,000 idle connections; what we start inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def versions(names):
    """Of those that are there; the others will be missed when they are started."""
    found = {}
    for name in names:
        try:
            found[name] = peers.PROXIES[name].version()
        except (BenchError, OSError, subprocess.CalledProcessError):
            found[name] = "missing"
    return found


def comparison(arguments):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise BenchError("this process may use one CPU only; the comparison needs two, one for the "
                         "proxy and one for origin and load generator")
    raise_descriptor_limit()
    given = {"glia-proxy": arguments.proxy}
    missing = [target for name, target in PROGRAMS.items() if not given.get(name)]
    if not arguments.bin:
        build(missing)
    with tempfile.TemporaryDirectory(prefix="glia-bench-bin-") as programs:
        # Copies, because another build may replace what is in bazel-bin meanwhile.
        for name, target in PROGRAMS.items():
            shutil.copy(given.get(name) or built(target, arguments.bin), f"{programs}/{name}")
        peers.Glia.binary = f"{programs}/glia-proxy"
        peers.Relay.binary = f"{programs}/relay"
        scene = stage.Stage(f"{programs}/load", cpus)
        before = os.getloadavg()
        played = Comparison(arguments, scene)
        try:
            played.run()
        finally:
            scene.close()
        return table.Result(
            rows=arguments.rows, only=arguments.only, blocks=played.blocks, rounds=played.rounds,
            unmeasured=played.unmeasured, machine=machine(), versions=versions(arguments.only),
            load_average=(before[0], os.getloadavg()[0]))


def chosen_from(names, parser):
    def choose(text):
        words = text.split(",")
        for word in words:
            if word not in names:
                parser.error(f"'{word}' is not one of {', '.join(names)}")
        return words
    return choose


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names, all_rows = list(peers.PROXIES), list(rows.ROWS)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--only", default=names, metavar="NAMES", type=chosen_from(names, parser),
                        help=f"of {','.join(names)}")
    parser.add_argument("--rows", default=all_rows, metavar="ROWS",
                        type=chosen_from(all_rows, parser), help=f"of {','.join(all_rows)}")
    parser.add_argument("--requests", choices=("all", "small"), default="all",
                        help="small: see whether everything works; figures and bars mean nothing")
    parser.add_argument("--minutes", type=float, default=18, metavar="N",
                        help="no further round is begun that would not end within so many minutes")
    parser.add_argument("--tries", type=int, default=2, metavar="N",
                        help="how often a block is measured at most when others are busy")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--write", action="store_true",
                        help=f"put tables and plot into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--bin", metavar="DIRECTORY",
                        help="a bazel-bin with programs to use instead of building them")
    parser.add_argument("--proxy", metavar="BINARY", help="another glia-proxy than that of this tree")
    chosen = parser.parse_args(arguments)
    chosen.rows = [rows.ROWS[name] for name in chosen.rows]
    if chosen.requests == "small":
        chosen.rows = [rows.small(row) for row in chosen.rows]
        chosen.tries = 1
        if chosen.write:
            parser.error("--write with --requests small would publish figures that mean nothing")
    return chosen


def main():
    if sys.argv[1:2] == ["control"]:
        return control.run(sys.argv[2:], build, built, PAGE)
    if sys.argv[1:2] == ["parts"]:
        return run_parts(sys.argv[2:])
    if sys.argv[1:2] == ["models"]:
        return models.main(sys.argv[2:], sys.modules[__name__])
    if sys.argv[1:2] == ["instructions"]:
        return run_instructions(sys.argv[2:])
    arguments = parse(sys.argv[1:])
    result = comparison(arguments)
    text = table.render(result) if arguments.requests == "all" else table.circumstances(result)
    print(text)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result.as_json(), indent=1) + "\n")
    if arguments.write:
        table.write(PAGE, f"![How far each bar is met]({PLOT.name})\n\n{text}")
        PLOT.write_text(plot.draw(result.verdicts()), encoding="utf-8")
    trouble = table.failures(result)
    if arguments.requests == "all":
        trouble += table.missed(result)
    for sentence in trouble:
        say(f"bench: {sentence}")
    return 1 if trouble else 0


if __name__ == "__main__":
    # So that the proxies are stopped also when somebody stops us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except (BenchError, instructions.CountError) as error:
        say(f"bench: {error}")
        sys.exit(1)
