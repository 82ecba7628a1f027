"""How each kind of row is measured: one block, of one contestant, in one round.

Each function takes a stage, a row and a contestant and returns a Block. What cannot be measured is a
BenchError; what went wrong with single requests is counted in the block.
"""

import os
import pathlib
import time

from peers import BenchError

WARM_UP = 0.1  # of the requests measured
SETTLE_S = 0.05  # for what a proxy still has to do when its last answer is there
IDLE_S = 1.0     # before resident memory is read
OPEN_S = 2.0     # of the open loop
MOST_OPEN = 60_000  # requests of the open loop


def busy_seconds():
    """CPU time that the whole machine has spent on something, since it started."""
    words = pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Block:
    """What one measurement came to."""

    def __init__(self):
        self.figures = {}
        self.requests = self.errors = 0
        self.first_error = ""
        self.others = 0.0  # Share of the machine that others took meanwhile.
        self.notes = {}

    def count(self, report, exact=True):
        """Adds a batch of the load generator."""
        self.requests += report["answered"]
        self.errors += report["errors"]
        if exact and not report["errors"] and report["reached_origin"] != report["answered"]:
            self.errors += abs(report["reached_origin"] - report["answered"])
            self.first_error = self.first_error or (
                f"the origin saw {report['reached_origin']} requests, {report['answered']} were "
                "answered")
        self.first_error = self.first_error or report["first_error"]
        return report

    def value(self, name, value):
        # A figure of a batch that failed is worth nothing.
        self.figures[name] = None if self.errors else value


class Watch:
    """CPU time of a proxy, and of everybody who should not be there, while something runs."""

    def __init__(self, proxy, block):
        self.proxy, self.block = proxy, block

    def __enter__(self):
        self.busy, self.begun = busy_seconds(), time.monotonic()
        self.cpu = self.proxy.cpu_seconds()
        self.report = None
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        self.cpu = self.proxy.cpu_seconds() - self.cpu
        elapsed, busy = time.monotonic() - self.begun, busy_seconds() - self.busy
        others = busy - self.cpu - self.report["own_cpu_seconds"]
        self.block.others = max(self.block.others, others / (elapsed * os.cpu_count()), 0.0)


def closed(stage, row, contestant):
    """CPU time a request (or a MiB, for large bodies) at a closed loop."""
    proxy = stage.proxy(*contestant)
    block = Block()
    with stage.fleet(row, proxy.address(contestant[1])) as load:
        block.count(load.ask("send", max(int(row.count * WARM_UP), 1)))
        with Watch(proxy, block) as watch:
            watch.report = block.count(load.ask("send", row.count))
    work = row.count * max(row.amount / (1 << 20), 1)
    block.value("cpu", watch.cpu / work * 1e6)
    block.notes = {"per_second": watch.report["answered"] / watch.report["seconds"],
                   "p50_us": watch.report["p50_us"], "p99_us": watch.report["p99_us"],
                   "load_cpu_us": watch.report["own_cpu_seconds"] / row.count * 1e6}
    return block


def storm(stage, row, contestant):
    """CPU time a handshake: of connections with one request each over mutual TLS, less the same in
    clear text on another listener of the same proxy."""
    name, listener = contestant
    block = Block()
    costs = []
    for handshake, where in ((row.errand, listener), ("none", listener.replace("mutual", "clear"))):
        proxy = stage.proxy(name, where)
        block.count(stage.load.ask("storm", proxy.address(where), handshake,
                                   max(int(row.count * WARM_UP), 10)))
        with Watch(proxy, block) as watch:
            watch.report = block.count(
                stage.load.ask("storm", proxy.address(where), handshake, row.count))
            time.sleep(SETTLE_S)
        costs.append(watch.cpu / row.count * 1e6)
    block.value("cpu", costs[0] - costs[1])
    block.notes = {"with_tls_us": costs[0], "clear_us": costs[1]}
    return block


def direct_address(stage, row):
    return stage.load.origin["http2" if row.codec == "http2" else "http1"]


def events(stage, row, contestant):
    """Delay that the proxy adds to each event, against streams that come straight from the origin."""
    proxy = stage.proxy(*contestant)
    block = Block()
    with stage.fleet(row, direct_address(stage, row)) as load:
        direct = block.count(load.ask("send", row.connections))
    with stage.fleet(row, proxy.address(contestant[1])) as load:
        with Watch(proxy, block) as watch:
            watch.report = block.count(load.ask("send", row.connections))
    for quantile in ("p50", "p99"):
        block.value(quantile, watch.report[f"{quantile}_us"] - direct[f"{quantile}_us"])
        block.notes[f"direct_{quantile}_us"] = direct[f"{quantile}_us"]
        block.notes[f"{quantile}_us"] = watch.report[f"{quantile}_us"]
    block.value("cpu", watch.cpu / (row.connections * row.amount) * 1e6)
    block.requests += watch.report["samples"]
    return block


def latency(stage, row, contestant):
    """Latency that the proxy adds at half of its own peak, against the origin alone at that rate."""
    proxy = stage.proxy(*contestant)
    block = Block()
    with stage.fleet(row, proxy.address(contestant[1])) as load:
        block.count(load.ask("send", max(int(row.count * WARM_UP), 1)))
        peak = block.count(load.ask("send", row.count))
        rate = int(peak["answered"] / peak["seconds"] / 2)
        if rate == 0:
            raise BenchError(f"no request was answered: {peak['first_error']}")
        count = min(int(rate * OPEN_S * min(row.count / 10_000, 1)) + 1, MOST_OPEN)
        with Watch(proxy, block) as watch:
            watch.report = block.count(load.ask("open", count, rate))
    with stage.fleet(row, direct_address(stage, row)) as load:
        block.count(load.ask("send", row.lanes()))
        direct = block.count(load.ask("open", count, rate))
    for quantile in ("p50", "p99"):
        block.value(quantile, watch.report[f"{quantile}_us"] - direct[f"{quantile}_us"])
        block.notes[f"direct_{quantile}_us"] = direct[f"{quantile}_us"]
        block.notes[f"{quantile}_us"] = watch.report[f"{quantile}_us"]
    block.notes["rate"] = rate
    return block


def idle(stage, row, contestant):
    """Resident memory that a connection takes which has had one request and now has nothing to do."""
    block = Block()
    with stage.fresh(*contestant) as proxy:
        address = proxy.address(contestant[1])
        # So that code and pools that one connection needs are not counted as the many's.
        with stage.fleet(row, address, connections=1) as load:
            block.count(load.ask("send", 100))
        time.sleep(SETTLE_S)
        before = proxy.resident_bytes()
        with stage.fleet(row, address) as load:
            block.count(load.ask("touch"))
            time.sleep(IDLE_S)
            after = proxy.resident_bytes()
    block.value("bytes", (after - before) / row.connections)
    return block


def resident(stage, row, contestant):
    """Resident memory of a process with one listener that nobody has used."""
    block = Block()
    with stage.fresh(*contestant) as proxy:
        time.sleep(IDLE_S)
        block.value("mb", proxy.resident_bytes() / 1e6)
    return block


KINDS = {function.__name__: function
         for function in (closed, storm, events, latency, idle, resident)}
