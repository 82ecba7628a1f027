"""What sidecars saw of requests to a model reaches the control plane that asks for it: real sidecars, a
real glia-control behind its front door, and a small engine."""

import json
import pathlib
import re
import unittest

import harness
import meshes
from harness import Scene, eventually
from model_server import ModelServer

REPORT_CONTROL = harness.BIN / "test" / "e2e" / "report_control"
ENGINE = "outbound:80:engine.default"
OTHER = "outbound:80:other.default"


class ReportControl(meshes.ControlPlane):
    """A control plane that wants to hear of clusters and tells what it has heard."""

    def __init__(self, directory, mesh_file, *clusters):
        self.state = pathlib.Path(directory, "state")
        self.state.mkdir(exist_ok=True)
        harness.Program.__init__(self, "report-control", [
            REPORT_CONTROL, mesh_file.path, self.state / "control", *clusters], directory)

        def serving():
            self.check_alive()
            return re.search(r"serving 127\.0\.0\.1:(\d+)", self.text())
        self.port = int(eventually(serving, "report_control serves")[1])

    def seen(self, cluster):
        """What was last told of a cluster."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return ([line for line in lines if line["cluster"] == cluster] or [{}])[-1]


class Reports(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        network = meshes.free_network()
        cls.front, cls.engine = f"{network}.1", f"{network}.2"
        cls.server = cls.enterClassContext(ModelServer("engine"))
        cls.file = meshes.MeshFile(cls.directory, [
            meshes.mesh(), meshes.workload("front", cls.front),
            meshes.workload("engine", cls.engine, cls.server.port), meshes.service("engine"),
            meshes.service("other", app="engine")])
        cls.control = cls.enterClassContext(
            ReportControl(cls.directory, cls.file, ENGINE, "outbound:80:nowhere.default"))
        cls.sidecars = [cls.enterClassContext(
            meshes.Sidecar(cls.directory, cls.control, f"default/{name}", address))
            for name, address in (("front", cls.front), ("engine", cls.engine))]

    def chat(self, service="engine"):
        return meshes.ask(self.front, service, "/v1/chat/completions", method="POST",
                          headers={"content-type": "application/json"},
                          body=json.dumps({"model": "m", "stream": True, "messages": []}))

    def test_an_order_arrives_and_the_counts_add_up(self):
        # Both hold the cluster, so both are asked, and say so although nothing was sent.
        eventually(lambda: self.control.seen(ENGINE).get("sidecars") == 2, "both sidecars report")
        self.assertEqual(meshes.metric(self.front, "glia_reported_clusters"), 1)
        before = self.control.seen(ENGINE)
        for _ in range(20):
            self.assertEqual(self.chat().status, 200)
        self.chat("other")  # Nobody asks for that one.
        seen = eventually(lambda: (now := self.control.seen(ENGINE))
                          and now["requests"] == before["requests"] + 20 and now, "20 requests")
        self.assertEqual((seen["errors"], seen["disbelieved"], seen["late"]), (0, 0, 0))
        self.assertEqual(seen["latencies"], seen["requests"])
        self.assertEqual(seen["first_tokens"], seen["requests"])
        self.assertEqual(seen["output_tokens"], 2 * seen["requests"])  # "hel", "lo"

    def test_when_a_sidecar_ends_it_is_not_waited_for(self):
        eventually(lambda: self.control.seen(ENGINE).get("sidecars") == 2, "both sidecars report")
        self.sidecars[1].terminate()
        self.sidecars[1].ended()
        before = self.control.seen(ENGINE)["requests"]
        self.assertIn(self.chat().status, (502, 503, 504))
        seen = eventually(lambda: (now := self.control.seen(ENGINE))
                          and now["requests"] > before and now, "the failed request")
        self.assertGreater(seen["errors"], 0)
        self.assertEqual(seen["late"], 0)


if __name__ == "__main__":
    unittest.main()
