"""Requests that wait in front of a model server, through glia-proxy with two workers, by the clients
that people use."""

import concurrent.futures
import json
import threading
import unittest

import anthropic
import openai

from bootstrap import bootstrap, cluster, listener, to
from harness import Proxy, Scene, curl, eventually
from small_server import Answering, SmallServer

WAITED = r"its turn did not come within 1\d\d\d ms"
GLIA = "type.googleapis.com/glia.v1"


class Slots(Answering):
    """A model server that answers when the test says so."""

    def do_GET(self):
        self.answer({})

    def do_POST(self):
        self.asked()
        with self.server.lock:
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        self.server.go.acquire()
        with self.server.lock:
            self.server.now -= 1
        self.answer({
            "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
                {"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "hello"}}]})


class Line(Scene):
    CONCURRENCY, QUEUE = 2, 4
    MORE = {}

    def setUp(self):
        self.server = self.enterContext(SmallServer(
            Slots, lock=threading.Lock(), go=threading.Semaphore(0), now=0, most=0))
        self.addCleanup(self.server.go.release, 1000)
        admission = {"name": "glia.admission", "typed_config": {
            "@type": f"{GLIA}.Admission", "application": "llm", "concurrency": self.CONCURRENCY,
            "queue": self.QUEUE, **self.MORE}}
        self.proxy = self.enterContext(Proxy(
            self.directory, bootstrap([listener("in", [to("server")], filters=[admission])],
                                      [cluster("server", self.server.port)]),
            "--concurrency", "2"))
        self.pool = self.enterContext(concurrent.futures.ThreadPoolExecutor(32))

    def chat(self, tenant):
        client = openai.OpenAI(base_url=self.proxy.url("/v1"), api_key="none", max_retries=0)
        return client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "why"}], max_tokens=10,
            extra_headers={"x-llm-d-inference-fairness-id": tenant})

    def figure(self, name):
        return self.proxy.metric(f"glia_admission_{name}")


class Admission(Line):
    def test_workers_share_one_line_and_the_one_tenant_with_the_most_is_refused(self):
        running = [self.pool.submit(self.chat, "noisy") for _ in range(self.CONCURRENCY + self.QUEUE)]
        eventually(lambda: self.figure("at_work") == self.CONCURRENCY
                   and self.figure("waiting") == self.QUEUE, "the queue is full")
        # Another tenant gets in, at the cost of the one that fills the queue.
        other = self.pool.submit(self.chat, "other")
        done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        with self.assertRaises(openai.RateLimitError) as raised:
            done.pop().result()
        error = raised.exception
        self.assertEqual(error.response.headers["x-glia-reason"], "tenant_share")
        self.assertGreaterEqual(int(error.response.headers["retry-after"]), 1)
        self.assertIn("the queue of this application is full: 4 requests wait", error.message)
        # Refused at once, in the words of Anthropic, too.
        refused = curl("--json", '{"model":"m","max_tokens":10,"messages":[]}',
                       "-H", "x-llm-d-inference-fairness-id: noisy", self.proxy.url("/v1/messages"))
        self.assertEqual(refused.status, 429)
        self.assertEqual(json.loads(refused.text)["error"]["type"], "rate_limit_error")
        # Health does not wait.
        self.assertEqual(curl(self.proxy.url("/v2/health/ready")).status, 200)
        self.server.go.release(100)
        self.assertEqual(other.result().choices[0].message.content, "hello")
        answered = [call for call in running if call.exception() is None]
        self.assertEqual(len(answered), self.CONCURRENCY + self.QUEUE - 1)
        self.assertEqual(self.server.most, self.CONCURRENCY)
        eventually(lambda: self.figure("at_work") == 0, "nothing is at work")


class Heartbeats(Line):
    MORE = {"heartbeat": "0.1s", "wait": "1s"}

    def test_clients_pass_over_comments_and_understand_why_there_is_no_stream(self):
        running = [self.pool.submit(self.chat, "noisy") for _ in range(self.CONCURRENCY)]
        eventually(lambda: self.figure("at_work") == self.CONCURRENCY, "the server is busy")
        asked = {"model": "m", "messages": [{"role": "user", "content": "why"}], "max_tokens": 10}
        raw = curl("-N", "--json", json.dumps({**asked, "stream": True}),
                   self.proxy.url("/v1/chat/completions"))
        self.assertEqual(raw.status, 200)
        self.assertIn("text/event-stream", raw.headers["content-type"])
        self.assertGreaterEqual(raw.text.count(": queued\n\n"), 5)
        self.assertTrue(raw.text.endswith("data: [DONE]\n\n"), raw.text)
        client = openai.OpenAI(base_url=self.proxy.url("/v1"), api_key="none", max_retries=0)
        with self.assertRaises(openai.APIError) as raised:
            list(client.chat.completions.create(**asked, stream=True))
        self.assertRegex(raised.exception.message, WAITED)
        other = anthropic.Anthropic(base_url=self.proxy.url(""), api_key="none", max_retries=0)
        with self.assertRaises(anthropic.APIError) as raised:
            list(other.messages.create(**asked, stream=True))
        self.assertRegex(str(raised.exception), WAITED)
        self.assertEqual(self.figure("begun_early_total"), 3)
        self.server.go.release(100)
        for call in running:
            self.assertEqual(call.result().choices[0].message.content, "hello")


if __name__ == "__main__":
    unittest.main()
