"""Bodies of a GiB through glia-proxy: they flow, and its memory stays where it was."""

import contextlib
import os
import queue
import socket
import struct
import subprocess
import threading
import unittest

from bootstrap import bootstrap, cluster, listener, to
from harness import SANITIZED, WITHIN_S, Proxy, Scene, curl, eventually, peer
from origins import Http2Origin, HttpOrigin

GIB = 1 << 30
GROWTH_MOST = 16 << 20  # bytes of memory, whatever the size of the body


class Streams(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.enterClassContext(HttpOrigin())
        files = cls.directory / "files"
        files.mkdir()
        cls.big = files / "big"
        with open(cls.big, "wb") as file:
            os.truncate(file.fileno(), GIB)  # Takes no space.
        (files / "sink").write_bytes(b"done\n")
        cls.http2_origin = cls.enterClassContext(Http2Origin(cls.directory, files))
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", [to("h2", "/h2/", prefix_rewrite="/", timeout="0s"),
                             to("h1", timeout="0s")], log=cls.directory / "access.log")],
            [cluster("h1", cls.origin.port), cluster("h2", cls.http2_origin.port, http2=True)])))
        cls.proxy.fetch()  # So that what is made once is made.

    def setUp(self):
        self.idle = self.proxy.memory()
        self.proxy.forget_memory_peak()

    def tearDown(self):
        grown = self.proxy.memory("VmHWM") - self.idle
        if not SANITIZED:  # AddressSanitizer keeps what was freed.
            self.assertLessEqual(grown, GROWTH_MOST)

    def log_of(self, path):
        return eventually(lambda: [line for line in self.access_log(1) if line["path"] == path],
                          f"{path} in the access log")[0]

    def test_a_gibibyte_down_over_http1(self):
        self.assertEqual(transfer("--http1.1", self.proxy.url(f"/bytes/{GIB}")), (200, 0, GIB))

    def test_a_gibibyte_down_over_http2(self):
        self.assertEqual(transfer("--http2-prior-knowledge", self.proxy.url("/h2/big")),
                         (200, 0, GIB))

    def test_a_gibibyte_up_over_http1(self):
        told = curl("--http1.1", "-T", self.big, self.proxy.url("/up1")).json
        self.assertEqual(told["received"], GIB)

    def test_a_gibibyte_up_over_http2(self):
        answer = curl("--http2-prior-knowledge", "-T", self.big, self.proxy.url("/h2/sink?up2"))
        self.assertEqual((answer.status, answer.body), (200, b"done\n"))
        self.assertEqual(self.log_of("/sink?up2")["bytes_received"], GIB)

    def test_a_gibibyte_up_from_http2_to_http1(self):
        told = curl("--http2-prior-knowledge", "-T", self.big, self.proxy.url("/up3")).json
        self.assertEqual(told["received"], GIB)

    def test_a_reader_that_stops_stops_the_origin(self):
        before = self.origin.sent
        with socket.create_connection(("127.0.0.1", self.proxy.ports["in"])) as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            caller.sendall(f"GET /bytes/{GIB} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            caller.recv(65536)
            still = threading.Event()

            def stands_still():
                seen = self.origin.sent
                still.wait(0.5)
                return self.origin.sent == seen
            eventually(stands_still, "the origin is held up")
            # What the kernel's sockets hold is not the proxy's.
            self.assertLess(self.origin.sent - before, 64 << 20)


class RawOrigin:
    """Hands out each connection on which the head of a request has come."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.asked = queue.SimpleQueue()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.close()

    def _accept(self):
        while True:
            try:
                connection = self._server.accept()[0]
            except OSError:
                return
            connection.settimeout(WITHIN_S)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            self.asked.put(connection)


class Tokens(Scene):
    """Server-sent events, as a model server sends tokens."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.enterClassContext(RawOrigin())
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", [to("origin", timeout="0s")])], [cluster("origin", cls.origin.port)])))

    def ask(self):
        caller = socket.create_connection(("127.0.0.1", self.proxy.ports["in"]), timeout=WITHIN_S)
        caller.sendall(b"GET /tokens HTTP/1.1\r\nhost: a\r\n\r\n")
        return caller, self.origin.asked.get(timeout=WITHIN_S)

    def test_each_token_arrives_before_the_next_is_made(self):
        caller, origin = self.ask()
        with caller, origin:
            origin.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                           b"transfer-encoding: chunked\r\n\r\n")
            for number in range(100):
                event = b"data: token %d\n\n" % number
                origin.sendall(b"%x\r\n%s\r\n" % (len(event), event))
                got = b""
                while not got.endswith(event + b"\r\n"):
                    piece = caller.recv(65536)
                    self.assertTrue(piece)
                    got += piece
            origin.sendall(b"0\r\n\r\n")
            self.assertTrue(caller.recv(65536).endswith(b"0\r\n\r\n"))

    def test_a_caller_that_leaves_is_missed_upstream(self):
        leave = {"orderly": lambda caller: None,
                 "by a reset": lambda caller: caller.setsockopt(
                     socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))}
        for how, prepare in leave.items():
            for begun in (False, True):
                with self.subTest(how=how, begun=begun):
                    caller, origin = self.ask()
                    with origin:
                        if begun:
                            origin.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
                                           b"\r\n5\r\ntoken\r\n")
                            while not caller.recv(65536).endswith(b"token\r\n"):
                                pass
                        prepare(caller)
                        caller.close()
                        self.assertTrue(ended(origin))

    def test_a_caller_that_breaks_off_while_nobody_reads_is_missed(self):
        caller = socket.create_connection(("127.0.0.1", self.proxy.ports["in"]), timeout=WITHIN_S)
        caller.sendall(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % GIB)
        origin = self.origin.asked.get(timeout=WITHIN_S)
        with origin:
            caller.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:  # Until everything on the way is full.
                    caller.sendall(bytes(1 << 20))
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.close()
            eventually(lambda: self.proxy.metric("envoy_http_downstream_rq_active") == 0,
                       "the request has ended")


def ended(connection):
    """Waits for the other side to close; false if it sends something instead."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def transfer(*arguments):
    """Downloads to nowhere; returns status, curl's exit status and the size of the body."""
    ran = subprocess.run([peer("curl"), "--silent", "--show-error", "--max-time", "120", "--output",
                          os.devnull, "--write-out", "%{http_code} %{size_download}", *arguments],
                         capture_output=True, text=True)
    status, size = ran.stdout.split()
    return int(status), ran.returncode, int(size)


if __name__ == "__main__":
    unittest.main()
