"""The rows of ./dev bench models and their bars, and the requests of each: data, read by models.py.

Times and rates here are those of the simulated servers, which run `speed` times as fast as the clock.
Smaller is better for every figure, as in rows.py.
"""

import dataclasses
import math
import random

from rows import OURS, Bar, Figure

ROUND_ROBIN, LEAST = "envoy round robin", "envoy least request"
CONTESTANTS = {OURS: ("glia-proxy", "composed"), ROUND_ROBIN: ("envoy", "ROUND_ROBIN"),
               LEAST: ("envoy", "LEAST_REQUEST")}
WITHOUT_ROUND_ROBIN = {OURS: CONTESTANTS[OURS], LEAST: CONTESTANTS[LEAST]}

# What a server can do, as in test/pool/engine.h.
PREFILL_RATE = 16_000  # tokens/s
BLOCK_TOKENS = 16

URGENT = 0.2  # Of the requests of a row with a deadline.


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    figures: tuple
    kind: str = "open"  # A function in models.py.
    workload: str = "unique"  # A function below.
    contestants: dict = dataclasses.field(default_factory=lambda: CONTESTANTS)
    servers: int = 8
    callers: int = 4
    speed: float = 4
    use: float = 0.7     # Of the servers' capacity to read prompts.
    rate: float = 0      # Requests a second, instead.
    requests: int = 2000
    fault: str = ""      # WHAT=VALUE of server 0, for the middle third of the time.
    cure: str = ""
    deadline_s: float = 0
    engine: tuple = ()   # NAME=NUMBER; see test/pool/main.cc.


def ttft(*bars):
    return Figure("mean", "mean TTFT, ms", bars, title="mean TTFT", digits=0)


def tail(*bars):
    return Figure("p99", "p99 TTFT, ms", bars, title="p99 TTFT", digits=0)


LOST = Figure("lost", "% of requests lost", title="lost", digits=2)


def faulty(name, title, fault, cure, lost, **more):
    """No collapse: the worst second's mean TTFT, and when that is over."""
    return Row(name, title, (
        Figure("worst", "TTFT of the worst second, to that before", (Bar(3),),
               title="worst second", digits=2),
        Figure("recovery", "s until TTFT is as before", (Bar(5),), title="recovery"),
        dataclasses.replace(LOST, bars=(Bar(lost),))),
        contestants=WITHOUT_ROUND_ROBIN, use=0.6, fault=fault, cure=cure, **more)


def overload(name, use):
    """A fifth of the requests is urgent, and waits no longer for that than anybody."""
    return Row(name, f"{use} x capacity, answers wanted within 2 s", (
        Figure("missing", "% of capacity without an answer in time", (Bar(5),), digits=1),
        Figure("urgent", "p99 of urgent answers, ms", (Bar(2000),), title="p99 of the urgent fifth",
               digits=0)),
        use=use, deadline_s=2, contestants=WITHOUT_ROUND_ROBIN, requests=3000)


ROWS = {row.name: row for row in (
    Row("shared-prefixes", "150 groups x 5 questions, 6,000 tokens shared", (
        ttft(Bar(0.1, ROUND_ROBIN)), tail(),
        Figure("unused", "% of an oracle's prefix hits missed", (Bar(5),), title="hits missed")),
        workload="shared", callers=1, rate=30, requests=750),
    Row("unique-prompts", "1,600 tokens, nothing shared, 70 % of capacity",
        (ttft(Bar(1.0, LEAST)), tail()), contestants=WITHOUT_ROUND_ROBIN),
    *(Row(f"tails-{use}", f"heavy-tailed lengths, {use} % of capacity",
          (tail(Bar(0.6, LEAST)), ttft()), workload="tails", use=use / 100, requests=4000)
      for use in (70, 85, 95)),
    faulty("one-slow", "one of 8 is 4 times as slow for a while", "slowness=4", "slowness=1", 0),
    faulty("one-dies", "one of 8 dies and comes back", "alive=0", "alive=1", 1),
    faulty("one-mute", "one of 8 shows no metrics for a while", "metrics=none", "metrics=true", 0),
    faulty("one-lies", "one of 8 says that it is empty", "metrics=lies", "metrics=true", 0),
    overload("overload-120", 1.2),
    overload("overload-174", 1.74),
    Row("long-bodies", "220 KB bodies, one worker", (
        Figure("us", "us a request with 150 at once", (Bar(1e6 / 1300),), title="150 at once",
               digits=0),
        Figure("cpu", "us of the sidecar's CPU a request", (Bar(1e6 / 1300),), title="CPU", digits=0),
        Figure("added", "added mean TTFT, ms, at 400/s", (Bar(5),), title="added TTFT", digits=2)),
        kind="long", workload="long", contestants=WITHOUT_ROUND_ROBIN, callers=1, speed=1,
        requests=4000, rate=400,
        engine=("prefill_rate=1e12", "decode_all=1e12", "slots=10000", "blocks=100000",
                "block_tokens=2048")),
)}


def small(row):
    """To see whether everything works; figures mean nothing."""
    return dataclasses.replace(row, requests=60, rate=min(row.rate, 60))


@dataclasses.dataclass(frozen=True)
class Request:
    due_s: float
    caller: int
    group: int
    shared: int  # tokens
    unique: int
    output: int
    waits_s: float = 0
    urgent: bool = False

    def line(self, speed):
        return (f"{int(self.due_s / speed * 1e6)} {self.caller} {self.group} {self.shared} "
                f"{self.unique} {self.output} {int(self.waits_s / speed * 1e3)} "
                f"{int(self.urgent)}\n")


def bounded_pareto(chance, shape, least, most):
    """By inversion."""
    share = chance.random() * (1 - (least / most) ** shape)
    return least / (1 - share) ** (1 / shape)


def shared(row, chance):
    order = [group for group in range(150) for _ in range(5)]
    chance.shuffle(order)
    return [(group, 6000, 1200, 100) for group in order[:row.requests]]


def unique(row, chance):
    return [(number, 0, 1600, 64) for number in range(row.requests)]


def tails(row, chance):
    """Prompts of 64 to 16,000 tokens, half of them below 120; answers of 8 to 1,000."""
    return [(number, 0, int(bounded_pareto(chance, 1.1, 64, 16_000)),
             int(bounded_pareto(chance, 1.3, 8, 1_000))) for number in range(row.requests)]


def long(row, chance):
    return [(number % 150, 54_800, 200, 1) for number in range(row.requests)]


WORKLOADS = {function.__name__: function for function in (shared, unique, tails, long)}


def plan(row, seed):
    """The requests of a row, the same for the same seed: a Poisson process."""
    chance = random.Random(f"{row.name} {seed}")
    asked = WORKLOADS[row.workload](row, chance)
    mean = sum(shared + unique for _, shared, unique, _ in asked) / len(asked)
    rate = row.rate or row.use * row.servers * PREFILL_RATE / mean
    requests, now = [], 0.0
    for group, shared_tokens, unique_tokens, output in asked:
        now += -math.log(1 - chance.random()) / rate
        requests.append(Request(now, chance.randrange(row.callers), group, shared_tokens,
                                unique_tokens, output, row.deadline_s,
                                row.deadline_s > 0 and chance.random() < URGENT))
    return requests


def oracle_hits(requests):
    """Tokens that would be found in the prefix caches if each request came to a server that has ever
    seen its group: more than any placement can reach, since no cache forgets here. The bodies begin
    with 44 bytes that all share (models_load.cc), which is less than a block."""
    seen, hits = set(), 0
    for request in requests:
        if request.shared and request.group in seen:
            hits += (11 + request.shared) // BLOCK_TOKENS * BLOCK_TOKENS
        seen.add(request.group)
    return hits
