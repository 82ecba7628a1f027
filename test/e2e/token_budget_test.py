"""Token budgets through glia-proxy with two workers, by OpenAI's client."""

import json
import threading
import unittest

import openai

from bootstrap import bootstrap, cluster, listener, to
from harness import Proxy, Scene, eventually
from small_server import Answering, SmallServer

GLIA = "type.googleapis.com/glia.v1"
USED = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


class Engine(Answering):
    """Streams two words, and the usage if it is asked for."""

    def do_POST(self):
        asked = json.loads(self.asked())
        self.server.asked.append(asked)
        self.begin_events()
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        for word in ("hel", "lo"):
            self.event({**chunk, "choices": [{"index": 0, "delta": {"content": word}}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            self.event({**chunk, "choices": [], "usage": USED})
        self.event("[DONE]")


class Endless(Engine):
    """Streams until nobody listens any more, whatever it is asked for."""

    def do_POST(self):
        asked = json.loads(self.asked())
        self.begin_events()
        messages = self.path.endswith("/messages")
        if messages:
            self.named("message_start", message={
                "id": "m-1", "type": "message", "role": "assistant", "model": asked["model"],
                "content": [], "stop_reason": None, "usage": {"input_tokens": 2, "output_tokens": 1}})
            self.named("content_block_start", index=0, content_block={"type": "text", "text": ""})
        try:
            while True:
                if messages:
                    self.named("content_block_delta", index=0,
                               delta={"type": "text_delta", "text": "on "})
                else:
                    self.event({"id": "c-1", "object": "chat.completion.chunk", "created": 7,
                                "model": asked["model"],
                                "choices": [{"index": 0, "delta": {"content": "on "}}]})
                threading.Event().wait(0.001)  # So fast is no engine.
        except OSError:
            self.server.asked.append("left")

    def named(self, name, **data):
        self.event({"type": name, **data}, name)


class TokenBudgets(Scene):
    def setUp(self):
        self.server = self.enterContext(SmallServer(Engine, asked=[]))
        budgets = {"name": "glia.token_budgets", "typed_config": {
            "@type": f"{GLIA}.TokenBudgets", "budgets": [
                {"name": "hour", "tokens": 1000, "per": "3600s", "each_tenant": True}]}}
        self.proxy = self.enterContext(Proxy(
            self.directory, bootstrap([listener("in", [to("server")], filters=[budgets])],
                                      [cluster("server", self.server.port)]),
            "--concurrency", "2"))

    def chat(self, tenant, most, **more):
        # A client and so a connection each time, for any of the workers.
        client = openai.OpenAI(base_url=self.proxy.url("/v1"), api_key="none", max_retries=0)
        answer = client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "why"}], max_tokens=most, stream=True,
            extra_headers={"x-llm-d-inference-fairness-id": tenant}, **more)
        return answer.headers, list(answer.parse())

    def given_back(self):
        return self.proxy.metric("glia_token_budget_given_back_total")

    def test_a_stream_is_settled_by_a_usage_that_the_client_does_not_see(self):
        headers, chunks = self.chat("a", 500)
        self.assertEqual(headers["x-ratelimit-limit-tokens"], "1000")
        left = int(headers["x-ratelimit-remaining-tokens"])
        self.assertTrue(490 <= left <= 500, left)
        self.assertEqual("".join(chunk.choices[0].delta.content for chunk in chunks), "hello")
        self.assertEqual(self.server.asked[0]["stream_options"], {"include_usage": True})
        eventually(lambda: self.given_back() >= 470, "what was not used comes back")
        # Ten more, and each of them may use half of it: 30 are used each time.
        for turn in range(10):
            before = self.given_back()
            headers, chunks = self.chat("a", 500)
            self.assertEqual(len(chunks), 2)
            eventually(lambda: self.given_back() > before, f"turn {turn} is settled")
        self.assertTrue(165 <= int(headers["x-ratelimit-remaining-tokens"]) <= 210)
        with self.assertRaises(openai.RateLimitError) as raised:
            self.chat("a", 900)
        refusal = raised.exception
        self.assertEqual(refusal.response.headers["x-glia-reason"], "token_budget")
        self.assertGreater(int(refusal.response.headers["retry-after"]), 100)
        self.assertIn("the token budget hour of 1000 tokens in 3600 s has", refusal.message)
        # Another tenant has its own.
        self.assertEqual(len(self.chat("b", 900)[1]), 2)

    def test_who_asks_for_the_usage_gets_it(self):
        _, chunks = self.chat("a", 10, stream_options={"include_usage": True})
        self.assertEqual(chunks[-1].usage.total_tokens, 30)


class StoppedStreams(Scene):
    """A server that does not stop is stopped, and the clients' libraries see an answer that ends."""

    def setUp(self):
        self.server = self.enterContext(SmallServer(Endless, asked=[]))
        budgets = {"name": "glia.token_budgets", "typed_config": {
            "@type": f"{GLIA}.TokenBudgets", "budgets": [
                {"name": "hour", "tokens": 1000, "per": "3600s", "each_tenant": True,
                 "stop_streams": "WHEN_EMPTY"},
                {"name": "short", "tokens": 1000, "per": "3600s", "tenant": "short",
                 "stop_streams": "AT_RESERVATION"}]}}
        self.proxy = self.enterContext(Proxy(
            self.directory, bootstrap([listener("in", [to("server")], filters=[budgets])],
                                      [cluster("server", self.server.port)])))

    def chat(self, tenant, most):
        client = openai.OpenAI(base_url=self.proxy.url("/v1"), api_key="none", max_retries=0)
        return list(client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "why"}], max_tokens=most, stream=True,
            extra_headers={"x-llm-d-inference-fairness-id": tenant}))

    def check(self, chunks, words):
        self.assertEqual([chunk.choices[0].delta.content for chunk in chunks],
                         ["on "] * words + [None])
        self.assertEqual({chunk.id for chunk in chunks}, {"c-1"})
        self.assertEqual([chunk.choices[0].finish_reason for chunk in chunks],
                         [None] * words + ["length"])
        eventually(lambda: self.server.asked == ["left"], "the server is told that nobody listens")

    def test_openai_sees_an_end_when_the_output_is_longer_than_was_asked_for(self):
        self.check(self.chat("short", 20), 20)
        self.assertEqual(self.proxy.metric("glia_token_budget_stopped_total", budget="short"), 1)

    def test_openai_sees_an_end_when_the_budget_is_empty(self):
        chunks = self.chat("a", 20)
        self.assertTrue(980 <= len(chunks) - 1 <= 1002, len(chunks))
        self.check(chunks, len(chunks) - 1)
        with self.assertRaises(openai.RateLimitError):
            self.chat("a", 20)

    def test_a_stream_of_anthropic_ends_as_one(self):
        answer = self.proxy.fetch(
            "/v1/messages", method="POST", headers={"x-llm-d-inference-fairness-id": "short"},
            body=json.dumps({"model": "m", "max_tokens": 20, "stream": True, "messages": [
                {"role": "user", "content": "why"}]}))
        events = [json.loads(line[6:]) for line in answer.text.splitlines()
                  if line.startswith("data: ")]
        self.assertEqual([event["type"] for event in events],
                         ["message_start", "content_block_start"] + ["content_block_delta"] * 20 +
                         ["content_block_stop", "message_delta", "message_stop"])
        self.assertEqual(events[-2]["delta"]["stop_reason"], "max_tokens")
        eventually(lambda: self.server.asked == ["left"], "the server is told that nobody listens")


if __name__ == "__main__":
    unittest.main()
