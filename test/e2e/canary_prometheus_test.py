"""Canaries that are judged by what a real Prometheus says: an equal version is promoted, one beyond its bound
taken back, and where there are no data, or no Prometheus any more, nothing goes on. Skipped where there is
none on the PATH; Debian's package `prometheus` (2.42) is enough."""

import contextlib
import json
import shutil
import subprocess
import unittest
import urllib.parse

from canary_verdict_test import Callers, Engine
from harness import GLIA, Program, Scene, eventually, fetch, free_port
from meshes import ControlPlane, MeshFile, Sidecar, free_network, mesh, service, settled, workload
from small_server import Answering, SmallServer

PROMETHEUS = shutil.which("prometheus")
VERDICT_WITHIN_S = 60
# What is asked of each canary, by the name of its Service.
QUERIES = {"equal": 'lag_ms{version="v2"}', "lagging": 'lag_ms{version="v2"} * 5',
           "silent": 'lag_ms{version="v9"}'}


class Exporter(Answering):
    def do_GET(self):
        self.answer(b'lag_ms{version="v1"} 100\nlag_ms{version="v2"} 101.5\n',
                    content_type="text/plain; version=0.0.4")


class Prometheus(Program):
    def __init__(self, directory, target):
        config = directory / "prometheus.yml"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "app", "static_configs": [
                {"targets": [f"127.0.0.1:{target}"]}]}]}))
        self.port = free_port()
        super().__init__("prometheus", [
            PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={directory}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.port}"], directory, cwd=directory)
        eventually(self._has_data, "Prometheus has scraped")

    def _has_data(self):
        self.check_alive()
        query = urllib.parse.urlencode({"query": QUERIES["equal"]})
        try:
            return fetch(self.port, f"/api/v1/query?{query}").json["data"]["result"]
        except (OSError, KeyError, ValueError):  # Not ready yet.
            return None


@unittest.skipUnless(PROMETHEUS, "no prometheus on the PATH; install Debian's package")
class JudgedByPrometheus(Scene):
    def setUp(self):
        self.prometheus = self.enterContext(
            Prometheus(self.directory, self.enterContext(SmallServer(Exporter)).port))
        network = free_network()
        self.at = {name: f"{network}.{host}" for host, name in enumerate(("front", "v1", "v2"), 1)}
        engines = {name: self.enterContext(Engine(name)) for name in ("v1", "v2")}
        file = MeshFile(self.directory, [
            mesh(), workload("front", self.at["front"]),
            *(workload(name, self.at[name], engines[name].port, name, app="app") for name in engines),
            *(service(name, app="app") for name in QUERIES), *map(self.canary, QUERIES)])
        self.control = self.enterContext(ControlPlane(self.directory, file))
        for name, address in self.at.items():
            self.enterContext(Sidecar(self.directory, self.control, name, address))
        eventually(lambda: settled(self.control.status(), *self.at), "all sidecars are up to date")

    def canary(self, name):
        return {"apiVersion": "glia.dev/v1", "kind": "Canary", "metadata": {"name": name}, "spec": {
            "targetRef": {"name": name}, "candidate": {"labels": {"version": "v2"}},
            "steps": [{"weight": 50}],
            "analysis": {"interval": "1s", "minimumRequests": 20, "metrics": [
                {"name": "Errors", "tolerance": 30},
                {"name": "Value", "tolerance": 10, "prometheus": {
                    "address": f"http://127.0.0.1:{self.prometheus.port}", "title": "Lag",
                    "candidate": QUERIES[name], "stable": 'lag_ms{version="v1"}'}}]}}}

    def shown(self, name):
        ran = subprocess.run([GLIA, "canary", "show", name, "--state-dir", self.control.state, "-o", "json"],
                             capture_output=True, text=True)
        return json.loads(ran.stdout)

    def becomes(self, name, phase):
        return eventually(lambda: (seen := self.shown(name))["phase"] == phase and seen,
                          f"{name} becomes {phase}", within_s=VERDICT_WITHIN_S)

    def test_verdicts(self):
        with contextlib.ExitStack() as stack:
            for name in QUERIES:
                stack.enter_context(Callers(self.at["front"], name))
            self.becomes("equal", "promoted")
            lagging = self.becomes("lagging", "rolled back")
            self.assertIn("Lag (Prometheus) 508 against 100: worse by 408 %, 10.0 tolerated",
                          lagging["reason"])
            eventually(lambda: "the query finds no series" in self.shown("silent")["reason"],
                       "it says why it waits")
            self.assertEqual(self.shown("silent")["phase"], "progressing")
            self.prometheus.process.kill()
            eventually(lambda: "refused" in self.shown("silent")["reason"], "it says that nobody is there")
            self.assertEqual(self.shown("silent")["phase"], "progressing")


if __name__ == "__main__":
    unittest.main()
