"""A Canary under `glia run`: what callers get of both versions, and what a person's word changes."""

import collections
import http.client
import json
import subprocess
import sys
import unittest

import meshes
from harness import GLIA, WITHIN_S, Scene, eventually
from mesh_run_test import APPLICATION, SmallMesh
from meshes import ask, mesh, service, settled, workload

STREAM_BYTES = 64 << 20  # Far more than all buffers between the application and its caller.


class CanaryMesh(SmallMesh):
    """client calls app, whose version v2 is the candidate of a Canary."""

    def objects(self, *_):
        return [
            mesh(), workload("client", self.at["client"]),
            *(workload(f"app-{version}", self.at[f"app-{version}"], port, version, "app",
                       command=[sys.executable, str(APPLICATION), f"app-{version}", str(port)])
              for version, port in self.ports.items()),
            service("app"),
            {"apiVersion": "glia.dev/v1", "kind": "Canary", "metadata": {"name": "app"},
             "spec": {"targetRef": {"name": "app"}, "candidate": {"labels": {"version": "v2"}},
                      "header": {"name": "x-version", "value": "v2"},
                      # More than this test sends: it goes on by a person's word alone.
                      "analysis": {"minimumRequests": 1_000_000}}}]

    def canary(self, *words):
        """What `glia canary` answers: exit code and text."""
        ran = subprocess.run([GLIA, "canary", *words, "--state-dir", self.state],
                             capture_output=True, text=True, timeout=WITHIN_S)
        return ran.returncode, ran.stdout + ran.stderr

    def shown(self):
        _, text = self.canary("show", "app", "-o", "json")
        return json.loads(text)


class Canary(Scene):
    def setUp(self):
        self.mesh = CanaryMesh(self.directory)
        running = self.mesh.run()
        self.addCleanup(self.mesh.end, running)
        eventually(lambda: settled(self.mesh.status(), "client", "app-v1", "app-v2"),
                   "the sidecars have what they need")

    def ask(self, **options):
        answer = ask(self.mesh.at["client"], "app", **options)
        self.assertEqual(answer.status, 200, answer)
        return answer.headers["x-origin"]

    def shares(self, requests):
        return collections.Counter(self.ask() for _ in range(requests))

    def test_a_persons_word_reaches_every_caller_and_cuts_no_stream(self):
        self.assertEqual(self.mesh.shown()["phase"], "progressing")
        self.assert_share(self.shares(600), "app-v2", 0.1)
        chosen = {"headers": {"x-version": "v2"}}
        self.assertEqual({self.ask(**chosen) for _ in range(20)}, {"app-v2"})

        connection = http.client.HTTPConnection(self.mesh.at["client"], meshes.OUTBOUND_PORT,
                                                timeout=WITHIN_S)
        self.addCleanup(connection.close)
        connection.request("GET", f"/bytes/{STREAM_BYTES}",
                           headers={"Host": "app", "x-version": "v2"})
        stream = connection.getresponse()
        received = len(stream.read(1000))

        code, text = self.mesh.canary("abort", "app")
        self.assertEqual(code, 0, text)
        self.assertIn("rolled back: 0 % of the requests go to the candidate", text)
        eventually(lambda: self.ask(**chosen) == "app-v1", "the candidate gets nothing more")
        self.assertEqual(set(self.shares(100)), {"app-v1"})
        self.assertEqual(received + len(stream.read()), STREAM_BYTES, "the stream was cut")
        self.assertEqual(self.mesh.canary("show", "app")[0], 1, "exit code of one taken back")

        self.assertEqual(self.mesh.canary("promote", "app")[0], 0)
        eventually(lambda: set(self.shares(20)) == {"app-v2"}, "it gets everything")
        code, text = self.mesh.canary("pause", "app")
        self.assertEqual((code, text), (1, "glia canary: canary default/app is promoted, so there "
                                           "is nothing to pause\n"))


if __name__ == "__main__":
    unittest.main()
