"""Links that lose, double, swap, damage and delay packets (row K7 of the checklist of faults): each
answer is right or an error in time, and no byte of one stream is in another."""

import http.client
import os
import socket
import struct
import subprocess
import unittest
from concurrent import futures

from bad_link import BadLink, Fate, inside
from bootstrap import bootstrap, cluster, listener, to
from harness import WITHIN_S, Proxy, Scene, fetch, peer
from small_server import Answering, SmallServer

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8  # RFC 9113
END_STREAM, END_HEADERS = 1, 4
LONG = bool(os.environ.get("GLIA_LONG"))
TIMEOUT_S = 2  # Of the route /slow.
FAR_TOO_LONG_S = 6 * WITHIN_S  # A third of all packets lost is minutes of waiting.


def said(number, size):
    """What the answer to /NUMBER/SIZE is: of each answer, another."""
    return (f"<{number}>".encode() * size)[:size]


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


class Teller(Answering):
    def do_GET(self):
        *_, number, size = self.path.split("/")
        self.answer(said(number, int(size)), content_type="text/plain")


class Link(Scene):
    """Clients and the origin are at the far end, the proxy is at the near one: each request passes the
    link four times."""

    def setUp(self):
        self.link = self.enterContext(BadLink(seed=7))
        with inside(self.link.far):
            origin = self.enterContext(SmallServer(Teller, (BadLink.FAR, 0)))
        self.enterContext(inside(self.link.near))
        config = bootstrap(
            [listener("in", [to("o", "/slow", timeout=f"{TIMEOUT_S}s"), to("o", timeout="120s")],
                      address=(BadLink.NEAR, 0))],
            [cluster("o", (BadLink.FAR, origin.port))])
        self.proxy = self.enterContext(Proxy(self.directory, config))

    def check(self, requests, size):
        """So many requests at once, over each protocol, from the far end."""
        wanted = [said(number, size) for number in range(requests)]
        with inside(self.link.far):
            with self.subTest(protocol="HTTP/1.1"):
                self.assertEqual(self.ask_http1(requests, size), wanted)
            with self.subTest(protocol="HTTP/2"):
                self.assertEqual(self.ask_http2(requests, size), wanted)

    def ask_http1(self, requests, size):
        """curl, on a connection for each."""
        files = [self.directory / f"answer-{number}" for number in range(requests)]
        url = f"http://{BadLink.NEAR}:{self.proxy.ports['in']}"
        each = [word for number, file in enumerate(files)
                for word in ("-o", file, f"{url}/{number}/{size}")]
        ran = subprocess.run(
            [peer("curl"), "-sS", "--fail", "--http1.1", "-Z", "--parallel-max", str(requests),
             *map(str, each)], capture_output=True, text=True, timeout=FAR_TOO_LONG_S)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return [file.read_bytes() for file in files]

    def ask_http2(self, requests, size):
        """By hand, all on one connection: curl of Debian 12 cannot do that from the first request."""
        bodies, open_streams = {}, set()
        with socket.create_connection((BadLink.NEAR, self.proxy.ports["in"]),
                                      timeout=FAR_TOO_LONG_S) as connection:
            start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            start += frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 24))  # INITIAL_WINDOW_SIZE
            start += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24))
            for number in range(requests):
                path = f"/{number}/{size}".encode()
                fields = (b"\x82\x86\x04" + bytes([len(path)]) + path +  # GET, http, :path
                          b"\x01\x01a")  # :authority; RFC 7541 appendix A
                start += frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, fields)
                open_streams.add(2 * number + 1)
            connection.sendall(start)
            received = connection.makefile("rb")
            while open_streams:
                head = received.read(9)
                self.assertEqual(len(head), 9, "the connection ended early")
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
                payload = received.read(int.from_bytes(head[:3]))
                self.assertNotIn(kind, (RST_STREAM, GOAWAY), payload)
                if kind == HEADERS:
                    self.assertEqual(payload[:1], b"\x88")  # :status 200
                if kind == DATA:
                    bodies[stream] = bodies.get(stream, b"") + payload
                if kind in (DATA, HEADERS) and flags & END_STREAM:
                    open_streams.remove(stream)
        return [bodies[stream] for stream in sorted(bodies)]

    def test_what_arrives_is_right_however_bad_the_link(self):
        fates = {
            "loss of 2 %": Fate(lost=0.02),
            "loss of 10 %": Fate(lost=0.1),
            "a fifth twice": Fate(twice=0.2),
            "a fifth overtaken": Fate(overtaken=0.2),
            "a twentieth damaged": Fate(damaged=0.05),
            "everything": Fate(lost=0.02, twice=0.05, overtaken=0.1, damaged=0.02, delay_s=0.01),
        }
        for name, fate in fates.items():
            with self.subTest(link=name):
                self.link.fate = fate
                self.check(requests=8, size=20_000)

    def test_packets_are_small(self):
        self.link.mtu(576)
        self.check(requests=8, size=200_000)

    def test_a_third_is_lost(self):
        self.link.fate = Fate(lost=0.3)
        right = 0
        with futures.ThreadPoolExecutor(8) as pool:
            for answer in pool.map(lambda _: self.fetch_near(), range(16)):
                if answer is not None and answer.status == 200:
                    self.assertEqual(answer.body, said(1, 100))
                    right += 1
                elif answer is not None:
                    self.assertIn(answer.status, (503, 504), answer)
        self.assertGreater(right, 0)

    @unittest.skipUnless(LONG, "takes half a minute: ./dev test --long")
    def test_everything_takes_two_seconds(self):
        self.link.fate = Fate(delay_s=2)
        self.check(requests=4, size=3_000)

    def test_a_link_that_goes_dead_one_way_is_an_error_in_time_and_heals(self):
        self.assertEqual(self.fetch_near().status, 200)
        self.link.fate = Fate(lost=1, back_only=True)
        refused = self.fetch_near()
        self.assertEqual(refused.status, 504, refused)
        self.link.fate = Fate()
        healed = self.fetch_near()
        self.assertEqual((healed.status, healed.body), (200, said(1, 100)))

    def fetch_near(self):
        """An answer, in time, from the near end: only the proxy's own link to the origin is in between.
        None: it was cut short, and the client can tell."""
        try:
            return fetch(self.proxy.ports["in"], "/slow/1/100", host=BadLink.NEAR)
        except http.client.IncompleteRead:
            return None


if __name__ == "__main__":
    unittest.main()
