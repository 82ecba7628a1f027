"""glia-proxy between curl, nghttp, h2load and origins over HTTP/1.1, HTTP/2, TLS, UNIX sockets."""

import json
import re
import socket
import subprocess
import unittest

from bootstrap import bootstrap, cluster, downstream_tls, listener, says, to
from certificates import Authority
from harness import WITHIN_S, Proxy, Scene, curl, eventually, peer, tally
from origins import Http2Origin, HttpOrigin, run_h2load

SIZE = 300_000


class Protocols(Scene):
    """One proxy with every kind of downstream and upstream."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.directory)
        server = cls.authority.issue("proxy")
        cls.origin = cls.enterClassContext(HttpOrigin("tcp"))
        unix = cls.directory / "origin.sock"
        cls.unix_origin = cls.enterClassContext(HttpOrigin("unix", unix=unix))
        files = cls.directory / "files"
        files.mkdir()
        (files / "big").write_bytes(b"x" * SIZE)
        (files / "small").write_bytes(b"small\n")
        cls.http2_origin = cls.enterClassContext(Http2Origin(cls.directory, files))
        routes = [to("h2", "/h2/", prefix_rewrite="/"), to("unix", "/unix"), to("dns", "/dns"),
                  says(200, "ok", "/direct"), to("tcp")]
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", routes), listener("tls", routes, tls=downstream_tls(server))],
            [cluster("tcp", cls.origin.port), cluster("unix", (str(unix), None)),
             cluster("dns", ("localhost", cls.origin.port), kind="STRICT_DNS"),
             cluster("h2", cls.http2_origin.port, http2=True)])))

    def trusting(self):
        return ["--cacert", self.authority.certificate]

    def test_serves_curl_over_every_protocol_with_every_kind_of_origin(self):
        ways = {"HTTP/1.1": ("1.1", "http", "in", ["--http1.1"]),
                "HTTP/2 with prior knowledge": ("2", "http", "in", ["--http2-prior-knowledge"]),
                "HTTP/1.1 over TLS": ("1.1", "https", "tls", ["--http1.1", *self.trusting()]),
                "HTTP/2 over TLS by ALPN": ("2", "https", "tls", ["--http2", *self.trusting()])}
        for way, (version, scheme, name, flags) in ways.items():
            for path, told_by in (("/tcp", "tcp"), ("/unix", "unix"), ("/dns", "tcp")):
                with self.subTest(way=way, path=path):
                    answer = curl(*flags, "--data", "hello", self.proxy.url(path, name, scheme))
                    self.assertEqual((answer.status, answer.protocol), (200, version))
                    told = answer.json
                    self.assertEqual((told["origin"], told["method"], told["path"],
                                      told["received"]), (told_by, "POST", path, 5))
                    self.assertEqual(answer.headers["x-origin"], told_by)
            with self.subTest(way=way, path="/h2/big"):
                answer = curl(*flags, self.proxy.url("/h2/big", name, scheme))
                self.assertEqual((answer.status, answer.protocol), (200, version))
                self.assertEqual(answer.body, b"x" * SIZE)

    def test_a_head_request_gets_the_length_and_no_body(self):
        for flag in ("--http1.1", "--http2-prior-knowledge"):
            answer = curl(flag, "--head", self.proxy.url("/h2/big"))
            self.assertEqual((answer.status, answer.body), (200, b""))
            self.assertEqual(answer.headers["content-length"], str(SIZE))

    def test_a_chunked_body_arrives_whole(self):
        body = self.directory / "body"
        body.write_bytes(b"y" * SIZE)
        answer = curl("--http1.1", "-H", "transfer-encoding: chunked", "--data-binary", f"@{body}",
                      self.proxy.url("/tcp"))
        self.assertEqual(answer.json["received"], SIZE)

    def test_waits_for_the_body_that_100_continue_asks_for(self):
        answer = curl("--http1.1", "-H", "expect: 100-continue", "--data-binary", "z" * 2000,
                      self.proxy.url("/tcp"))
        self.assertEqual((answer.status, answer.json["received"]), (200, 2000))

    def test_serves_nghttp(self):
        ran = subprocess.run(
            [peer("nghttp"), "--stat", "--multiply=8", "--data=/dev/null",
             self.proxy.url("/h2/small"), self.proxy.url("/tcp")],
            capture_output=True, text=True, timeout=WITHIN_S)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        statuses = re.findall(r"^\s*\d+\s+\S+\s+\S+\s+\S+\s+(\d+)\s+\S+\s+/", ran.stdout, re.M)
        self.assertEqual(tally(statuses), {"200": 16}, ran.stdout)

    def test_serves_h2load_without_an_error(self):
        loads = {"HTTP/2 to HTTP/2": ["-c4", "-m32", "-n8000", self.proxy.url("/h2/small")],
                 "HTTP/2 over TLS": ["-c4", "-m32", "-n4000",
                                     self.proxy.url("/h2/small", "tls", "https")],
                 "HTTP/1.1 to HTTP/2": ["--h1", "-c16", "-n4000", self.proxy.url("/h2/small")],
                 "HTTP/2 to HTTP/1.1": ["-c2", "-m8", "-n800", self.proxy.url("/tcp")]}
        for load, arguments in loads.items():
            with self.subTest(load):
                wanted = int(next(word[2:] for word in arguments if word.startswith("-n")))
                succeeded, text = run_h2load(*arguments)
                self.assertEqual(succeeded, wanted, text)
                self.assertRegex(text, rf"status codes: {wanted} 2xx, 0 3xx, 0 4xx, 0 5xx")

    def test_keeps_connections_on_both_sides(self):
        before = self.proxy.metric("envoy_cluster_upstream_cx_total", envoy_cluster_name="unix")
        callers = self.proxy.metric("envoy_http_downstream_cx_total",
                                    envoy_http_conn_manager_prefix="in")
        ran = subprocess.run([peer("curl"), "--silent", "--show-error", "--fail", "--http1.1",
                              *[self.proxy.url("/unix")] * 30],
                             capture_output=True, text=True, timeout=WITHIN_S)
        self.assertEqual((ran.returncode, ran.stdout.count('"origin"')), (0, 30), ran.stderr)
        after = self.proxy.metric("envoy_cluster_upstream_cx_total", envoy_cluster_name="unix")
        self.assertLessEqual(after - before, 1)
        self.assertEqual(self.proxy.metric("envoy_http_downstream_cx_total",
                                           envoy_http_conn_manager_prefix="in") - callers, 1)

    def test_two_requests_in_one_packet_are_answered_in_order(self):
        with socket.create_connection(("127.0.0.1", self.proxy.ports["in"]), WITHIN_S) as caller:
            caller.sendall(b"GET /unix?1 HTTP/1.1\r\nhost: a\r\n\r\n"
                           b"GET /tcp?2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            seen = b"".join(iter(lambda: caller.recv(65536), b""))
        told = [json.loads(body) for body in re.findall(rb"\r\n\r\n(\{.*?\})(?=HTTP|$)", seen)]
        self.assertEqual([one["path"] for one in told], ["/unix?1", "/tcp?2"])


class Workers(Scene):
    def test_two_workers_share_one_port(self):
        with Proxy(self.directory, bootstrap([listener("in", [says(200, "ok")])], []),
                   "--concurrency", "2") as proxy:
            # The kernel spreads connections by a hash, and threads tell their CPU time: both work.
            def worked():
                succeeded, _ = run_h2load("-c32", "-m4", "-n20000", proxy.url())
                self.assertEqual(succeeded, 20000)
                return sum(ticks > 0 for ticks in thread_ticks(proxy.pid).values()) >= 2
            eventually(worked, "two threads use processor time")


def thread_ticks(pid):
    """Processor time of each thread but the main one."""
    import pathlib
    ticks = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        if task.name != str(pid):
            ticks[task.name] = int(fields[11]) + int(fields[12])
    return ticks


if __name__ == "__main__":
    unittest.main()
