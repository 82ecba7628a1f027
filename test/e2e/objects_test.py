"""glia apply, get, delete, history and rollback against a running glia-control."""

import json
import subprocess
import threading
import unittest

import meshes
from harness import GLIA, WITHIN_S, Scene
from meshes import ControlPlane, MeshFile, mesh, service, workload

ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{group: '', kind: Service, name: app}}]
  rules: [{{backendRefs: [{{name: app, port: 80, weight: {weight}}}]}}]
"""


def route(name="r", weight=1):
    return ROUTE.format(name=name, weight=weight)


class Objects(Scene):
    def setUp(self):
        self.home = self.directory / self._testMethodName
        self.home.mkdir()
        self.file = MeshFile(self.home, [mesh(), workload("app", "127.9.9.9", 18080),
                                         service("app")])
        self.start()

    def start(self, port=0):
        self.control = self.enterContext(ControlPlane(self.home, self.file, port))

    def glia(self, *words, text=None):
        return subprocess.run([GLIA, *words, "--state-dir", self.control.state], input=text,
                              capture_output=True, text=True, timeout=WITHIN_S)

    def done(self, *words, text=None):
        ran = self.glia(*words, text=text)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout

    def kept(self):
        return {f"{one['kind']} {one['name']}": one["resourceVersion"]
                for one in json.loads(self.done("get", "-o", "json")) if one["resourceVersion"]}

    def test_files_directories_and_standard_input_are_applied(self):
        (self.home / "shop").mkdir()
        (self.home / "shop" / "a.yaml").write_text(route("a"))
        (self.home / "one.yaml").write_text(f"# one\n---\n{route('b')}")
        said = self.done("apply", "-f", self.home / "shop", "-f", self.home / "one.yaml")
        self.assertEqual(said, "HTTPRoute default/a created\nHTTPRoute default/b created\n"
                               "version 1\n")
        self.done("apply", "-f", "-", text=route("c"))
        self.assertEqual(self.kept(), {"HTTPRoute default/a": 1, "HTTPRoute default/b": 1,
                                       "HTTPRoute default/c": 2})
        listed = self.done("get")
        self.assertRegex(listed, r"HTTPRoute +default/b +1 +.*one.yaml:3\n")
        self.assertRegex(listed, r"Service +default/app +- +.*mesh.yaml:\d+\n")
        routes = {row["name"] for row in self.control.status()["routes"]}
        self.assertEqual(routes, {"default/a", "default/b", "default/c"})

    def test_every_mistake_is_told_and_nothing_taken(self):
        wrong = self.home / "wrong.yaml"
        wrong.write_text(route("a") + "---\n" + route("b", "heavy") + "---\nkind: Rout\n")
        ran = self.glia("apply", "-f", wrong)
        self.assertEqual(ran.returncode, 1)
        self.assertRegex(ran.stderr, r"wrong.yaml:13:\d+: HTTPRoute b: .*weight")
        self.assertRegex(ran.stderr, r"wrong.yaml:15:\d+: kind Rout is not known")
        self.assertEqual(self.kept(), {})

    def test_who_was_slower_is_told(self):
        self.done("apply", "-f", "-", text=route(weight=1))
        mine = self.done("get", "HTTPRoute", "r", "-o", "yaml")
        self.assertIn("# resourceVersion: 1\n", mine)
        self.done("apply", "-f", "-", text=mine.replace("weight: 1", "weight: 2"))
        late = self.glia("apply", "-f", "-", text=mine.replace("weight: 1", "weight: 3"))
        self.assertEqual(late.returncode, 1)
        self.assertIn("was edited at version 1, but is at version 2 now", late.stderr)
        self.assertIn("(409)", late.stderr)
        fresh = self.done("get", "httproute", "default/r", "-o", "yaml")
        self.assertEqual(fresh.count("# resourceVersion"), 1)
        self.done("apply", "-f", "-", text=fresh.replace("weight: 2", "weight: 3"))

    def test_history_and_the_way_back(self):
        for weight in (1, 2):
            self.done("apply", "-f", "-", text=route(weight=weight))
        self.done("delete", "HTTPRoute", "r")
        self.assertEqual(self.done("rollback").splitlines()[0], "HTTPRoute default/r created")
        self.assertIn("weight: 2", self.done("get", "HTTPRoute", "r", "-o", "yaml"))
        self.done("rollback", "1")
        self.assertIn("weight: 1", self.done("get", "HTTPRoute", "r", "-o", "yaml"))
        history = json.loads(self.done("history", "-o", "json"))
        self.assertEqual([version["version"] for version in history], [5, 4, 3, 2, 1])
        self.assertEqual(history[0]["what"], "rolled back to version 1")
        self.assertEqual(history[2]["changes"],
                         [{"kind": "HTTPRoute", "name": "default/r", "verb": "deleted"}])
        self.assertIn("@", history[4]["who"])
        self.assertEqual(self.glia("rollback", "9").returncode, 1)

    def test_what_was_acknowledged_survives_a_kill_in_the_middle(self):
        acknowledged = 0
        for _ in range(4):
            ending = threading.Event()

            def apply_on_and_on():
                nonlocal acknowledged
                while not ending.is_set():
                    ran = self.glia("apply", "-f", "-", text="---\n".join(
                        route(name, acknowledged + 1) for name in ("a", "b")))
                    if ran.returncode != 0:
                        return
                    acknowledged += 1
            applying = threading.Thread(target=apply_on_and_on)
            before = acknowledged
            applying.start()
            meshes.harness.eventually(lambda: acknowledged >= before + 3, "three were taken")
            self.control.process.kill()
            ending.set()
            applying.join()
            self.control.process.wait()
            self.start()
            kept = self.kept()
            self.assertEqual(kept["HTTPRoute default/a"], kept["HTTPRoute default/b"])
            self.assertGreaterEqual(kept["HTTPRoute default/a"], acknowledged)
            acknowledged = kept["HTTPRoute default/a"]
            self.assertEqual(len(self.control.status()["routes"]), 2)


if __name__ == "__main__":
    unittest.main()
