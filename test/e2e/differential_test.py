"""Whatever bytes a client sends, each of seven servers behind glia-proxy sees the requests that
glia-proxy meant to send: as many, and none that was hidden in another one.

The inputs are the hostile table (families A and B) and seeded mutations of valid requests with
requests hidden in their bodies. A case that makes the counts differ is found by halving.
"""

import collections
import json
import os
import random
import socket
import subprocess
import unittest

from bootstrap import bootstrap, cluster, listener, to
from counting_origins import all_origins
from harness import BIN, WITHIN_S, Proxy, Scene, eventually

SEED = int(os.environ.get("GLIA_DIFFERENTIAL_SEED", "1"))
MUTATIONS = 3000 if os.environ.get("GLIA_LONG") else 300
# Of the 640 bytes around a coding, which differ in one byte only, a share is enough here: the
# codec's own test takes all of them.
EVERY_BYTE = 1 if os.environ.get("GLIA_LONG") else 8

Case = collections.namedtuple("Case", "name bytes")

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: hidden.test\r\n\r\n"
FRAMES = [
    b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s" % (len(HIDDEN), HIDDEN),
    b"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        len(HIDDEN), HIDDEN),
    b"POST /d HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n" + HIDDEN,
    b"PUT /e HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" + HIDDEN,
    b"GET /f HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello" + HIDDEN,
    b"HEAD /g HTTP/1.1\r\nHost: a.test\r\n\r\n" + HIDDEN,
    b"POST /h HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
]
TOKENS = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\x0b", b"\x85", b"\xff", b":", b";", b",",
          b"0", b"5", b"-", b"+", b"0x", b"_", b'"', b"%00", b"%0d%0a", b"chunked", b"identity",
          b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
          b"Transfer-Encoding: x\r\n", b"Connection: close\r\n", b"Connection: Content-Length\r\n",
          b"Host: b.test\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"0\r\n\r\n",
          b"HTTP/1.0", b"http://b.test/", HIDDEN]


def table():
    """The hostile table, as the codec's tests have it."""
    program = BIN / "test" / "interop" / "hostile_cases"
    rows = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    for number, row in enumerate(map(json.loads, rows.splitlines())):
        if not row["id"].startswith("A7 ") or number % EVERY_BYTE == 0:
            yield Case(row["id"], bytes.fromhex(row["bytes"]))


def mutations(count):
    """Valid requests with one to three tokens inserted, removed or put in place of bytes."""
    draw = random.Random(SEED)
    for number in range(count):
        text = bytearray(b"".join(draw.choices(FRAMES, k=draw.randint(1, 2))))
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(text) + 1)
            cut = draw.choice([0, 0, 0, 1, 2, 8])
            text[place:place + cut] = draw.choice([*TOKENS, b""])
        yield Case(f"mutation {number} of seed {SEED}", bytes(text))


def send(port, text):
    """Sends it, says that nothing follows, and reads until the proxy closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as client:
        try:
            client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except OSError:
            pass  # Refused while we were still sending.


class Differential(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origins = [cls.enterClassContext(make()) for make in all_origins(cls.directory)]
        names = [origin.name for origin in cls.origins]
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener(name, [to(name)]) for name in names],
            [cluster(origin.name, origin.port) for origin in cls.origins])))
        cls.cases = [*table(), *mutations(MUTATIONS)]

    def started(self, name):
        return int(self.proxy.metric("envoy_cluster_upstream_rq_total", envoy_cluster_name=name))

    def answered(self, name):
        return sum(int(self.proxy.metric("envoy_cluster_upstream_rq_xx", envoy_cluster_name=name,
                                         envoy_response_code_class=digit)) for digit in "2345")

    def differs(self, origin, cases):
        """What is wrong after these cases, or ""."""
        before = origin.seen(), self.started(origin.name), self.answered(origin.name)
        for case in cases:
            send(self.proxy.ports[origin.name], case.bytes)
        started = self.started(origin.name) - before[1]
        answered = self.answered(origin.name) - before[2]
        try:
            # A request that broke off may be taken back before a byte of it has left.
            eventually(lambda: answered <= origin.seen() - before[0] <= started,
                       "the counts agree", within_s=3)
            return ""
        except AssertionError:
            return (f"{origin.name} saw {origin.seen() - before[0]} requests, glia-proxy sent "
                    f"{started} and got {answered} answers")

    def narrow(self, origin, cases):
        """The case alone that makes the difference, or all of them if none does alone."""
        while len(cases) > 1:
            half = len(cases) // 2
            if self.differs(origin, cases[:half]):
                cases = cases[:half]
            elif self.differs(origin, cases[half:]):
                cases = cases[half:]
            else:
                break
        return cases

    def test_every_origin_sees_the_requests_that_were_sent_to_it(self):
        self.assertGreater(len(self.cases), MUTATIONS + 150)
        for origin in self.origins:
            with self.subTest(origin=origin.name):
                wrong = self.differs(origin, self.cases)
                if wrong:
                    cases = self.narrow(origin, self.cases)
                    self.fail(f"{wrong}; {len(cases)} case(s): "
                              f"{[(case.name, case.bytes[:300]) for case in cases[:3]]}")
                # The test saw something: valid requests among the cases did arrive.
                self.assertGreater(origin.seen(), MUTATIONS // 20)
                self.proxy.check_alive()


if __name__ == "__main__":
    unittest.main()
