"""Canaries that judge themselves by what real sidecars report: a good version is promoted and bad
ones are taken back, alone, by a real glia-control; and a restart of it in the middle changes nothing."""

import collections
import contextlib
import http.client
import itertools
import json
import subprocess
import threading
import time
import unittest

import meshes
from harness import GLIA, WITHIN_S, Scene, eventually
from meshes import ControlPlane, MeshFile, Sidecar, free_network, mesh, settled, workload
from small_server import Answering, SmallServer

CALLERS = 6
SLOW_S = 0.15  # Many times what an answer takes here.
VERDICT_WITHIN_S = 40
# Each canary is of a Service of its own, whose other version is always the same workload.
CANDIDATES = ("good", "erring", "slow", "wrong")
# What a Service is called, and whose version is its candidate.
SERVICES = {**{name: name for name in CANDIDATES}, "kept": "good"}
# Tolerances for few requests, on a busy machine.
METRICS = [{"name": "Errors", "tolerance": 10},
           {"name": "Latency", "percentile": 50, "tolerance": 200}]


class _Handler(Answering):
    def do_POST(self):
        self.asked()
        engine = self.server
        name = engine.name
        number = next(engine.numbers)
        engine.asked.append(self.headers["host"])
        if name == "slow":
            time.sleep(SLOW_S)  # What makes it slow, not what the test waits for.
        failed = name == "erring" and number % 10 < 3
        answer = {"model_name": "tickets", "model_version": name, "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [1],
             "data": ["account" if name == "wrong" else "billing"]}]}
        if failed:
            return self.answer({"error": "out of memory"}, 500)
        return self.answer(answer)


class Engine(SmallServer):
    """A model of one version, that answers as its name says. Keeps the host of each request."""

    def __init__(self, name):
        super().__init__(_Handler, name=name, numbers=itertools.count(), asked=[])


class Callers(contextlib.AbstractContextManager):
    """Ask a Service for inference without pause, through the sidecar of the front; keep who answered
    with which status."""

    def __init__(self, address, service):
        self.answers = []  # Only appended to.
        self._address, self._service = address, service
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self):
        connection = http.client.HTTPConnection(self._address, meshes.OUTBOUND_PORT,
                                                timeout=WITHIN_S)
        with contextlib.closing(connection):
            while not self._ending.is_set():
                self.answers.append(infer(connection, self._service))

    def next(self, number):
        """Who answered the next so many requests."""
        begin = len(self.answers)
        eventually(lambda: len(self.answers) >= begin + number, f"{number} further answers")
        return collections.Counter(version for version, _ in self.answers[begin:])


def infer(connection, service):
    connection.request("POST", "/v2/models/tickets/infer", body=json.dumps({"inputs": [
        {"name": "embedding", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]}]}),
        headers={"Host": service, "Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    return (json.loads(body)["model_version"] if response.status == 200 else "", response.status)


def model_service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {f"in-{name}": "yes"},
                     "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}


def canary(name):
    spec = {"targetRef": {"name": name}, "candidate": {"labels": {"version": SERVICES[name]}},
            "steps": [{"weight": 30}, {"weight": 60}],
            "analysis": {"interval": "1s", "minimumRequests": 50, "metrics": METRICS}}
    if name == "kept":
        spec["steps"][1]["pause"] = "5s"  # Time to see it there.
    if name in ("wrong", "good"):
        spec["shadow"] = {"percent": 100}
    return {"apiVersion": "glia.dev/v1", "kind": "Canary", "metadata": {"name": name}, "spec": spec}


class Verdicts(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        network = free_network()
        names = ("front", "stable", *CANDIDATES)
        cls.at = {name: f"{network}.{host}" for host, name in enumerate(names, 1)}
        cls.engines = {name: cls.enterClassContext(Engine(name)) for name in names[1:]}
        cls.file = MeshFile(cls.directory, cls.objects())
        cls.control = ControlPlane(cls.directory, cls.file)
        cls.addClassCleanup(lambda: cls.control.__exit__())
        for name, address in cls.at.items():
            cls.enterClassContext(Sidecar(cls.directory, cls.control, f"default/{name}", address))
        eventually(lambda: settled(cls.control.status(), *names), "all have what they need")

    @classmethod
    def objects(cls):
        def version(name):
            it = workload(name, cls.at[name], cls.engines[name].port, version=name)
            mine = [service for service, candidate in SERVICES.items()
                    if name in ("stable", candidate)]
            it["metadata"]["labels"] |= {f"in-{service}": "yes" for service in mine}
            return it
        return [mesh(), workload("front", cls.at["front"]), *map(version, cls.engines),
                *map(model_service, SERVICES), *map(canary, SERVICES)]

    def callers(self, service):
        return self.enterContext(Callers(self.at["front"], service))

    def glia_canary(self, *words):
        return subprocess.run([GLIA, "canary", *words, "--state-dir", self.control.state],
                              capture_output=True, text=True, timeout=WITHIN_S)

    def shown(self, name):
        ran = self.glia_canary("show", name, "-o", "json")
        if not ran.stdout:
            return {}
        seen = json.loads(ran.stdout)
        return seen | {"touched": int(seen["touched"])}  # JSON's 64 bits are a text.

    def becomes(self, name, **wanted):
        """What is shown of it, once that is so."""
        last = {}

        def look():
            last.update(self.shown(name))
            return all(last.get(key) == value for key, value in wanted.items())
        try:
            eventually(look, f"canary {name} is {wanted}", VERDICT_WITHIN_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {json.dumps(last, indent=1)}") from None
        return last

    def is_taken_back(self, name, metric):
        """Returns its callers and what is shown of it."""
        callers = self.callers(name)
        seen = self.becomes(name, phase="rolled back")
        self.assertEqual((seen["weight"], seen["verdict"]), (0, "roll back"), seen)
        self.assertTrue(seen["reason"].startswith(metric), seen["reason"])
        self.assertRegex(seen["reason"], r"worse by at least [\d.]+ (points|%), [\d.]+ tolerated")
        eventually(lambda: set(callers.next(30)) == {"stable"}, "nobody gets its answers any more")
        self.assertEqual(set(callers.next(100)), {"stable"})
        self.assertEqual(self.glia_canary("show", name).returncode, 1)
        return callers, seen

    def test_a_good_version_gets_everything(self):
        callers = self.callers("good")
        seen = self.becomes("good", phase="promoted")
        for event in (r'"progressing" stage=2/3 weight=30 requests=0 reason="passed copies of 100 %: ',
                      r'"progressing" stage=3/3 weight=60 requests=\d+ reason="passed 30 %: Errors',
                      r'"promoted" stage=3/3 weight=100 requests=\d+ reason="Errors'):
            self.assertRegex(self.control.text(), "canary=default/good phase=" + event)
        self.assertEqual((seen["weight"], seen["verdict"]), (100, "advance"))
        eventually(lambda: set(callers.next(30)) == {"good"}, "it gets everything")
        self.assertEqual({status for _, status in callers.answers}, {200})
        text = self.glia_canary("show", "good").stdout
        for part in (r"phase      promoted, 100 % of the requests to the candidate",
                     r"verdict    advance", r"because    .*worse by at most .* tolerated",
                     r"\nstable +\d\d+ +0 .* 6\n", r"\ncandidate +\d\d+ +0 .* 6\n",
                     r"advance    Errors 0.00 % of \d+ against 0.00 % of \d+: worse by at most",
                     r"advance    Latency p50 .* ms of \d+ against .* ms of \d+: worse by at most"):
            self.assertRegex(text, part)

    def test_one_that_errs_is_taken_back(self):
        # What is sent before they know that they are to count is not counted.
        eventually(lambda: self.shown("erring")["candidate"]["sidecars"] == len(self.at),
                   "every sidecar reports")
        callers, _ = self.is_taken_back("erring", "Errors")
        failed = sum(status == 500 for _, status in callers.answers)
        self.assertGreater(failed, 10)
        # Also what was answered after the last report before the verdict.
        self.becomes("erring", touched=len(self.engines["erring"].asked))

    def test_one_that_is_slow_is_taken_back(self):
        _, seen = self.is_taken_back("slow", "Latency")
        self.assertGreater(seen["candidate"]["p50Ms"], 1000 * SLOW_S * 0.9)

    def test_one_that_is_wrong_is_taken_back_before_anybody_gets_its_answers(self):
        callers, seen = self.is_taken_back("wrong", "ShadowDifferences")
        self.assertIn("; they differ in outputs[].data[] (", seen["reason"])
        self.assertEqual(seen["touched"], 0)
        self.assertEqual(set(callers.answers), {("stable", 200)})
        self.assertEqual(set(self.engines["wrong"].asked), {"wrong-shadow"})

    def test_a_restart_in_the_middle_keeps_where_it_is(self):
        with Callers(self.at["front"], "kept"):
            self.becomes("kept", weight=60, phase="progressing")
        type(self).control.__exit__()  # SIGKILL
        with Callers(self.at["front"], "kept") as callers:
            self.assert_share(callers.next(300), "good", 0.6)  # They keep the shares.
        before = len(self.control.text())
        type(self).control = ControlPlane(self.directory, self.file, self.control.port)
        seen = self.shown("kept")
        self.assertEqual((seen["phase"], seen["stage"], seen["weight"]), ("progressing", 2, 60))
        self.assertGreaterEqual(seen["touched"], 50)
        self.callers("kept")
        self.becomes("kept", phase="promoted", weight=100)
        self.assertNotIn("canary=default/kept phase=\"progressing\"", self.control.text()[before:])


if __name__ == "__main__":
    unittest.main()
