"""Token budgets that many sidecars share: glia-proxy twice, and a real Redis behind them."""

import concurrent.futures
import json
import socket
import threading
import unittest

from bootstrap import bootstrap, cluster, listener, to
from harness import Program, Proxy, Scene, eventually, free_port, peer
from small_server import Answering, SmallServer

GLIA = "type.googleapis.com/glia.v1"


class Engine(Answering):
    """Answers when it may, with the usage that it was told."""

    def do_POST(self):
        self.asked()
        with self.server.lock:
            self.server.working += 1
        self.server.go.wait()
        self.answer({"choices": [], "usage": self.server.usage})


class Redis:
    """A real one, which says what is said to it in its own words."""

    def __init__(self, directory, port, password=""):
        self.port, self.password = port, password
        command = [peer("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", "--dir", directory]
        if password:
            command += ["--requirepass", password]
        self.program = Program("redis", command, directory)

    def __enter__(self):
        try:
            eventually(self.answers, "Redis answers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.program.__exit__()

    def answers(self):
        self.program.check_alive()
        try:
            return self.say("PING").startswith("+PONG")
        except OSError:
            return False

    def say(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            for command in ([["AUTH", self.password]] if self.password else []) + [words]:
                text = f"*{len(command)}\r\n" + "".join(
                    f"${len(word.encode())}\r\n{word}\r\n" for word in command)
                connection.sendall(text.encode())
                answer = connection.recv(65536).decode()
            return answer


class SharedBudgets(Scene):
    def setUp(self):
        self.server = self.enterContext(SmallServer(
            Engine, lock=threading.Lock(), go=threading.Event(), working=0,
            usage={"prompt_tokens": 2, "completion_tokens": 8, "total_tokens": 10}))
        self.addCleanup(self.server.go.set)
        self.redis_port = free_port()

    def proxy(self, name, **redis):
        budgets = {"name": "glia.token_budgets", "typed_config": {
            "@type": f"{GLIA}.TokenBudgets",
            "redis": {"address": f"127.0.0.1:{self.redis_port}", "share": "llama", "timeout": "5s",
                      **redis},
            "budgets": [{"name": "month", "tokens": 1000, "per": "2678400s", "each_tenant": True}]}}
        return self.enterContext(Proxy(
            self.directory, bootstrap([listener("in", [to("server")], filters=[budgets])],
                                      [cluster("server", self.server.port)]),
            "--concurrency", "2", name=name))

    def ask(self, proxy, most=98, tenant="a"):
        return proxy.fetch("/v1/chat/completions", method="POST",
                           headers={"x-llm-d-inference-fairness-id": tenant,
                                    "content-type": "application/json"},
                           body=json.dumps({"model": "m", "max_tokens": most, "messages": [
                               {"role": "user", "content": "why"}]}))

    def left(self, proxy, tenant="a"):
        return int(self.ask(proxy, 1, tenant).headers["x-ratelimit-remaining-tokens"])

    def test_a_budget_is_one_for_all_and_exact(self):
        with Redis(self.directory, self.redis_port) as redis:
            proxies = [self.proxy(f"exact-{i}") for i in range(2)]
            with concurrent.futures.ThreadPoolExecutor(40) as pool:
                # 40 at once, of which each may use 100 of the 1000; none ends before all have asked.
                asked = [pool.submit(self.ask, proxies[i % 2]) for i in range(40)]
                refused = eventually(
                    lambda: len([f for f in asked if f.done()]) >= 30 and
                    [f.result() for f in asked if f.done()], "thirty are refused")
                eventually(lambda: self.server.working == 10, "ten are at work")
                self.assertEqual({answer.status for answer in refused}, {429})
                self.assertEqual({answer.headers["x-glia-reason"] for answer in refused},
                                 {"token_budget"})
                self.assertIn("has 0 left for a", refused[0].text)
                self.server.go.set()
                served = [f.result() for f in asked if f.result().status == 200]
            self.assertEqual(len(served), 10)
            # Each has used 10, and gave the rest back.
            for proxy in proxies:
                eventually(lambda p=proxy: 850 <= self.left(p) <= 900, "the rest comes back")
            self.assertEqual(self.left(proxies[0], "b"), 997)
            self.assertIn("glia:{llama}:month\na\n", redis.say("KEYS", "*"))
            for proxy in proxies:
                self.assertEqual(proxy.metric("glia_token_budget_without_redis_total"), 0)

    def test_a_restart_of_a_sidecar_is_no_new_budget(self):
        self.server.go.set()
        self.server.usage = {"prompt_tokens": 2, "completion_tokens": 798, "total_tokens": 800}
        with Redis(self.directory, self.redis_port):
            with self.proxy("before") as before:
                self.assertEqual(self.ask(before, 798).status, 200)
                eventually(lambda: self.ask(before, 500).status == 429, "it is used up")
            self.assertEqual(self.ask(self.proxy("after"), 500).status, 429)

    def test_what_becomes_of_requests_without_redis(self):
        self.server.go.set()
        local = self.proxy("local")
        self.assertEqual(self.ask(local, 900).status, 200)
        # Its own book decides: 10 of 1000 were used, and it would be 1200 with this.
        self.assertEqual(self.ask(local, 900).status, 200)
        self.server.usage = {"prompt_tokens": 2, "completion_tokens": 998, "total_tokens": 1000}
        self.assertEqual(self.ask(local, 900).status, 200)
        eventually(lambda: self.ask(local, 900).status == 429, "its own budget is used up")
        self.assertGreaterEqual(local.metric("glia_token_budget_without_redis_total"), 4)
        self.assertGreaterEqual(local.metric("glia_token_budget_redis_failures_total"), 1)
        self.assertIn("which holds token budgets, cannot be asked", local.text())
        self.assertEqual(self.ask(self.proxy("allow", when_away="ALLOW"), 900).status, 200)
        refused = self.ask(self.proxy("refuse", when_away="REFUSE"), 1)
        self.assertEqual(refused.status, 503)
        self.assertEqual(refused.headers["x-glia-reason"], "token_budget_away")
        self.assertIn(f"the Redis at 127.0.0.1:{self.redis_port}, which holds the token budgets",
                      refused.text)
        # It is taken up again when it is there.
        with Redis(self.directory, self.redis_port) as redis:
            eventually(lambda: self.ask(local, 1, "back").status == 200 and
                       "back" in redis.say("KEYS", "*"), "Redis is asked again")

    def test_a_silent_redis_costs_its_timeout_once(self):
        self.server.go.set()
        with socket.create_server(("127.0.0.1", self.redis_port)):  # Takes connections, says nothing.
            proxy = self.proxy("silent", timeout="0.3s")
            for _ in range(20):
                self.assertEqual(self.ask(proxy, 1).status, 200)
            # Two workers, each once.
            self.assertLessEqual(proxy.metric("glia_token_budget_redis_failures_total"), 2 + 20)
            self.assertEqual(proxy.metric("glia_token_budget_without_redis_total"), 20)

    def test_with_a_password(self):
        self.server.go.set()
        secret = self.directory / "password"
        secret.write_text("open sesame\n")
        with Redis(self.directory, self.redis_port, "open sesame"):
            proxy = self.proxy("password", password_file=str(secret))
            self.assertEqual(self.ask(proxy, 1).status, 200)
            self.assertEqual(proxy.metric("glia_token_budget_without_redis_total"), 0)
            stranger = self.proxy("stranger", when_away="REFUSE")
            self.assertEqual(self.ask(stranger, 1).status, 503)
            self.assertIn("NOAUTH", stranger.text())


if __name__ == "__main__":
    unittest.main()
