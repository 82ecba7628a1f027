"""A request of which a sidecar sends a second copy is charged once, where servers share budgets in a Redis."""

import json
import re
import threading
import unittest

import meshes
from harness import Scene, eventually, free_port
from meshes import ControlPlane, MeshFile, Sidecar, free_network, mesh, service, settled, workload
from shared_budget_test import Redis
from small_server import Answering, SmallServer

TOKENS, INPUT, OUTPUT, MOST = 10000, 1000, 400, 600
CHAT = json.dumps({"model": "m", "max_tokens": MOST,
                   "messages": [{"role": "user", "content": "why " * INPUT}]}).encode()


class Engine(Answering):
    """Whoever of the two is asked first says nothing, until its request is of no use any more."""

    def do_POST(self):
        self.asked()
        shared = self.server.shared
        with shared.lock:
            shared.asked.append(dict(self.headers))
            first = len(shared.asked) == 1
        if first:
            shared.go.wait()
            self.close_connection = True
            return
        self.answer({"choices": [], "usage": {"prompt_tokens": INPUT, "completion_tokens": OUTPUT,
                                              "total_tokens": INPUT + OUTPUT}})

    def do_GET(self):  # Metrics, which it has none of.
        self.answer(b"", 404)


class Shared:
    def __init__(self):
        self.lock, self.go, self.asked = threading.Lock(), threading.Event(), []


class HedgedBudget(Scene):
    def used(self, redis):
        found = re.match(r"\$\d+\r\n([\d.]+)", redis.say("HGET", "glia:{llm}:month\n\n", "level"))
        return round(TOKENS - float(found[1])) if found else 0

    def test_the_prompt_is_paid_for_once_and_the_output_of_the_one_that_was_answered(self):
        shared = Shared()
        self.addCleanup(shared.go.set)
        redis = self.enterContext(Redis(self.directory, free_port()))
        network = free_network()
        names = ("caller", "one", "two")
        at = {name: f"{network}.{host}" for host, name in enumerate(names, 1)}
        budget = {"tokenBudgets": [{"name": "month", "tokens": TOKENS, "per": "744h"}],
                  "sharedBudgets": {"redis": f"127.0.0.1:{redis.port}", "share": "llm",
                                    "timeout": "5s"}}
        servers = [workload(name, at[name], self.enterContext(SmallServer(Engine, shared=shared)).port,
                            app="llm", modelServer={"engine": "vllm"}, **budget)
                   for name in ("one", "two")]
        policy = {"apiVersion": "glia.dev/v1", "kind": "ModelPolicy", "metadata": {"name": "llm"},
                  "spec": {"targetRef": {"name": "llm"}, "hedge": {"after": "100ms", "least": 10}}}
        objects = [mesh(), workload("caller", at["caller"]), *servers, service("llm")]
        file = MeshFile(self.directory, [*objects, policy])
        control = self.enterContext(ControlPlane(self.directory, file))
        for name in names:
            self.enterContext(Sidecar(self.directory, control, name, at[name]))

        def ask():
            return meshes.ask(at["caller"], "llm", "/v1/chat/completions", method="POST", body=CHAT,
                              headers={"content-type": "application/json", "x-glia-copy": "1"})
        answer = ask()
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(len(shared.asked), 2, "it was sent twice")
        for headers in shared.asked:  # It is between sidecars.
            self.assertNotIn("x-glia-copy", {name.lower() for name in headers})
        # The one that was cancelled pays for the prompt, as far as it was estimated. Neither holds what
        # it may have needed (MOST) any more.
        eventually(lambda: 0.9 * INPUT + OUTPUT < self.used(redis) < 1.1 * INPUT + OUTPUT,
                   lambda: f"it is charged once, not {self.used(redis)}")
        before = self.used(redis)
        # Who says so of a request that was sent once pays all the same. Without the policy none is sent twice.
        old = control.status()["configVersion"]
        file.save(objects)
        eventually(lambda: (now := control.status())["configVersion"] != old and settled(now, *names),
                   "nobody sends second copies any more")
        self.assertEqual(ask().status, 200)
        self.assertEqual(len(shared.asked), 3, "it was sent once")
        eventually(lambda: self.used(redis) == before + INPUT + OUTPUT,
                   lambda: f"one more is charged, to {self.used(redis)} from {before}")


if __name__ == "__main__":
    unittest.main()
