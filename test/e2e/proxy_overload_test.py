"""glia-proxy at the limits of its process: connections, memory, descriptors. It refuses in words,
never falls over, and serves again when there is room."""

import contextlib
import http.client
import os
import pathlib
import resource
import select
import socket
import time
import unittest

from bootstrap import bootstrap, cluster, listener, says, to
from harness import GLIA_PROXY, SANITIZED, WITHIN_S, Answer, Proxy, Scene, eventually
from origins import HttpOrigin

MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
MEMORY = 32 << 20
# As large as a head may be, nearly: what the proxy must hold for as long as the request lasts.
HEAD = b"GET /hang HTTP/1.1\r\nHost: a.test\r\n" + b"".join(
    b"X-%d: %s\r\n" % (number, b"x" * 8000) for number in range(7)) + b"\r\n"


def limits(**monitors):
    return {"resource_monitors": [
        {"name": name, "typed_config": {"@type": f"{MONITORS}.{kind}", **fields}}
        for name, (kind, fields) in monitors.items()]}


def asked(port):
    """A connection that has been answered once and stays open; None if it was closed instead."""
    client = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
    try:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        if client.recv(65536).startswith(b"HTTP/1.1 200"):
            return client
    except OSError:
        pass
    client.close()
    return None


class Connections(Scene):
    def setUp(self):
        self.open = self.enterContext(contextlib.ExitStack())

    def fill(self, proxy, count):
        """Opens so many; returns how many were served."""
        clients = [asked(proxy.ports["in"]) for _ in range(count)]
        for client in filter(None, clients):
            self.open.enter_context(client)
        return sum(client is not None for client in clients)

    def test_further_clients_are_closed_until_one_leaves(self):
        with Proxy(self.directory, bootstrap(
                [listener("in", [says(200, "ok")])], [], overload_manager=limits(connections=(
                    "downstream_connections.v3.DownstreamConnectionsConfig",
                    {"max_active_downstream_connections": 8})))) as proxy:
            self.assertEqual(self.fill(proxy, 12), 8)
            self.assertEqual(proxy.metric("envoy_listener_downstream_global_cx_overflow"), 4)
            self.open.close()
            eventually(lambda: self.fill(proxy, 1) == 1, "a new client is served again")

    def test_without_a_limit_half_of_the_descriptors_are_for_clients(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        try:  # The proxy raises its limit to the hard one: it inherits both from us.
            proxy = Proxy(self.directory, bootstrap([listener("in", [says(200, "ok")])], []),
                          program=self.low_limit_program())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with proxy:
            self.assertEqual(self.fill(proxy, 80), 64)
            proxy.check_alive()

    def low_limit_program(self):
        program = self.directory / "glia-proxy-128"
        program.write_text(f"#!/bin/sh\nulimit -Hn 128\nexec {GLIA_PROXY} \"$@\"\n")
        program.chmod(0o755)
        return program


class Descriptors(Scene):
    def test_running_out_of_them_pauses_accepting_without_a_spin(self):
        with Proxy(self.directory, bootstrap([listener("in", [says(200, "ok")])], [])) as proxy:
            self.assertEqual(proxy.fetch().status, 200)
            used = len(os.listdir(f"/proc/{proxy.pid}/fd"))
            resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (used + 8, used + 8))
            with contextlib.ExitStack() as clients:
                # The system accepts them; the proxy cannot take them all.
                for _ in range(40):
                    client = clients.enter_context(
                        socket.create_connection(("127.0.0.1", proxy.ports["in"])))
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                eventually(lambda: len(os.listdir(f"/proc/{proxy.pid}/fd")) >= used + 7,
                           "the descriptors are used up")
                self.assertLess(self.cpu_share(proxy), 0.2)
            eventually(lambda: asked(proxy.ports["in"]), "it serves again").close()

    def cpu_share(self, proxy):
        def seconds():
            stat = pathlib.Path(f"/proc/{proxy.pid}/stat").read_text()
            words = stat.rpartition(")")[2].split()
            return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        began, cpu = time.monotonic(), seconds()
        # Until its CPU clock had the chance to show a spin.
        eventually(lambda: time.monotonic() - began > 1, "a second has passed")
        return (seconds() - cpu) / (time.monotonic() - began)


class Memory(Scene):
    def test_refuses_before_the_limit_and_serves_again_after_it(self):
        origin = self.enterContext(HttpOrigin())
        with Proxy(self.directory, bootstrap(
                [listener("in", [says(200, "ok", "/ok"), to("origin", timeout="0s")])],
                [cluster("origin", origin.port)],
                overload_manager=limits(memory=("fixed_heap.v3.FixedHeapConfig",
                                                {"max_heap_size_bytes": MEMORY})))) as proxy:
            self.assertEqual(proxy.fetch("/ok").status, 200)
            with contextlib.ExitStack() as waiting:
                refused = self.wait_until_refused(proxy, origin, waiting)
                self.assertEqual(refused.headers["retry-after"], "1")
                self.assertEqual(refused.headers["x-glia-reason"], "overload")
                self.assertEqual(refused.headers["connection"], "close")
                self.assertIn("short of memory", refused.text)
                self.assertLess(proxy.memory("VmHWM"), MEMORY)
                self.assertGreater(proxy.metric("envoy_http_downstream_rq_overload_close"), 0)
            eventually(lambda: self.serves(proxy), "it serves again")
            origin.let_go.set()

    def wait_until_refused(self, proxy, origin, waiting):
        """Requests that the origin does not answer fill the proxy, one after the other: each is passed on, or
        answered by the proxy, which is what this returns."""
        for _ in range(1000):
            client = waiting.enter_context(
                socket.create_connection(("127.0.0.1", proxy.ports["in"]), timeout=WITHIN_S))
            client.sendall(HEAD)
            if not eventually(lambda: origin.hanging.acquire(timeout=0.01)
                              or select.select([client], [], [], 0)[0], "it is passed on or refused") is True:
                return self.refusal(client)
        self.fail(f"never refused, at {proxy.memory()} bytes")

    def refusal(self, client):
        response = http.client.HTTPResponse(client)
        response.begin()
        self.assertEqual(response.status, 503)
        return Answer(response.status, response.getheaders(), response.read())

    def serves(self, proxy):
        try:
            status = proxy.fetch("/ok").status
        except OSError:  # It was closed: memory may be looked at just before the last ones end.
            return False
        self.assertIn(status, (200, 503))
        return status == 200

    @unittest.skipIf(SANITIZED, "a sanitizer takes far more addresses than memory")
    def test_an_address_space_that_ends_is_said(self):
        """K4 of the checklist of faults, as far as it can come about where memory is promised freely."""
        origin = self.enterContext(HttpOrigin())
        with Proxy(self.directory, bootstrap([listener("in", [to("origin", timeout="0s")])],
                                             [cluster("origin", origin.port)])) as proxy:
            limit = proxy.memory("VmSize") + (1 << 20)
            resource.prlimit(proxy.pid, resource.RLIMIT_AS, (limit, limit))
            with contextlib.ExitStack() as waiting:
                for _ in range(1000):
                    if proxy.process.poll() is not None:
                        break
                    with contextlib.suppress(OSError):
                        waiting.enter_context(socket.create_connection(
                            ("127.0.0.1", proxy.ports["in"]), timeout=WITHIN_S)).sendall(HEAD)
                proxy.process.wait(WITHIN_S)
            self.assertEqual(proxy.process.returncode, 1, proxy.text())
            self.assertIn("the system gives no more memory", proxy.text())
            origin.let_go.set()


if __name__ == "__main__":
    unittest.main()
