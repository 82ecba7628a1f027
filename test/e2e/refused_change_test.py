"""A change that a real sidecar refuses, because its machine cannot do it: it is in force nowhere, everybody
reads the sidecar's own sentence, and what mends it goes through."""

import socket
import subprocess
import unittest

from harness import GLIA, WITHIN_S, Scene, eventually
from meshes import (PORT, ControlPlane, MeshFile, Sidecar, ask, free_network, mesh, service, settled,
                    workload)
from origins import HttpOrigin

MORE = PORT + 1


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

    def objects(self, *ports):
        """`app` also listens on these ports, each of which is a Service of its own."""
        app = workload("app", self.at["app"], self.origin.port)
        services = []
        for port in ports:
            app["spec"]["ports"].append({"name": f"p{port}", "port": port, "protocol": "HTTP",
                                         "appPort": self.origin.port})
            one = service(f"more-{port}", app="app")
            one["spec"]["ports"][0]["targetPort"] = f"p{port}"
            services.append(one)
        return [mesh(), workload("web", self.at["web"]), app, service("app"), *services]

    def glia(self, *words, text=None):
        return subprocess.run([GLIA, *words, "--state-dir", self.control.state], input=text,
                              capture_output=True, text=True, timeout=WITHIN_S)

    def test_it_is_in_force_nowhere_and_shown_with_the_sidecars_sentence(self):
        before = self.glia("status", "-o", "json")
        self.assertEqual(before.returncode, 0, before.stderr)
        with socket.socket() as taken:
            taken.bind((self.at["app"], MORE))
            taken.listen()
            self.file.save(self.objects(MORE))

            def said():
                shown = self.glia("status")
                return "NOT IN FORCE" in shown.stdout and shown
            shown = eventually(said, "the refusal is shown")
        self.assertEqual(shown.returncode, 1)
        self.assertRegex(shown.stdout, r"NOT IN FORCE  .*mesh.yaml: taken back, the sidecar of "
                         r"default/app refuses listeners .*cannot listen on .*:"
                         rf"{MORE}: Address already in use")
        self.assertRegex(self.control.text(), r"error configuration \w+ is taken back")
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        self.assertEqual(ask(self.at["web"], f"more-{MORE}").status, 404, "web gave it back")

        self.file.save(self.objects(MORE + 1))
        eventually(lambda: ask(self.at["web"], f"more-{MORE + 1}").status == 200, "another port goes")
        self.assertNotIn("NOT IN FORCE", self.glia("status").stdout)


if __name__ == "__main__":
    unittest.main()
