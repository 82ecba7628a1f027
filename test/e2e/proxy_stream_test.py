"""Bodies of a GiB through glia-proxy: they flow, and its memory stays where it was."""

import os
import socket
import subprocess
import threading
import unittest

from bootstrap import bootstrap, cluster, listener, to
from harness import Proxy, Scene, curl, eventually, peer
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


def transfer(*arguments):
    """Downloads to nowhere; returns status, curl's exit status and the size of the body."""
    ran = subprocess.run([peer("curl"), "--silent", "--show-error", "--max-time", "120", "--output",
                          os.devnull, "--write-out", "%{http_code} %{size_download}", *arguments],
                         capture_output=True, text=True)
    status, size = ran.stdout.split()
    return int(status), ran.returncode, int(size)


if __name__ == "__main__":
    unittest.main()
