"""A change that a real sidecar refuses, because its machine lacks what it names: it is in force nowhere,
everybody reads the sidecar's own sentence, and what mends it goes through."""

import re
import socket
import subprocess
import unittest

from harness import GLIA, WITHIN_S, Scene, eventually
from meshes import (ControlPlane, MeshFile, Sidecar, ask, free_network, mesh, service, settled,
                    workload)
from origins import HttpOrigin

ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec:
  parentRefs: [{group: '', kind: Service, name: app}]
  rules: [{backendRefs: [{name: app, port: 80}]}]
"""


class RefusedChange(Scene):
    def setUp(self):
        network = free_network()
        self.at = {name: f"{network}.{host}" for host, name in enumerate(("web", "app"), 1)}
        self.origin = self.enterContext(HttpOrigin("app"))
        self.file = MeshFile(self.directory, self.objects())
        self.control = self.enterContext(ControlPlane(self.directory, self.file))
        for name, address in self.at.items():
            self.enterContext(Sidecar(self.directory, self.control, name, address))
        eventually(lambda: settled(self.control.status(), "web", "app"), "all is accepted")

    def objects(self, more=None, password=None):
        """`app` has token budgets in a Redis with that password file; `more` is one more Service."""
        app = workload("app", self.at["app"], self.origin.port)
        if password:
            app["spec"]["tokenBudgets"] = [{"name": "all", "tokens": 1000000, "per": "1h"}]
            app["spec"]["sharedBudgets"] = {"redis": "127.0.0.1:1", "share": "app",
                                            "username": "glia", "passwordFile": str(password)}
        services = [service("app")] + ([service(more, app="app")] if more else [])
        return [mesh(), workload("web", self.at["web"]), app, *services]

    def glia(self, *words, text=None):
        return subprocess.run([GLIA, *words, "--state-dir", self.control.state], input=text,
                              capture_output=True, text=True, timeout=WITHIN_S)

    def test_it_is_in_force_nowhere_and_shown_with_the_sidecars_sentence(self):
        before = self.glia("status")
        self.assertEqual(before.returncode, 0, before.stderr)
        password = self.directory / "password"
        self.file.save(self.objects("more", password))

        def said():
            shown = self.glia("status")
            return "NOT IN FORCE" in shown.stdout and shown
        shown = eventually(said, "the refusal is shown")
        self.assertEqual(shown.returncode, 1)
        self.assertRegex(shown.stdout, r"NOT IN FORCE  .*mesh.yaml: taken back, the sidecar of "
                         rf"default/app refuses listeners \w+: .*the file {password} cannot be read")
        self.assertRegex(self.control.text(), r"error configuration \w+ is taken back")
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        eventually(lambda: ask(self.at["web"], "more").status == 404, "web gives it back")

        applied = self.glia("apply", "-f", "-", text=ROUTE)
        self.assertEqual(applied.returncode, 0, applied.stderr)
        self.assertIn("NOT IN FORCE", self.glia("status").stdout)

        password.write_text("secret")
        self.file.save(self.objects("again", password))
        eventually(lambda: ask(self.at["web"], "again").status == 200, "what mends it is in force")
        eventually(lambda: settled(self.control.status(), "web", "app"), "all is accepted again")
        self.assertEqual(self.glia("status").returncode, 0)

    def test_a_port_that_is_taken_is_a_refusal(self):
        taken = self.enterContext(socket.create_server((self.at["app"], 0)))
        port = taken.getsockname()[1]
        objects = self.objects()
        objects[2]["spec"]["ports"].append({"name": "more", "port": port,
                                            "appPort": self.origin.port})
        self.file.save(objects)
        eventually(lambda: re.search(
            rf"NOT IN FORCE  .*refuses listeners \w+: .*{self.at['app']}:{port}",
            self.glia("status").stdout), "the refusal is shown")
        self.assertEqual(ask(self.at["web"], "app").status, 200)


if __name__ == "__main__":
    unittest.main()
