"""The rows of the comparison and their bars: data, read by run.py, measure.py and table.py.

A row is one workload for several contestants. It has one or more figures; smaller is better for all
of them. A bar is the most that a figure of glia-proxy may be: alone, or as a part of another
contestant's figure (the median of the ratios within each round).
"""

import dataclasses

OURS = "glia-proxy"


@dataclasses.dataclass(frozen=True)
class Bar:
    most: float
    of: str = ""  # A contestant, or "": the figure itself.


@dataclasses.dataclass(frozen=True)
class Figure:
    name: str
    unit: str
    bars: tuple = ()
    title: str = ""  # Where a row has several.
    digits: int = 1


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    kind: str     # A function in measure.py.
    figures: tuple
    contestants: dict  # What it is called here: (proxy, listener).
    codec: str = "http1"
    transport: str = "clear"
    connections: int = 64
    streams: int = 1
    errand: str = "answer"
    amount: int = 1024  # See errand.h.
    count: int = 0      # How many of them are measured each round.
    most_rounds: int = 1000

    def lanes(self):
        return self.connections * self.streams


def on(listener, *names):
    return {name: (name, listener) for name in names}


MIB = 1024 * 1024
KIB = 1024
CPU = "CPU us a request"


def cpu(*bars):
    return (Figure("cpu", CPU, bars),)


def per_mib(*bars):
    return (Figure("cpu", "CPU us a MiB", bars),)


def idle(kib):
    return (Figure("bytes", "bytes a connection", (Bar(kib * KIB), Bar(0.5, "envoy")), digits=0),)


BODY_BARS = (Bar(0.8, "envoy"), Bar(0.6, "haproxy"))
LATENCY = (Figure("p99", "added p99, us", (Bar(0.7, "envoy"),), digits=0, title="p99"),
           Figure("p50", "added p50, us", digits=0, title="p50"))

ROWS = {row.name: row for row in (
    Row("http1-64", "HTTP/1.1 keep-alive, 1 KiB, 64 connections", "closed",
        cpu(Bar(0.4, "envoy"), Bar(0.95, "haproxy"), Bar(1.2, "relay")),
        on("http1-clear", OURS, "envoy", "haproxy", "nginx", "relay"), count=20_000),
    Row("http1-1", "the same with 1 connection", "closed",
        cpu(Bar(0.7, "envoy"), Bar(0.97, "haproxy")),
        on("http1-clear", OURS, "envoy", "haproxy", "nginx", "relay"), connections=1, count=5000),
    Row("http1-tls", "HTTP/1.1 over TLS, 1 KiB, 64 connections", "closed",
        cpu(Bar(0.7, "envoy")),
        on("http1-tls", OURS, "envoy", "haproxy", "nginx"), transport="tls", count=20_000),
    Row("http2-8x32", "HTTP/2, 8 connections x 32 streams, 128 B", "closed",
        cpu(Bar(0.2, "envoy"), Bar(0.7, "haproxy"), Bar(0.7, "nghttpx")),
        on("http2-clear", OURS, "envoy", "haproxy", "nghttpx", "nginx"),
        codec="http2", connections=8, streams=32, amount=128, count=40_000),
    Row("http2-8x1", "HTTP/2, 8 x 1, 128 B", "closed",
        cpu(Bar(0.5, "envoy"), Bar(0.9, "haproxy")),
        on("http2-clear", OURS, "envoy", "haproxy", "nghttpx"),
        codec="http2", connections=8, amount=128, count=20_000),
    Row("grpc-8x32", "gRPC unary, 10 headers, trailers, 100 B, 8 x 32", "closed",
        cpu(Bar(0.25, "envoy"), Bar(0.8, "haproxy")),
        on("http2-clear", OURS, "envoy", "haproxy"),
        codec="http2", connections=8, streams=32, errand="grpc", amount=100, count=30_000),
    Row("http2-tls-8x32", "HTTP/2 over TLS, 8 x 32, 128 B", "closed",
        cpu(Bar(0.25, "envoy"), Bar(0.9, "haproxy")),
        on("http2-tls", OURS, "envoy", "haproxy", "nghttpx"),
        codec="http2", transport="tls", connections=8, streams=32, amount=128, count=40_000),
    Row("handshake-full", "mutual TLS handshake, full", "storm",
        (Figure("cpu", "CPU us a handshake", (Bar(0.8, "envoy"),), digits=0),),
        on("http1-mutual", OURS, "envoy", "haproxy", "nginx"), errand="full", count=1000),
    Row("handshake-resumed", "mutual TLS handshake, resumed", "storm",
        (Figure("cpu", "CPU us a handshake", (Bar(0.8, "envoy"),), digits=0),),
        on("http1-mutual", OURS, "envoy", "haproxy", "nginx"), errand="resumed", count=1500),
    Row("tcp-1k", "TCP relay, 1 KiB, 64 connections", "closed",
        cpu(Bar(0.9, "haproxy")), on("tcp", OURS, "envoy", "haproxy", "relay"), count=20_000),
    Row("tcp-64m", "TCP relay, 64 MiB", "closed",
        per_mib(Bar(0.9, "haproxy")), on("tcp", OURS, "envoy", "haproxy", "relay"),
        connections=2, amount=64 * MIB, count=16),
    Row("body-http1", "16 MiB answers, HTTP/1.1", "closed", per_mib(*BODY_BARS),
        on("http1-clear", OURS, "envoy", "haproxy", "nginx", "relay"),
        connections=4, amount=16 * MIB, count=40),
    Row("body-http1-up", "16 MiB requests, HTTP/1.1", "closed", per_mib(*BODY_BARS),
        on("http1-clear", OURS, "envoy", "haproxy", "nginx", "relay"),
        connections=4, errand="take", amount=16 * MIB, count=40),
    Row("body-http2", "16 MiB answers, HTTP/2", "closed", per_mib(*BODY_BARS),
        on("http2-clear", OURS, "envoy", "haproxy", "nghttpx"),
        codec="http2", connections=2, streams=2, amount=16 * MIB, count=40),
    Row("body-http2-up", "16 MiB requests, HTTP/2", "closed", per_mib(*BODY_BARS),
        on("http2-clear", OURS, "envoy", "haproxy", "nghttpx"),
        codec="http2", connections=2, streams=2, errand="take", amount=16 * MIB, count=40),
    Row("sse", "200 SSE streams x 50 events/s", "events",
        (Figure("p50", "added p50, us", (Bar(60),), digits=0, title="p50"),
         Figure("p99", "added p99, us", (Bar(0.6, "envoy"),), digits=0, title="p99"),
         Figure("cpu", "CPU us an event", title="CPU")),
        on("http1-clear", OURS, "envoy", "haproxy", "relay"), connections=200, errand="events",
        amount=110),
    Row("latency-http1", "half of peak, open loop, HTTP/1.1, 64 connections", "latency", LATENCY,
        on("http1-clear", OURS, "envoy", "haproxy"), count=10_000),
    Row("latency-http2", "half of peak, open loop, HTTP/2, 8 x 32", "latency", LATENCY,
        on("http2-clear", OURS, "envoy", "haproxy"),
        codec="http2", connections=8, streams=32, amount=128, count=20_000),
    Row("idle-http1", "10,000 idle connections, HTTP/1.1", "idle", idle(2),
        on("http1-clear", OURS, "envoy", "haproxy"), connections=10_000, amount=128),
    Row("idle-http2", "10,000 idle connections, HTTP/2", "idle", idle(16),
        on("http2-clear", OURS, "envoy", "haproxy"), codec="http2", connections=10_000, amount=128),
    Row("idle-mtls-http2", "10,000 idle connections, HTTP/2 over mutual TLS", "idle", idle(30),
        on("http2-mutual", OURS, "envoy", "haproxy"), codec="http2", transport="mutual",
        connections=10_000, amount=128, most_rounds=3),
    Row("resident", "resident memory, idle, one listener", "resident",
        (Figure("mb", "MB", (Bar(10),)),),
        on("http1-clear", OURS, "envoy", "haproxy", "nginx")),
    Row("sidecar-http1", "the whole sidecar chain, HTTP/1.1, 64 connections", "closed",
        cpu(Bar(1.3, "glia-proxy bare")),
        {OURS: (OURS, "http1-sidecar"), "glia-proxy bare": (OURS, "http1-mutual"),
         "envoy": ("envoy", "http1-sidecar"), "haproxy bare": ("haproxy", "http1-mutual")},
        transport="mutual", count=20_000),
    Row("sidecar-http2", "the whole sidecar chain, HTTP/2, 8 x 32, 128 B", "closed",
        cpu(Bar(1.3, "glia-proxy bare"), Bar(1.0, "haproxy bare")),
        {OURS: (OURS, "http2-sidecar"), "glia-proxy bare": (OURS, "http2-mutual"),
         "envoy": ("envoy", "http2-sidecar"), "haproxy bare": ("haproxy", "http2-mutual")},
        codec="http2", transport="mutual", connections=8, streams=32, amount=128, count=40_000),
)}

# For a test that everything starts, counts and finds no errors; its figures mean nothing.
SMALL_COUNT = 0.01
SMALL_CONNECTIONS = 100


def small(row):
    bulk = row.amount >= MIB
    return dataclasses.replace(
        row, most_rounds=1,
        connections=min(row.connections, SMALL_CONNECTIONS),
        count=min(4, row.count) if bulk else max(int(row.count * SMALL_COUNT), 20),
        amount=min(row.amount, MIB) if bulk else 15 if row.errand == "events" else row.amount)
