"""glia apply, get, delete, history and rollback against a running glia-control."""

import http.client
import json
import socket
import subprocess
import threading
import unittest

import yaml

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

    def http(self, method, path, body=None, **headers):
        """(status, what the JSON says) over http.sock, as curl --unix-socket asks."""
        connection = http.client.HTTPConnection("glia")
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.connect(str(self.control.state / "control" / "http.sock"))
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            self.assertEqual(answer.headers["content-type"], "application/json")
            return answer.status, json.loads(answer.read())

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

    def test_the_same_over_http(self):
        where = "/v1/HTTPRoute/default/r"
        self.assertEqual(self.http("GET", where),
                         (404, {"error": "there is no HTTPRoute default/r"}))
        status, made = self.http("PUT", where, route(weight=1))
        self.assertEqual((status, made["verdict"], made["version"]), (200, "taken", 1))
        self.assertEqual(made["changes"], [{"kind": "HTTPRoute", "name": "default/r",
                                            "verb": "created", "resourceVersion": 1}])
        self.assertIn("weight: 1", self.http("GET", where)[1]["text"])
        self.assertIn("weight: 1", self.done("get", "HTTPRoute", "r", "-o", "yaml"))
        as_json = json.dumps(yaml.safe_load(route(weight=2)))
        self.assertEqual(self.http("PUT", where, as_json, **{"if-match": '"1"'})[0], 200)
        status, late = self.http("PUT", where + "?resourceVersion=1", route(weight=3))
        self.assertEqual((status, late["verdict"]), (409, "conflict"))
        self.assertIn("was edited at version 1, but is at version 2 now", late["problems"][0])
        self.assertEqual(self.http("DELETE", where + "?resourceVersion=1")[0], 409)
        self.assertEqual({one["name"] for one in self.http("GET", "/v1/Service/default")[1]},
                         {"default/app"})
        self.assertEqual(self.http("PUT", where + "?dryRun=true", route(weight=9))[0], 200)
        self.assertEqual(self.http("DELETE", where)[0], 200)
        # What a rollback does not know is refused, not passed over.
        for asked, headers in (("?dryRun=true", {}), ("?version=2&dryRun=true", {}),
                               ("?resourceVersion=3", {}), ("?version=2", {"if-match": "3"})):
            status, said = self.http("POST", "/v1/rollback" + asked, **headers)
            self.assertEqual(status, 400)
            self.assertIn("a rollback takes version=N alone", said["error"])
        self.assertEqual(self.http("POST", "/v1/rollback?version=2")[1]["version"], 4)
        both = route("a") + "---\n" + route("b")
        self.assertEqual(len(self.http("POST", "/v1/apply", both)[1]["changes"]), 2)
        self.assertEqual(self.http("GET", "/v1/history")[1][0]["who"], "HTTP")
        self.assertEqual(self.kept(), {"HTTPRoute default/r": 4, "HTTPRoute default/a": 5,
                                       "HTTPRoute default/b": 5})

    def test_what_is_wrong_over_http_is_said(self):
        status, wrong = self.http("POST", "/v1/apply", route("a", "heavy") + "---\nkind: Rout\n")
        self.assertEqual((status, wrong["verdict"]), (422, "mistakes"))
        self.assertRegex("\n".join(wrong["problems"]), r"body:6:\d+: HTTPRoute a: .*weight")
        self.assertRegex("\n".join(wrong["problems"]), r"body:8:\d+: kind Rout is not known")
        status, other = self.http("PUT", "/v1/HTTPRoute/default/r", route("b"))
        self.assertEqual(status, 422)
        self.assertIn("body:1: this is HTTPRoute default/b, and not HTTPRoute default/r",
                      other["problems"])
        for method, path, status in (("GET", "/", 404), ("PATCH", "/v1/Service/default/app", 405),
                                     ("PUT", "/v1/Service", 405), ("GET", "/v1?nonsense=1", 400),
                                     ("DELETE", "/v1/Service/default/x?resourceVersion=a", 400),
                                     ("DELETE", "/v1/Service/default/x?version=1", 400)):
            with self.subTest(method=method, path=path):
                got, said = self.http(method, path, "x" if method == "PUT" else None)
                self.assertEqual(got, status, said)
        self.assertEqual(self.http("POST", "/v1/apply", "#" * (2 << 20) + "#")[0], 413)
        socket_file = self.control.state / "control" / "http.sock"
        self.assertEqual(socket_file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.kept(), {})

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
