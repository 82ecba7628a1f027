"""gRPC through glia-proxy, with a grpcio client and server: streams, trailers, ends of every kind."""

import queue
import unittest

import grpc

from bootstrap import bootstrap, cluster, listener, to
from harness import WITHIN_S, Proxy, Scene, eventually, free_port
from origins import GrpcOrigin


class Grpc(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.enterClassContext(GrpcOrigin())
        cls.log = cls.directory / "access.log"
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", [to("nobody", "/e2e.Nobody/"), to("slow", "/e2e.Slow/", timeout="0.3s",
                                                              prefix_rewrite="/e2e.Echo/"),
                             to("echo", {"prefix": "/", "grpc": {}}, timeout="0s")], log=cls.log)],
            [cluster("echo", cls.origin.port, http2=True),
             cluster("slow", cls.origin.port, http2=True),
             cluster("nobody", free_port(), http2=True)])))
        cls.channel = cls.enterClassContext(
            grpc.insecure_channel(f"127.0.0.1:{cls.proxy.ports['in']}"))

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
        self.assertLessEqual(self.origin.deadlines[-1], 0.4)  # grpc-timeout came through.

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


if __name__ == "__main__":
    unittest.main()
