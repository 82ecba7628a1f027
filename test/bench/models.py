"""./dev bench models: glia-proxy's choice among model servers beside Envoy's.

  ./dev bench models                     all rows; exit status 1 if a bar was missed
  ./dev bench models --rows tails-85,one-slow --rounds 3
  ./dev bench models --write             put tables and plot into docs/BENCHMARKS.md

The servers are simulated (test/pool), the sidecars are real, requests come when they are due
(models_load.cc) and are the same for every contestant of a round. models_rows.py says what is measured
and what the bars are, docs/BENCHMARKS.md why.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import models_rows
import models_stage
import peers
import plot
import table
from measure import Block, busy_seconds
from models_rows import LEAST
from peers import BenchError

PLOT = "benchmarks-models.svg"
MARKS = tuple(f"<!-- models: {word} -->\n" for word in ("begin", "end"))
PROGRAMS = {"models_load": "//test/bench:models_load", "pool": "//test/pool:pool",
            "glia-proxy": "//proxy/server:glia-proxy"}
WARM_UP_S = 1.0  # Until the sidecars have heard of the servers' load.
RUN_S = 400      # Patience with one run of the load generator.


class Answers:
    """What came of a plan."""

    def __init__(self, requests, path, speed):
        lines = pathlib.Path(path).read_text().splitlines()
        last = lines.pop().split()
        self.load_cpu_s, self.span_s, self.prepared_s = map(float, last[1::2])
        self.requests, self.status, self.first, self.total, self.good = requests, [], [], [], []
        self.first_error, self.slices = "", {}
        for line in lines:
            status, first_us, total_us, sentence = line.split(" ", 3)
            good = sentence == "ok"
            if not good and not self.first_error:
                self.first_error = f"{sentence} ({status})"
            self.good.append(good)
            self.first.append(int(first_us) / 1e6 * speed)
            self.total.append(int(total_us) / 1e6 * speed)

    def errors(self):
        return self.good.count(False)

    def ttft(self):
        return sorted(first for first, good in zip(self.first, self.good) if good)

    def by_second(self):
        """(second, mean TTFT of what was due in it) of simulated time."""
        seconds = {}
        for request, first, good in zip(self.requests, self.first, self.good):
            if good:
                seconds.setdefault(int(request.due_s), []).append(first)
        return sorted((second, statistics.mean(values)) for second, values in seconds.items())


class Player:
    def __init__(self, programs, cpus):
        self.programs, self.cpus = programs, cpus

    def load(self, row, requests, addresses, work, at_once=0):
        plan, result = f"{work}/plan", f"{work}/result"
        pathlib.Path(plan).write_text("".join(request.line(row.speed) for request in requests))
        done = subprocess.run(
            [f"{self.programs}/models_load", plan, result, str(at_once), *addresses],
            preexec_fn=lambda: os.sched_setaffinity(0, {self.cpus[0]}), timeout=RUN_S)
        if done.returncode != 0:
            raise BenchError("the load generator failed (see above)")
        return Answers(requests, result, row.speed)

    def play(self, row, contestant, seed):
        with tempfile.TemporaryDirectory(prefix="glia-models-") as work:
            return KINDS[row.kind](self, row, contestant, models_rows.plan(row, seed), work)

    def open(self, row, contestant, requests, work):
        """Requests as they are due."""
        block = Block()
        with models_stage.scene(work, f"{self.programs}/pool", self.cpus, row,
                                contestant) as (pool, callers, sidecars):
            time.sleep(WARM_UP_S)
            faults = faults_of(row, pool, requests[-1].due_s / row.speed)
            busy, begun = busy_seconds(), time.monotonic()
            before = sum(sidecar.cpu_seconds() for sidecar in sidecars)
            pool_before = pool.cpu_seconds()
            addresses = [callers.address(name) for name in callers.ports if name != "admin"]
            answers = self.load(row, requests, addresses, work)
            for fault in faults:
                fault.join()
            own = sum(sidecar.cpu_seconds() for sidecar in sidecars) - before
            machine = (time.monotonic() - begun) * os.cpu_count()
            busy = busy_seconds() - busy
            known = own + answers.load_cpu_s + pool.cpu_seconds() - pool_before
            block.others = max(0.0, (busy - known) / machine)
            block.notes = {
                "busy": busy / machine, "pool_cpu": (pool.cpu_seconds() - pool_before) / machine,
                "sidecars_cpu_ms_a_request": own / len(requests) * 1e3,
                "load_cpu_ms_a_request": answers.load_cpu_s / len(requests) * 1e3,
                "by_second": answers.by_second(), "errors": answers.errors(),
                "first_error": answers.first_error}
            hits = pool.metric("vllm:prefix_cache_hits_total")
            if contestant[0] == "glia-proxy":
                block.notes["endpoints"] = callers.page("/endpoints")
            if row.deadline_s:
                block.notes |= urgent_notes(requests, answers)
                if contestant[0] == "glia-proxy":
                    block.notes |= refused(sidecars[1])
        block.requests = len(requests)
        judge(row, requests, answers, hits, block)
        return block

    def long(self, row, contestant, requests, work):
        """Large bodies through the caller's sidecar alone: as fast as it can, and what it adds at a
        rate that it can carry."""
        block = Block()
        with models_stage.scene(work, f"{self.programs}/pool", self.cpus, row, contestant,
                                reports=False) as (pool, callers, _):
            address = [callers.address("caller-0")]
            at_once = [models_rows.dataclasses.replace(request, due_s=0) for request in requests]
            self.load(row, at_once[:300], address, work, at_once=150)
            begun, before = time.monotonic(), callers.cpu_seconds()
            busy, pool_before = busy_seconds(), pool.cpu_seconds()
            peak = self.load(row, at_once, address, work, at_once=150)
            took, own = time.monotonic() - begun, callers.cpu_seconds() - before
            # Without what the load generator needs to make its prompts and to write.
            span, load_cpu = peak.span_s, peak.load_cpu_s - peak.prepared_s
            pool_cpu = pool.cpu_seconds() - pool_before
            known = own + peak.load_cpu_s + pool_cpu
            block.others = max(0.0, (busy_seconds() - busy - known) / (took * os.cpu_count()))
            part = requests[:len(requests) // 4]
            through = self.load(row, part, address, work)
            straight = self.load(row, part, pool.servers[:1], work)
        block.requests = 2 * len(requests)
        block.errors = peak.errors() + through.errors() + straight.errors()
        block.first_error = peak.first_error or through.first_error or straight.first_error
        block.value("us", span / len(requests) * 1e6)
        block.value("cpu", own / len(requests) * 1e6)
        block.value("added", (statistics.mean(through.first) - statistics.mean(straight.first)) * 1e3)
        # Below 1, this CPU was not the limit, or other work had the rest of it.
        block.notes = {"load_cpu_us": load_cpu / len(requests) * 1e6,
                       "pool_cpu_us": pool_cpu / len(requests) * 1e6,
                       "sidecar_busy": own / span,
                       "load_and_pool_busy": (load_cpu + pool_cpu) / span,
                       "straight_ms": statistics.mean(straight.first) * 1e3}
        return block


def urgent_notes(requests, answers):
    """Of the urgent ones: how many were lost, and how long the others took."""
    urgent = [(good, total) for request, good, total
              in zip(requests, answers.good, answers.total) if request.urgent]
    totals = sorted(total for good, total in urgent if good)
    return {"urgent_lost_percent": (1 - len(totals) / len(urgent)) * 100,
            "urgent_answered_p99_ms": totals[int(len(totals) * 0.99)] * 1e3}


def refused(servers):
    """By the reason, of all servers' sidecars."""
    found = re.findall(r'^glia_admission_refused_total{.*reason="(\w+)".*} (\S+)$',
                       servers.page("/stats/prometheus"), re.MULTILINE)
    sums = {}
    for reason, number in found:
        sums[f"refused_{reason}"] = sums.get(f"refused_{reason}", 0.0) + float(number)
    return sums


KINDS = {"open": Player.open, "long": Player.long}


def faults_of(row, pool, lasts_s):
    """Threads that break server 0 for the middle third."""
    threads = [threading.Timer(lasts_s / 3, pool.tell, (0, row.fault)),
               threading.Timer(lasts_s * 2 / 3, pool.tell, (0, row.cure))] if row.fault else []
    for thread in threads:
        thread.start()
    return threads


def judge(row, requests, answers, hits, block):
    """The figures of an open loop."""
    ttft = answers.ttft()
    lost = answers.errors() / len(requests) * 100
    wanted = {figure.name for figure in row.figures}
    if "lost" not in wanted and not row.deadline_s:
        block.errors, block.first_error = answers.errors(), answers.first_error
    elif not ttft:
        raise BenchError(f"nothing was answered: {answers.first_error}")
    if block.errors:
        return
    figures = {"lost": lost, "mean": statistics.mean(ttft) * 1e3,
               "p99": ttft[int(len(ttft) * 0.99)] * 1e3}
    oracle = models_rows.oracle_hits(requests)
    if oracle:
        figures["unused"] = max(0.0, 1 - hits / oracle) * 100
    if row.fault:
        figures["worst"], figures["recovery"] = collapse(answers.by_second())
    if row.deadline_s:
        in_time = sum(good and total <= row.deadline_s
                      for good, total in zip(answers.good, answers.total))
        figures["missing"] = max(0.0, 1 - in_time / (len(requests) / row.use)) * 100
        urgent = sorted(total if good else RUN_S for request, total, good
                        in zip(requests, answers.total, answers.good) if request.urgent)
        figures["urgent"] = urgent[int(len(urgent) * 0.99)] * 1e3
    block.figures = {name: figures[name] for name in wanted}


def collapse(by_second):
    """The mean TTFT of the worst second since the fault began, in the second third, to what was usual
    before; and how long after its beginning the last second was that was worse than twice that (s)."""
    last = by_second[-1][0]
    begins = last / 3
    before = [mean for second, mean in by_second if 1 <= second < begins] or [by_second[0][1]]
    usual = statistics.mean(before)
    after = [(second, mean) for second, mean in by_second if second >= int(begins)]
    bad = [second for second, mean in after if mean > 2 * usual]
    worst = max(mean for _, mean in after) / usual
    return worst, max(0.0, bad[-1] + 1 - begins) if bad else 0.0


def say(line):
    print(line, file=sys.stderr, flush=True)


def tell(row, label, number, block):
    figures = "  ".join(f"{figure.name} {block.figures[figure.name]:.{figure.digits}f}"
                        for figure in row.figures if block.figures.get(figure.name) is not None)
    notes = "  ".join(f"{name} {value:.2f}" for name, value in block.notes.items()
                      if isinstance(value, float))
    trouble = f"  {block.errors} ERRORS: {block.first_error}" * (block.errors > 0)
    say(f"round {number + 1}  {row.name:16} {label:20} {figures}  ({notes}, others "
        f"{block.others * 100:.0f} %){trouble}")


def compare(arguments, player):
    blocks, unmeasured = [], {}
    for number in range(arguments.rounds):
        for row in arguments.rows:
            contestants = list(row.contestants.items())
            for label, contestant in contestants if number % 2 == 0 else contestants[::-1]:
                if contestant[0] not in arguments.only:
                    continue
                try:
                    block = player.play(row, contestant, number)
                except BenchError as error:
                    unmeasured[row.name, label] = str(error)
                    say(f"bench: {row.name} with {label} cannot be measured: {error}")
                    continue
                tell(row, label, number, block)
                blocks.append({"row": row.name, "label": label, "round": number, **vars(block)})
    return blocks, unmeasured


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev bench models", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    rows, names = models_rows.ROWS, ["glia-proxy", "envoy"]

    def chosen_from(known):
        def choose(text):
            for word in text.split(","):
                if word not in known:
                    parser.error(f"'{word}' is not one of {', '.join(known)}")
            return text.split(",")
        return choose

    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--rows", type=chosen_from(rows), default=list(rows), metavar="ROWS",
                        help=f"of {','.join(rows)}")
    parser.add_argument("--only", type=chosen_from(names), default=names, metavar="NAMES",
                        help=f"of {','.join(names)}")
    parser.add_argument("--requests", choices=("all", "small"), default="all",
                        help="small: see whether everything works; figures mean nothing")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--write", action="store_true", help="put tables and plot into the page")
    parser.add_argument("--bin", metavar="DIRECTORY",
                        help="a bazel-bin with programs to use instead of building them")
    chosen = parser.parse_args(arguments)
    chosen.rows = [rows[name] for name in chosen.rows]
    if chosen.requests == "small":
        chosen.rows = [models_rows.small(row) for row in chosen.rows]
        if chosen.write:
            parser.error("--write with --requests small would publish figures that mean nothing")
    return chosen


def measure(arguments, run):
    """`run` is the module that called: it builds programs and knows the machine."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise BenchError("this process may use one CPU only; the comparison needs two")
    run.raise_descriptor_limit()
    if not arguments.bin:
        run.build(list(PROGRAMS.values()))
    with tempfile.TemporaryDirectory(prefix="glia-bench-bin-") as programs:
        for name, target in PROGRAMS.items():
            shutil.copy(run.built(target, arguments.bin), f"{programs}/{name}")
        peers.Glia.binary = f"{programs}/glia-proxy"
        before = os.getloadavg()
        blocks, unmeasured = compare(arguments, Player(programs, cpus))
        return table.Result(
            rows=arguments.rows, only=arguments.only, blocks=blocks, rounds=arguments.rounds,
            unmeasured=unmeasured, machine=run.machine(), versions=run.versions(arguments.only),
            load_average=(before[0], os.getloadavg()[0]))


def main(arguments, run):
    chosen = parse(arguments)
    result = measure(chosen, run)
    small = chosen.requests == "small"
    text = table.circumstances(result) if small else table.render(result)
    print(text)
    if chosen.json:
        pathlib.Path(chosen.json).write_text(json.dumps(result.as_json(), indent=1) + "\n")
    if chosen.write:
        table.write(run.PAGE, f"![How far each bar is met]({PLOT})\n\n{text}", MARKS)
        (run.PAGE.parent / PLOT).write_text(plot.draw(result.verdicts()), encoding="utf-8")
    trouble = table.failures(result) + ([] if small else table.missed(result))
    for sentence in trouble:
        say(f"bench: {sentence}")
    return 1 if trouble else 0
