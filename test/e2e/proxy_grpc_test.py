"""gRPC through glia-proxy, with a grpcio client and server: streams, trailers, ends of every kind."""

import asyncio
import pathlib
import queue
import re
import sys
import unittest

import grpc

from bootstrap import bootstrap, cluster, listener, to
from harness import WITHIN_S, Program, Proxy, Scene, eventually, free_port
from origins import GRPC_LIMITS, GrpcOrigin, HttpOrigin

STREAMS, A_CONNECTION = 10_000, 100
MEMORY_A_STREAM = 16 * 1024  # bytes, at most, with both of its sides


class Grpc(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.enterClassContext(GrpcOrigin())
        cls.web = cls.enterClassContext(HttpOrigin())
        cls.log = cls.directory / "access.log"
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", [to("nobody", "/e2e.Nobody/"), to("slow", "/e2e.Slow/", timeout="0.3s",
                                                              prefix_rewrite="/e2e.Echo/"),
                             to("echo", "/e2e.Short/", prefix_rewrite="/e2e.Echo/",
                                max_stream_duration={"grpc_timeout_header_max": "0.3s"}),
                             to("web", "/e2e.Web/"),
                             to("echo", {"prefix": "/", "grpc": {}}, timeout="0s")], log=cls.log)],
            [cluster("echo", cls.origin.port, http2=True),
             cluster("slow", cls.origin.port, http2=True),
             cluster("web", cls.web.port),
             cluster("nobody", free_port(), http2=True)])))
        cls.channel = cls.enterClassContext(
            grpc.insecure_channel(f"127.0.0.1:{cls.proxy.ports['in']}", options=GRPC_LIMITS))

    def unary(self, method="/e2e.Echo/Unary"):
        return self.channel.unary_unary(method)

    def failure(self, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        return caught.exception

    def test_a_unary_call_keeps_message_and_metadata(self):
        metadata = [("x-echo", "text"), ("x-echo-bin", bytes(range(256)))]
        for size in (0, 1, 100_000, 3_000_000):
            message = b"m" * size
            answer, call = self.unary().with_call(message, metadata=metadata, timeout=WITHIN_S)
            self.assertEqual(answer, message)
            self.assertLessEqual(set(metadata), set(call.initial_metadata()))
            self.assertLessEqual(set(metadata), set(call.trailing_metadata()))

    def test_status_and_message_of_a_failure_are_kept(self):
        error = self.failure(lambda: self.unary()(b"fail", metadata=[("x-echo", "kept")],
                                                  timeout=WITHIN_S))
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(error.details(), "no more: 100 % used, häuser")
        self.assertIn(("x-echo", "kept"), error.trailing_metadata())
        eventually(lambda: any(line.get("grpc_status") in ("8", 8) for line in self.access_log(1)),
                   "the access log has the gRPC status")

    def test_status_details_are_kept_byte_for_byte(self):
        details = bytes(range(256)) * 4
        error = self.failure(lambda: self.unary()(b"fail", metadata=[("x-details-bin", details)],
                                                  timeout=WITHIN_S))
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(dict(error.trailing_metadata())["grpc-status-details-bin"], details)

    def test_metadata_of_forty_kibibytes_goes_through(self):
        metadata = [("x-echo", "m" * 10_000), ("x-echo-bin", bytes(range(256)) * 20)]
        answer, call = self.unary().with_call(b"x", metadata=metadata, timeout=WITHIN_S)
        self.assertLessEqual(set(metadata), set(call.initial_metadata()))
        self.assertLessEqual(set(metadata), set(call.trailing_metadata()))

    def test_messages_of_four_mebibytes_go_both_ways(self):
        message = bytes(range(256)) * (4 << 12)
        self.assertEqual(self.unary()(message, timeout=WITHIN_S), message)
        call = self.channel.stream_stream("/e2e.Echo/Chat")(iter([message] * 4), timeout=WITHIN_S)
        self.assertEqual(list(call), [message] * 4 + [b"4 messages"])

    def test_a_client_stream_gives_one_answer(self):
        pieces = [b"%d," % number for number in range(5000)]
        collect = self.channel.stream_unary("/e2e.Echo/Collect")
        self.assertEqual(collect(iter(pieces), timeout=WITHIN_S), b"".join(pieces))

    def test_a_server_that_does_not_speak_grpc_is_an_error_that_says_so(self):
        error = self.failure(lambda: self.unary("/e2e.Web/Unary")(b"", timeout=WITHIN_S))
        self.assertEqual(error.code(), grpc.StatusCode.UNKNOWN)
        self.assertIn("HTTP status 200 with application/json where gRPC was expected",
                      error.details())
        self.assertEqual(dict(error.trailing_metadata())["x-glia-reason"], "not_grpc")

    def test_the_route_may_shorten_a_deadline(self):
        error = self.failure(lambda: self.unary("/e2e.Short/Hang")(b"", timeout=WITHIN_S))
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        # The origin was told, too: its answer may be the first. The caller's own deadline is later.
        self.assertRegex(error.details(), r"not over 300 ms after it began \(grpc-timeout\)|^Deadline")
        self.assertTrue(self.origin.cancelled.acquire(timeout=WITHIN_S))
        self.assertLessEqual(self.origin.deadlines[-1], 0.3)

    def test_a_deadline_ends_a_stream_that_has_begun(self):
        messages = queue.SimpleQueue()
        messages.put(b"one")
        call = self.channel.stream_stream("/e2e.Short/Chat")(iter(messages.get, None),
                                                             timeout=WITHIN_S)
        self.assertEqual(next(call), b"one")
        self.assertEqual(self.failure(call.__next__).code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        messages.put(None)

    def test_a_server_stream_keeps_order_and_trailers(self):
        call = self.channel.unary_stream("/e2e.Echo/Numbers")(b"5000", timeout=WITHIN_S)
        self.assertEqual([int(one) for one in call], list(range(5000)))
        self.assertIn(("x-echo-count", "5000"), call.trailing_metadata())

    def test_both_sides_talk_in_turn_and_the_caller_ends_first(self):
        messages = queue.SimpleQueue()
        call = self.channel.stream_stream("/e2e.Echo/Chat")(iter(messages.get, None),
                                                            timeout=WITHIN_S)
        for number in range(200):
            messages.put(b"%d" % number)
            self.assertEqual(next(call), b"%d" % number)  # Before the next one is sent.
        messages.put(None)
        self.assertEqual(next(call), b"200 messages")
        self.assertRaises(StopIteration, call.__next__)
        self.assertEqual(call.code(), grpc.StatusCode.OK)

    def test_a_deadline_ends_the_call_on_both_sides(self):
        error = self.failure(lambda: self.unary("/e2e.Echo/Hang")(b"", timeout=0.4))
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertTrue(self.origin.cancelled.acquire(timeout=WITHIN_S))
        self.assertLess(self.origin.deadlines[-1], 0.41)  # grpc-timeout came through; grpcio rounds.

    def test_cancelling_reaches_the_server(self):
        while self.origin.hanging.acquire(blocking=False):
            pass
        call = self.unary("/e2e.Echo/Hang").future(b"")
        self.assertTrue(self.origin.hanging.acquire(timeout=WITHIN_S))
        call.cancel()
        self.assertTrue(self.origin.cancelled.acquire(timeout=WITHIN_S))
        eventually(lambda: self.proxy.metric("envoy_cluster_upstream_rq_active",
                                             envoy_cluster_name="echo") == 0,
                   "no request is left in the proxy")

    def test_the_routes_timeout_is_a_grpc_status(self):
        error = self.failure(lambda: self.unary("/e2e.Slow/Hang")(b"", timeout=WITHIN_S))
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertIn("did not answer within 300 ms", error.details())
        self.assertTrue(self.origin.cancelled.acquire(timeout=WITHIN_S))

    def test_an_answer_of_the_proxy_itself_is_grpc_and_says_why(self):
        error = self.failure(lambda: self.unary("/e2e.Nobody/Unary")(b"", timeout=WITHIN_S))
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertIn("127.0.0.1", error.details())
        trailers = dict(error.trailing_metadata())
        self.assertEqual((trailers["x-glia-reason"], trailers["x-glia-hop"],
                          trailers["x-glia-cluster"]), ("connect_failed", "e2e-node", "nobody"))


class ManyStreams(Scene):
    """10,000 bidirectional streams at once, all of them alive, in bounded memory."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        script = pathlib.Path(__file__).with_name("many_streams_server.py")
        server = cls.enterClassContext(Program("server", [sys.executable, script], cls.directory))
        port = eventually(lambda: re.search(r"port (\d+)", server.text()), "the server's port")[1]
        most = {"thresholds": [{"max_requests": 2 * STREAMS, "max_pending_requests": 2 * STREAMS}]}
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", [to("many", timeout="0s")])],
            [cluster("many", int(port), http2=True, circuit_breakers=most)])))

    async def chat(self, channel, number):
        call = channel.stream_stream("/e2e.Many/Chat")(timeout=WITHIN_S * 6)
        await self.say(call, b"first %d" % number)
        return call

    async def say(self, call, message):
        await call.write(message)
        self.assertEqual(await call.read(), message)

    async def many(self):
        target = f"127.0.0.1:{self.proxy.ports['in']}"
        # A connection each: otherwise grpcio shares one.
        channels = [grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
                    for _ in range(STREAMS // A_CONNECTION)]
        idle = self.proxy.memory()
        calls = await asyncio.gather(*(self.chat(channels[number % len(channels)], number)
                                       for number in range(STREAMS)))
        self.assertEqual(self.proxy.metric("envoy_http_downstream_rq_active",
                                           envoy_http_conn_manager_prefix="in"), STREAMS)
        self.assertEqual(self.proxy.metric("envoy_http_downstream_cx_active",
                                           envoy_http_conn_manager_prefix="in"), len(channels))
        grown = self.proxy.memory() - idle
        await asyncio.gather(*(self.say(call, b"second") for call in calls))
        for call in calls:
            await call.done_writing()
        for call in calls:
            self.assertIs(await call.read(), grpc.aio.EOF)
            self.assertEqual(await call.code(), grpc.StatusCode.OK)
        for channel in channels:
            await channel.close()
        return grown

    def test_ten_thousand_streams_at_once(self):
        grown = asyncio.run(self.many())
        print(f"{STREAMS} streams: {grown / STREAMS / 1024:.1f} KiB each, {grown >> 20} MiB in all")
        self.assertLess(grown, STREAMS * MEMORY_A_STREAM)


if __name__ == "__main__":
    unittest.main()
