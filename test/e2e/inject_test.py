"""Sidecars for pods: `glia inject`, and the webhook of glia-control over HTTPS as an API server calls it."""

import base64
import copy
import http.client
import json
import pathlib
import re
import socket
import ssl
import subprocess
import unittest

import yaml

from bootstrap import bootstrap, cluster, listener, to
from harness import GLIA, GLIA_CONTROL, GLIA_PROXY, Program, Proxy, Scene, eventually, fetch
from small_server import Answering, SmallServer

MESH = """
apiVersion: glia.dev/v1
kind: Mesh
metadata: {name: pods}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: one}
spec:
  address: 127.0.1.7
  ports: [{name: web, port: 8000, appPort: 18000}]
"""
DEPLOYMENT = """# mine
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web # the shop
spec:
  template:
    spec:
      containers:
      - name: web
        image: web:1
"""
POD = {"metadata": {"name": "a", "annotations": {"a/b~c": "1"}},
       "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
SERVICE = "glia-control.glia-system.svc"


def glia_inject(text, *flags):
    return subprocess.run([GLIA, "inject", "-f", "-", *flags], input=text, text=True,
                          capture_output=True, timeout=60)


def patched(document, patch):
    """RFC 6902, as far as `add`, `remove` and `replace` go."""
    document = copy.deepcopy(document)
    for operation in patch:
        *way, last = [part.replace("~1", "/").replace("~0", "~")
                      for part in operation["path"].split("/")[1:]]
        at = document
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if isinstance(at, list):
            if operation["op"] == "add":
                at.insert(len(at) if last == "-" else int(last), operation["value"])
            elif operation["op"] == "remove":
                del at[int(last)]
            else:
                at[int(last)] = operation["value"]
        elif operation["op"] == "remove":
            del at[last]
        else:
            at[last] = operation["value"]
    return document


class Inject(Scene):
    def test_a_manifest_goes_in_and_out(self):
        made = glia_inject(DEPLOYMENT)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(made.stderr, "glia inject: Deployment web: injected: asked for by hand\n")
        for line in DEPLOYMENT.splitlines():
            self.assertIn(line, made.stdout.splitlines())
        pod = yaml.safe_load(made.stdout)["spec"]["template"]["spec"]
        self.assertEqual([one["name"] for one in pod["initContainers"]], ["glia-init", "glia-proxy"])
        self.assertEqual(pod["initContainers"][1]["restartPolicy"], "Always")
        self.assertEqual(glia_inject(made.stdout).stdout, made.stdout)
        self.assertEqual(glia_inject(made.stdout, "--uninject").stdout, DEPLOYMENT)
        classic = yaml.safe_load(glia_inject(DEPLOYMENT, "--classic", "--image", "x:1").stdout)
        names = [one["name"] for one in classic["spec"]["template"]["spec"]["containers"]]
        self.assertEqual(names, ["web", "glia-proxy"])

    def test_what_cannot_be_writes_nothing(self):
        refused = glia_inject(DEPLOYMENT.replace("    spec:\n", "    spec:\n"
                                                 "      securityContext: {runAsUser: 1337}\n"))
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("container web runs as user 1337, which is the sidecar's", refused.stderr)
        broken = glia_inject("kind: Pod\n---\na: [\n")
        self.assertEqual(broken.returncode, 1)
        self.assertRegex(broken.stderr, r"glia inject: -: line \d+: not valid YAML")
        missing = subprocess.run([GLIA, "inject", "-f", "/no/such/file"], capture_output=True,
                                 text=True, timeout=60)
        self.assertEqual(missing.returncode, 1)
        self.assertIn("/no/such/file cannot be read", missing.stderr)


class Application(Answering):
    """Is well or not, and says what it was asked."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("x-probe")))
        self.answer(b"as it is", self.server.status, "text/plain")


class Probes(Scene):
    def test_kubelet_asks_the_sidecar_and_that_the_application(self):
        server = self.enterContext(SmallServer(Application, asked=[], status=200))
        port = server.port
        # As `glia inject` writes the command.
        pod = copy.deepcopy(POD)
        pod["spec"]["containers"][0].update(
            readinessProbe={"httpGet": {"path": "/ready?a=$b", "port": port}},
            livenessProbe={"tcpSocket": {"port": port}})
        made = json.loads(glia_inject(json.dumps({"kind": "Pod", **pod})).stdout)["spec"]
        command = made["initContainers"][1]["command"]
        probes = [word.replace("$$", "$") for flag, word in zip(command, command[1:])
                  if flag == "--app-probe"]
        self.assertEqual(len(probes), 2)
        flags = [part for probe in probes for part in ("--app-probe", probe)]
        proxy = self.enterContext(Proxy(
            self.directory, bootstrap([listener("in", [to("app")])], [cluster("app", port)]),
            *flags, "--app-probes-address", "127.0.0.1:0"))
        at = int(re.search(r"answers probes of the application on 127\.0\.0\.1:(\d+)",
                           proxy.text())[1])
        asked = made["containers"][0]["readinessProbe"]["httpGet"]
        self.assertEqual(asked["port"], 15020)
        answer = fetch(at, asked["path"], headers={"x-probe": "1"})
        self.assertEqual((answer.status, answer.text), (200, "as it is"))
        self.assertEqual(server.asked, [("/ready?a=$b", "1")])
        server.status = 500
        self.assertEqual(fetch(at, asked["path"]).status, 500)
        alive = made["containers"][0]["livenessProbe"]["httpGet"]["path"]
        self.assertEqual(fetch(at, alive).status, 200)
        self.assertEqual(fetch(at, "/ready").status, 404)
        server.shutdown()
        server.server_close()
        self.assertEqual(fetch(at, alive).status, 503)

    def test_a_probe_that_cannot_be_read_is_an_error(self):
        ran = subprocess.run([GLIA_PROXY, "--config-yaml", "{}", "--app-probe", "web"],
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("--app-probe web: not NAME=http://:PORT/PATH", ran.stderr)


class Webhook(Scene):
    def setUp(self):
        mesh = self.directory / "mesh.yaml"
        mesh.write_text(MESH)
        state = self.directory / f"state-{self._testMethodName}"
        self.control = self.enterContext(Program(self._testMethodName, [
            GLIA_CONTROL, "--mesh", mesh, "--state-dir", state, "--listen", "127.0.0.1:0",
            "--inject-listen", "127.0.0.1:0"], self.directory))
        found = eventually(lambda: re.search(r"answers reviews of pods on 127\.0\.0\.1:(\d+); for "
                                             r"the cluster: (\S+)", self.text()), "it listens")
        self.port = int(found[1])
        self.configuration = yaml.safe_load(pathlib.Path(found[2]).read_text())
        bundle = self.configuration["webhooks"][0]["clientConfig"]["caBundle"]
        self.authority = base64.b64decode(bundle).decode()

    def text(self):
        self.control.check_alive()
        return self.control.text()

    def connect(self, context=None, **options):
        context = context or ssl.create_default_context(cadata=self.authority)
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.addCleanup(raw.close)
        return context.wrap_socket(raw, server_hostname=options.get("name", SERVICE))

    def post(self, body, path="/inject/namespace?timeout=5s", method="POST"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = self.connect()
        self.addCleanup(connection.close)
        connection.request(method, path, body=body, headers={"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def review(self, pod, path="/inject/namespace"):
        status, body = self.post(json.dumps({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
                        "operation": "CREATE", "namespace": "shop", "object": pod}}), path)
        self.assertEqual(status, 200, body)
        response = json.loads(body)["response"]
        self.assertEqual(response["uid"], "u-1")
        return response

    def test_a_pod_gets_its_sidecar(self):
        response = self.review(POD)
        self.assertTrue(response["allowed"])
        pod = patched(POD, json.loads(base64.b64decode(response["patch"])))
        self.assertEqual([one["name"] for one in pod["spec"]["initContainers"]],
                         ["glia-init", "glia-proxy"])
        self.assertEqual(pod["metadata"]["annotations"],
                         {"a/b~c": "1", "glia.dev/injected": "native"})
        self.assertNotIn("patch", self.review(pod))
        # The same as by hand.
        by_hand = json.loads(glia_inject(json.dumps({"kind": "Pod", **POD})).stdout)
        self.assertEqual(by_hand["spec"], pod["spec"])
        # Where only pods ask.
        self.assertNotIn("patch", self.review(POD, "/inject/pod"))
        asks = copy.deepcopy(POD)
        asks["metadata"]["labels"] = {"glia.dev/inject": "true"}
        self.assertIn("patch", self.review(asks, "/inject/pod"))

    def test_the_configuration_names_it(self):
        self.assertEqual(self.configuration["kind"], "MutatingWebhookConfiguration")
        for webhook in self.configuration["webhooks"]:
            self.assertEqual(webhook["admissionReviewVersions"], ["v1"])
            self.assertEqual(webhook["sideEffects"], "None")
            self.assertEqual(webhook["failurePolicy"], "Fail")
            self.assertLessEqual(webhook["timeoutSeconds"], 5)
            service = webhook["clientConfig"]["service"]
            self.assertEqual((service["name"], service["namespace"]),
                             ("glia-control", "glia-system"))
            never = webhook["namespaceSelector"]["matchExpressions"][1]
            self.assertEqual((never["operator"], never["key"]),
                             ("NotIn", "kubernetes.io/metadata.name"))
            self.assertIn("kube-system", never["values"])
            self.assertIn("glia-system", never["values"])

    def test_who_speaks_wrongly_is_answered_and_others_go_on(self):
        self.assertEqual(self.post(b"{")[0], 400)
        self.assertEqual(self.post(b"", method="GET")[0], 405)
        self.assertEqual(self.post(b"{}", path="/")[0], 404)
        self.assertEqual(self.post(b" " * (3 * 1024 * 1024 + 1))[0], 413)
        # TLS: an old version, another name, another authority, none at all.
        old = ssl.create_default_context(cadata=self.authority)
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        for context, name in ((old, SERVICE), (None, "other.example"),
                              (ssl.create_default_context(), SERVICE)):
            with self.assertRaises((ssl.SSLError, OSError)):
                self.connect(context, name=name)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
            plain.sendall(b"POST /inject/namespace HTTP/1.1\r\nhost: a\r\n\r\n")
            self.assertNotIn(b"HTTP/1.1 200", plain.recv(1000))
        # Who says nothing holds nobody up.
        for _ in range(10):
            self.connect()
        self.assertIn("patch", self.review(POD))


if __name__ == "__main__":
    unittest.main()
