"""A request of which a sidecar sends a second copy is charged once, where servers share budgets in a Redis."""

import json
import re
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import meshes
from harness import Scene, eventually, free_port
from meshes import ControlPlane, MeshFile, Sidecar, free_network, mesh, service, workload
from shared_budget_test import Redis

TOKENS, INPUT, OUTPUT = 10000, 1000, 20
CHAT = json.dumps({"model": "m", "max_tokens": 500,
                   "messages": [{"role": "user", "content": "why " * INPUT}]}).encode()


class Engine(BaseHTTPRequestHandler):
    """Whoever of the two is asked first takes for ever, until it is let go."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        shared = self.server.shared
        with shared.lock:
            shared.asked.append(dict(self.headers))
            first = len(shared.asked) == 1
        if first:
            shared.go.wait()
        body = json.dumps({"choices": [], "usage": {
            "prompt_tokens": INPUT, "completion_tokens": OUTPUT,
            "total_tokens": INPUT + OUTPUT}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # The one that was cancelled has nobody who listens.
            self.close_connection = True

    def do_GET(self):  # Metrics, which it has none of.
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Shared:
    def __init__(self):
        self.lock, self.go, self.asked = threading.Lock(), threading.Event(), []


class HedgedBudget(Scene):
    def engine(self, shared):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
        server.daemon_threads, server.shared = True, shared
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_address[1]

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
        servers = [workload(name, at[name], self.engine(shared), app="llm",
                            modelServer={"engine": "vllm"}, **budget) for name in ("one", "two")]
        policy = {"apiVersion": "glia.dev/v1", "kind": "ModelPolicy", "metadata": {"name": "llm"},
                  "spec": {"targetRef": {"name": "llm"}, "hedge": {"after": "100ms", "least": 10}}}
        file = MeshFile(self.directory, [mesh(), workload("caller", at["caller"]), *servers,
                                         service("llm"), policy])
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
        # The one that was cancelled pays for the prompt, as far as it was estimated.
        eventually(lambda: 0.9 * INPUT < self.used(redis) < 1.1 * INPUT + OUTPUT,
                   f"it is charged once, not {self.used(redis)}")
        before = self.used(redis)
        # Who says so of a request that was sent once pays all the same.
        self.assertEqual(ask().status, 200)
        eventually(lambda: self.used(redis) == before + INPUT + OUTPUT, "one more is charged")


if __name__ == "__main__":
    unittest.main()
