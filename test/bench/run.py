"""Measures what a request costs in glia-proxy beside Envoy, HAProxy and nginx; called by ./dev bench.

  ./dev bench            the comparison; exit status 1 if a request failed or a bar was missed
  ./dev bench parts      Google Benchmark for the parts (every //test/bench:*_bench)

The figure is CPU time of the proxy for each request, at a closed loop of clients. Origin and load
generator are one thread on the first CPU, the proxy has one worker on the second. The proxies take
turns within each round, so what the machine does meanwhile meets all of them; ratios are taken
within a round. docs/BENCHMARKS.md says more.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import peers
import table
from peers import BenchError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BAZEL = "/usr/bin/bazel"
RELEASE = ["--config=release", "-c", "opt"]

# Row: protocol, transport, connections, streams of each, requests measured a round.
ROWS = {
    "http1-clear": ("http1", "clear", 64, 1, 20_000),
    "http1-tls": ("http1", "tls", 64, 1, 20_000),
    "http2-clear": ("http2", "clear", 8, 32, 40_000),
    "http2-tls": ("http2", "tls", 8, 32, 40_000),
}
WARM_UP = 0.1  # of the requests measured
# A block is measured again if other processes took more than this share of the machine meanwhile.
QUIET = 0.15


def say(line):
    print(line, file=sys.stderr, flush=True)


def build(targets):
    say(f"building {' '.join(targets)}")
    command = [BAZEL, "build", "--ui_event_filters=-info", "--noshow_progress", *RELEASE, *targets]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise BenchError("the build failed (see above)")


def built(target):
    path, name = target.removeprefix("//").split(":")
    return ROOT / "bazel-bin" / path / name


def run_parts(arguments):
    sources = sorted((ROOT / "test" / "bench").glob("*_bench.cc"))
    targets = [f"//test/bench:{source.stem}" for source in sources]
    build(targets)
    worst = 0
    for target in targets:
        print(f"\n=== {target}", flush=True)
        worst = max(worst, subprocess.run([built(target), *arguments]).returncode)
    return worst


class Load:
    """The origin and load generator, told what to do by lines; see load.cc."""

    def __init__(self, binary, work, cpu, body):
        self.process = subprocess.Popen(
            [binary, f"--certificate={work}", f"--body={body}"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        self.origin = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise BenchError("the load generator ended by itself (see above)")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError(f"load generator: {answer['error']}")
        return answer

    def ask(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


def busy_seconds():
    """CPU time that the whole machine has spent on something, since it started."""
    words = pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def measure(proxy, row, load):
    """One block: CPU time a request of one proxy on one row."""
    protocol, transport, connections, streams, requests = ROWS[row]
    load.ask("connect", proxy.address(row), protocol, transport, connections, streams)
    warm = load.ask("send", int(requests * WARM_UP))
    busy, begun, cpu = busy_seconds(), time.monotonic(), proxy.cpu_seconds()
    sent = load.ask("send", requests)
    cpu = proxy.cpu_seconds() - cpu
    elapsed, busy = time.monotonic() - begun, busy_seconds() - busy
    load.ask("close")
    errors = warm["errors"] + sent["errors"]
    if sent["reached_origin"] != sent["answered"]:
        errors += abs(sent["reached_origin"] - sent["answered"])
    others = max(0.0, busy - cpu - sent["own_cpu_seconds"]) / (elapsed * os.cpu_count())
    return {
        "proxy": proxy.name,
        "row": row,
        "cpu_us": cpu / sent["answered"] * 1e6 if sent["answered"] else None,
        "requests": sent["answered"],
        "errors": errors,
        "first_error": warm["first_error"] or sent["first_error"],
        "per_second": sent["answered"] / sent["seconds"],
        "p50_us": sent["p50_us"],
        "p99_us": sent["p99_us"],
        "load_cpu_us": sent["own_cpu_seconds"] / requests * 1e6,
        "others": others,
        "load_average": os.getloadavg()[0],
    }


def measure_quietly(proxy, row, load, tries):
    """The least disturbed of up to `tries` blocks; a block with errors counts at once."""
    best = None
    for _ in range(tries):
        block = measure(proxy, row, load)
        if best is None or block["errors"] or block["others"] < best["others"]:
            best = block
        if best["errors"] or best["others"] <= QUIET:
            break
    return best


def compare(arguments, load, proxies):
    idle, blocks = {}, []
    for proxy in proxies:
        say(f"starting {proxy.name}")
        proxy.start()
    time.sleep(1)
    for proxy in proxies:
        idle[proxy.name] = proxy.resident_mb()
    for number in range(arguments.rounds):
        for row in arguments.rows:
            # Forward and backward in turn, so that nobody always comes after the same neighbour.
            order = proxies if number % 2 == 0 else proxies[::-1]
            for proxy in order:
                block = measure_quietly(proxy, row, load, arguments.tries)
                block["round"] = number
                blocks.append(block)
                trouble = f"  {block['errors']} ERRORS: {block['first_error']}" * (block["errors"] > 0)
                cost = "-" if block["cpu_us"] is None else f"{block['cpu_us']:.2f}"
                say(f"round {number + 1}/{arguments.rounds}  {row:12} {proxy.name:10} "
                    f"{cost:>7} us  {block['per_second']:8.0f}/s  "
                    f"others {block['others'] * 100:3.0f} %{trouble}")
    after = {proxy.name: proxy.resident_mb() for proxy in proxies}
    return {"blocks": blocks, "idle_mb": idle, "after_mb": after}


def summarise(measured, names, rows):
    """Medians and ranges of each row and proxy, and of the ratios within a round."""
    summary = {}
    for row in rows:
        by_round = {}
        for block in measured["blocks"]:
            if block["row"] == row and block["cpu_us"] is not None:
                by_round.setdefault(block["round"], {})[block["proxy"]] = block["cpu_us"]
        summary[row] = {"cpu_us": {}, "ratio": {}}
        for name in names:
            costs = [costs[name] for costs in by_round.values() if name in costs]
            if costs:
                summary[row]["cpu_us"][name] = [statistics.median(costs), min(costs), max(costs)]
            ratios = [costs["glia-proxy"] / costs[name] for costs in by_round.values()
                      if name in costs and "glia-proxy" in costs]
            if ratios and name != "glia-proxy":
                summary[row]["ratio"][name] = [statistics.median(ratios), min(ratios), max(ratios)]
    return summary


def machine():
    cpu = next((line.split(":", 1)[1].strip()
                for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n")
                if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT,
                            capture_output=True, text=True).stdout.strip()
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": os.uname().release, "commit": commit,
            "date": time.strftime("%Y-%m-%d")}


def comparison(arguments):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise BenchError("this process may use one CPU only; the comparison needs two, one for the "
                         "proxy and one for origin and load generator")
    targets = ([] if arguments.load else ["//test/bench:load"])
    targets += [] if arguments.proxy else ["//proxy/server:glia-proxy"]
    if targets:
        build(targets)
    with tempfile.TemporaryDirectory(prefix="glia-bench-") as work:
        # Copies, because another build may replace what is in bazel-bin meanwhile.
        load_binary = shutil.copy(arguments.load or built("//test/bench:load"), f"{work}/load")
        peers.Glia.binary = shutil.copy(arguments.proxy or built("//proxy/server:glia-proxy"),
                                        f"{work}/glia-proxy-binary")
        load = Load(load_binary, work, cpus[0], arguments.body)
        proxies = []
        try:
            for name in arguments.only:
                proxies.append(peers.PROXIES[name](work, load.origin, cpus[1]))
            result = {"machine": machine(), "arguments": vars(arguments),
                      "versions": {proxy.name: proxy.version() for proxy in proxies},
                      "load_average_before": os.getloadavg()}
            result.update(compare(arguments, load, proxies))
            result["load_average_after"] = os.getloadavg()
        finally:
            for proxy in proxies:
                proxy.stop()
            load.stop()
    result["summary"] = summarise(result, arguments.only, arguments.rows)
    return result


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(peers.PROXIES)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--only", default=names, metavar="NAMES", type=lambda s: s.split(","),
                        help=f"of {','.join(names)}")
    parser.add_argument("--rows", default=list(ROWS), metavar="ROWS", type=lambda s: s.split(","),
                        help=f"of {','.join(ROWS)}")
    parser.add_argument("--body", type=int, default=1024, metavar="BYTES", help="of each answer")
    parser.add_argument("--tries", type=int, default=3, metavar="N",
                        help="how often a block is measured at most when others are busy")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--write", action="store_true", help="put the table into docs/BENCHMARKS.md")
    parser.add_argument("--load", metavar="BINARY", help="use this instead of building //test/bench:load")
    parser.add_argument("--proxy", metavar="BINARY", help="use this instead of building glia-proxy")
    chosen = parser.parse_args(arguments)
    for given, known in ((chosen.only, names), (chosen.rows, list(ROWS))):
        for word in given:
            if word not in known:
                parser.error(f"'{word}' is not one of {', '.join(known)}")
    return chosen


def main():
    if sys.argv[1:2] == ["parts"]:
        return run_parts(sys.argv[2:])
    arguments = parse(sys.argv[1:])
    result = comparison(arguments)
    text = table.render(result)
    print(text)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    if arguments.write:
        table.write(ROOT / "docs" / "BENCHMARKS.md", text)
    trouble = table.trouble(result)
    for sentence in trouble:
        say(f"bench: {sentence}")
    return 1 if trouble else 0


if __name__ == "__main__":
    # So that the proxies are stopped also when somebody stops us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except BenchError as error:
        say(f"bench: {error}")
        sys.exit(1)
