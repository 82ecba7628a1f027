"""Second copies of requests through glia-proxy: one server that is slow does not make its client wait."""

import json
import socket
import threading
import unittest

import openai

from bootstrap import bootstrap, cluster, listener, to
from harness import Proxy, Scene, access_log_lines, eventually
from model_server import ModelServer

GLIA = "type.googleapis.com/glia.v1"


class Silent:
    """Takes requests and never answers; notes which of its clients went."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.asked, self.left = [], []  # Ports of clients.
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.listen, args=(client,), daemon=True).start()

    def listen(self, client):
        first, port = True, client.getpeername()[1]
        try:
            while client.recv(65536):
                if first:
                    self.asked.append(port)
                first = False
        except OSError:
            pass
        if not first:
            self.left.append(port)
        client.close()


class Hedging(Scene):
    def setUp(self):
        self.slow, self.quick = Silent(), self.enterContext(ModelServer("quick"))
        self.addCleanup(self.slow.socket.close)
        route = {**to("both"), "typed_per_filter_config": {
            "hedging": {"@type": f"{GLIA}.Hedging", "delay": "0.1s"}}}
        self.proxy = self.enterContext(Proxy(self.directory, bootstrap(
            [listener("in", [route], log=self.directory / "access.log")],
            [cluster("both", self.slow.port, self.quick.port)])))
        self.client = openai.OpenAI(base_url=self.proxy.url("/v1"), api_key="none", max_retries=0,
                                    timeout=5)

    def chat(self, **more):
        return self.client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "why"}], **more)

    def test_the_first_good_answer_counts_and_the_other_copy_is_cancelled(self):
        for _ in range(6):
            self.assertEqual(self.chat().choices[0].message.content, "hello")
        self.assertGreaterEqual(len(self.slow.asked), 2)
        eventually(lambda: len(self.slow.left) == len(self.slow.asked), "nobody waits any more")
        self.assertEqual(self.proxy.metric("glia_cluster_hedge_rq_won_total"), len(self.slow.asked))
        self.assertEqual(self.proxy.metric("glia_cluster_hedge_rq_active"), 0)
        self.assertEqual(self.proxy.metric("envoy_cluster_upstream_rq_active"), 0)
        lines = eventually(lambda: [line for line in access_log_lines(self.directory / "access.log")
                                    if "hedge" in line], "lines of requests that were sent twice")
        self.assertEqual({line["hedge"] for line in lines}, {"won"})
        self.assertEqual([json.dumps(body) for body in self.quick.bodies],
                         [json.dumps(self.quick.bodies[0])] * 6)

    def test_streams_are_sent_once(self):
        failed = 0
        for _ in range(2):
            try:
                chunks = list(self.chat(stream=True, timeout=0.5))
                self.assertEqual("".join(c.choices[0].delta.content for c in chunks), "hello")
            except openai.APITimeoutError:
                failed += 1
        self.assertEqual(failed, 1)
        self.assertEqual(self.proxy.metric("glia_cluster_hedge_rq_total"), 0)


if __name__ == "__main__":
    unittest.main()
