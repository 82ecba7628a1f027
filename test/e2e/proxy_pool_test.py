"""Pools against real peers: idle connections that end under a request, HTTP/2 servers that say
GOAWAY, sessions of TLS that are resumed."""

import asyncio
import os
import pathlib
import re
import socket
import subprocess
import threading
import unittest

from bootstrap import HTTP_OPTIONS, bootstrap, cluster, downstream_tls, listener, to, upstream_tls
from certificates import Authority, server_context
from harness import (WITHIN_S, Program, Proxy, Scene, can_connect, curl, eventually, free_port,
                     peer)
from origins import HttpOrigin, run_h2load

REQUESTS = 10_000
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class ClosingOrigin:
    """HTTP/1.1 that closes each connection when a further request has arrived (`at_once` false), or
    right behind an answer that promised to keep it (`at_once` true), so that it ends while the next
    request is under way."""

    def __init__(self, requests_each, at_once):
        self.requests_each, self.at_once = requests_each, at_once
        self.answered = self.dropped = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._ready.wait(WITHIN_S)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WITHIN_S)

    def _run(self):
        asyncio.run(self._main())

    async def _main(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader, writer):
        try:
            for served in range(self.requests_each + 1):
                await reader.readuntil(b"\r\n\r\n")
                if served == self.requests_each:
                    self.dropped += 1
                    break
                self.answered += 1
                writer.write(ANSWER)
                if self.at_once and served == self.requests_each - 1:
                    await writer.drain()
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class RefusingOrigin:
    """HTTP/1.1 that answers 413 as soon as it has a head and closes; it never reads the body."""

    def __init__(self):
        self.read = 0  # bytes behind the head
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(WITHIN_S)

    def _run(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(4096)
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo large")
                connection.shutdown(socket.SHUT_WR)
                # What a careful server does: the other side reads the answer, and ends.
                while piece := connection.recv(65536):
                    self.read += len(piece)


class Nginx(Program):
    """A server of HTTP/2 in clear text that says GOAWAY after every few requests."""

    def __init__(self, directory, requests_each):
        self.port = free_port()
        config = pathlib.Path(directory, "nginx.conf")
        config.write_text(f"""
            daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;
            events {{ worker_connections 1024; }}
            http {{
              access_log {directory}/nginx-access.log; keepalive_requests {requests_each};
              client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
              fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
              server {{ listen 127.0.0.1:{self.port} http2 backlog=1024; location / {{ return 200 "ok"; }} }}
            }}""")
        super().__init__("nginx", [peer("nginx"), "-c", config, "-p", directory, "-e", "stderr"],
                         directory)
        eventually(lambda: can_connect(self.port), "nginx listens")


def options(**more):
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}", **more}}}


class IdleRace(Scene):
    def run_against(self, origin):
        with Proxy(self.directory, bootstrap([listener("in", [to("o")])],
                                             [cluster("o", origin.port)])) as proxy:
            succeeded, text = run_h2load("--h1", "-n", REQUESTS, "-c", 8, proxy.url())
            self.assertEqual(succeeded, REQUESTS, text)
            self.assertEqual(origin.answered, REQUESTS, "none was answered twice")
            return proxy.metric("envoy_cluster_upstream_rq_retry")

    def test_no_request_is_lost_when_connections_end_as_the_next_one_arrives(self):
        with ClosingOrigin(requests_each=5, at_once=False) as origin:
            retries = self.run_against(origin)
            self.assertGreater(origin.dropped, REQUESTS / 10)
            self.assertEqual(retries, origin.dropped)

    def test_no_request_is_lost_when_connections_end_behind_an_answer(self):
        with ClosingOrigin(requests_each=3, at_once=True) as origin:
            self.run_against(origin)


class Goaway(Scene):
    def test_no_request_is_lost_when_the_server_ends_connections_after_every_few(self):
        body = self.directory / "body"
        body.write_bytes(b"a call")
        with Nginx(self.directory, requests_each=20) as nginx, Proxy(
                self.directory, bootstrap([listener("in", [to("o")])],
                                          [cluster("o", nginx.port, http2=True)])) as proxy:
            succeeded, text = run_h2load("-n", REQUESTS, "-c", 4, "-m", 32, "-d", body, proxy.url())
            self.assertEqual(succeeded, REQUESTS, text)
            self.assertGreaterEqual(proxy.metric("envoy_cluster_upstream_cx_total"), REQUESTS / 20)
            seen = (self.directory / "nginx-access.log").read_text().count('"POST / HTTP/2.0" 200')
            self.assertEqual(seen, REQUESTS, "each was answered once")


class EarlyAnswer(Scene):
    def test_a_refusal_reaches_the_caller_while_the_body_is_still_being_sent(self):
        big = self.directory / "big"
        with open(big, "wb") as file:
            os.truncate(file.fileno(), 1 << 30)  # Takes no space.
        with RefusingOrigin() as origin, Proxy(
                self.directory, bootstrap([listener("in", [to("o")])],
                                          [cluster("o", origin.port)])) as proxy:
            answer = curl("--http1.1", "-H", "Expect:", "-T", big, proxy.url("/up"))
            self.assertEqual((answer.status, answer.body), (413, b"too large"))
            # curl 7.88 takes the RST_STREAM that stops it (RFC 9113 section 8.1) for a failure.
            ran = subprocess.run([peer("nghttp"), "-v", "-d", big, proxy.url("/up")],
                                 capture_output=True, text=True, timeout=WITHIN_S)
            self.assertIn(":status: 413", ran.stdout)
            self.assertIn("too large", ran.stdout)
            eventually(lambda: proxy.metric("envoy_cluster_upstream_cx_active") == 0,
                       "the upstream connections are closed")
            self.assertLess(origin.read, 16 << 20, "the rest of the body was not sent")


class Resumption(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.directory)
        cls.caller, cls.server = cls.authority.issue("caller"), cls.authority.issue("server")

    def test_connections_to_an_upstream_resume_its_sessions(self):
        with HttpOrigin(tls=server_context(self.server, self.authority)) as origin:
            config = bootstrap([listener("in", [to("o")])], [cluster(
                "o", origin.port, tls=upstream_tls(self.caller, self.authority),
                **options(common_http_protocol_options={"max_requests_per_connection": 1},
                          explicit_http_config={"http_protocol_options": {}}))])
            with Proxy(self.directory, config) as proxy:
                for _ in range(10):
                    self.assertEqual(proxy.fetch().json["peer"], self.caller.spiffe_id)
                self.assertEqual(proxy.metric("envoy_cluster_ssl_handshake"), 10)
                self.assertEqual(proxy.metric("envoy_cluster_ssl_session_reused"), 9)

    def client(self, port, *arguments):
        """Whether openssl's client resumed, after one request."""
        ran = subprocess.run(
            [peer("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile",
             self.authority.certificate, "-cert", self.caller.certificate,
             "-key", self.caller.key, "-ign_eof",
             *map(str, arguments)],
            input="GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", capture_output=True,
            text=True, timeout=WITHIN_S)
        self.assertIn("HTTP/1.1 200", ran.stdout, ran.stderr)
        return re.search(r"^(New|Reused), TLSv1.3", ran.stdout, re.M)[1]

    def test_openssl_resumes_with_its_ticket_at_one_listener_only(self):
        with HttpOrigin() as origin, Proxy(self.directory, bootstrap(
                [listener(name, [to("o")], tls=downstream_tls(self.server, self.authority, alpn=()))
                 for name in ("in", "beside")], [cluster("o", origin.port)])) as proxy:
            ticket = self.directory / "ticket"
            here, beside = proxy.ports["in"], proxy.ports["beside"]
            self.assertEqual(self.client(here, "-sess_out", ticket), "New")
            self.assertEqual(self.client(here, "-sess_in", ticket), "Reused")
            self.assertEqual(self.client(beside, "-sess_in", ticket), "New")
            self.assertEqual(proxy.metric("envoy_listener_ssl_session_reused"), 1)
            self.assertEqual(proxy.metric("envoy_listener_ssl_handshake"), 3)


if __name__ == "__main__":
    unittest.main()
