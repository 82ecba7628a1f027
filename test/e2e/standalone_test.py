"""`glia-proxy --mesh`: sidecars of one mesh file without a control plane."""

import contextlib
import http.client
import http.server
import os
import pathlib
import random
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("GLIA_BIN", ROOT / "bazel-bin"))
GLIA_PROXY = BIN / "proxy" / "server" / "glia-proxy"
WITHIN_S = 20  # How long anything may take to happen; far more than it does on a quiet machine.

MESH = """
apiVersion: glia.dev/v1
kind: Mesh
metadata: {{name: alone}}
spec: {{trustDomain: alone.mesh, certificateLifetime: 1h}}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {{name: front, labels: {{app: front}}}}
spec:
  address: {front}
  ports: [{{name: http, port: {front_port}, appPort: {front_app}}}]
  outbound: {{port: {outbound}}}
  admin: {{port: {admin}}}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {{name: reco, labels: {{app: reco}}}}
spec:
  address: {reco}
  ports:
  - {{name: one, port: {one}, protocol: HTTP, appPort: {app_one}}}
  - {{name: two, port: {two}, protocol: HTTP, appPort: {app_two}}}
  outbound: {{port: {outbound}}}
  admin: {{port: {admin}}}
---
apiVersion: v1
kind: Service
metadata: {{name: reco}}
spec:
  selector: {{app: reco}}
  ports:
  - {{name: one, port: 80, targetPort: one, appProtocol: http}}
  - {{name: two, port: 81, targetPort: two, appProtocol: http}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: reco}}
spec:
  parentRefs: [{{group: "", kind: Service, name: reco, port: 80}}]
  rules:
  - backendRefs:
    - {{name: reco, port: 80, weight: {weight_one}}}
    - {{name: reco, port: 81, weight: {weight_two}}}
---
apiVersion: glia.dev/v1
kind: AuthorizationPolicy
metadata: {{name: callers}}
spec:
  selector: {{app: reco}}
  rules:
  - from: [{{identities: ["{caller}"]}}]
"""


def eventually(look, what):
    """Calls look() until its answer is true, and returns that answer."""
    pause = threading.Event()
    end = time.monotonic() + WITHIN_S
    while not (answer := look()):
        if time.monotonic() > end:
            raise AssertionError(f"not seen within {WITHIN_S} s: {what}")
        pause.wait(0.005)  # Only how often we look.
    return answer


def free_port(host):
    with socket.create_server((host, 0)) as server:
        return server.getsockname()[1]


def get(host, port, name):
    """Status and text of one request for `name`; (0, "") if nobody answers as HTTP does."""
    connection = http.client.HTTPConnection(host, port, timeout=WITHIN_S)
    try:
        connection.request("GET", "/", headers={"Host": name})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


@contextlib.contextmanager
def application(name):
    """Answers with its name and with who the sidecar says is calling. Gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = f"{name} {self.headers.get('x-forwarded-client-cert', '-')}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Standalone(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.file = pathlib.Path(self.directory, "mesh.yaml")
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        # Addresses of our own, so that ports that are free stay free.
        block = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"
        front, reco = f"{block}.1", f"{block}.2"
        self.names = {"front": front, "reco": reco, "outbound": free_port(front),
                      "front_port": free_port(front),
                      "front_app": free_port("127.0.0.1"), "admin": free_port(front),
                      "one": free_port(reco), "two": free_port(reco),
                      "app_one": self.stack.enter_context(application("one")),
                      "app_two": self.stack.enter_context(application("two"))}

    def write(self, weights=(1, 0), caller="front", wrong=""):
        text = MESH.format(weight_one=weights[0], weight_two=weights[1], caller=caller,
                           **self.names)
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text + wrong)
        fresh.rename(self.file)

    def start(self, workload, *flags):
        log = open(pathlib.Path(self.directory, f"{workload}.log"), "ab")
        self.stack.callback(log.close)
        process = subprocess.Popen(
            [GLIA_PROXY, "--mesh", self.file, "--workload", workload, "--concurrency", "1", *flags],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def log(self, workload):
        return pathlib.Path(self.directory, f"{workload}.log").read_text()

    def call(self):
        return get(self.names["front"], self.names["outbound"], "reco")

    def mesh(self, *flags):
        """Both sidecars, serving."""
        self.write()
        sidecars = [self.start(workload, *flags) for workload in ("front", "reco")]

        def answers():
            self.assertEqual([sidecar.poll() for sidecar in sidecars], [None, None])
            return self.call()[0] == 200

        try:
            eventually(answers, "an answer through both sidecars")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.call()}\n{self.log('front')}\n"
                                 f"{self.log('reco')}") from None

    def test_sidecars_that_share_an_authority_know_each_other(self):
        ca = pathlib.Path(self.directory, "ca")
        self.mesh("--ca-dir", ca)
        self.assertEqual(stat.S_IMODE((ca / "ca-key.pem").stat().st_mode), 0o600)
        self.assertRegex(self.call()[1], "^one .*;URI=spiffe://alone.mesh/ns/default/sa/front$")
        self.assertEqual(get(self.names["reco"], self.names["one"], "reco"), (0, ""),
                         "clear text must get no answer at the inbound listener")
        self.write(caller="somebody-else")
        eventually(lambda: self.call()[0] == 403, "the policy refuses front")
        self.assertIn("default/callers", self.call()[1])

    def test_an_edit_is_in_force_without_a_failed_request(self):
        self.mesh("--ca-dir", pathlib.Path(self.directory, "ca"))
        self.write(weights=(0, 1))
        seen = []

        def both():
            seen.append(self.call())
            return seen[-1][1].startswith("two")

        eventually(both, "the second application answers")
        self.assertEqual({status for status, _ in seen}, {200})

    def test_a_bad_edit_changes_nothing_and_names_its_line(self):
        self.mesh("--ca-dir", pathlib.Path(self.directory, "ca"))
        self.write(weights=(0, 1), wrong="---\napiVersion: v1\nkind: Service\nmetadata: {nam: x}\n")
        line = len(self.file.read_text().splitlines())
        for workload in ("front", "reco"):
            eventually(lambda: f"mesh.yaml:{line}:" in self.log(workload),
                       f"{workload} names the line")
            self.assertIn("is not in force", self.log(workload))
        self.assertEqual({self.call()[1].split()[0] for _ in range(20)}, {"one"})
        self.write(weights=(0, 1))
        eventually(lambda: self.call()[1].startswith("two"), "the mended edit is in force")

    def test_another_trust_domain_is_refused_while_it_runs(self):
        self.mesh("--ca-dir", pathlib.Path(self.directory, "ca"))
        text = self.file.read_text()
        self.file.write_text(text.replace("alone.mesh", "other.mesh"))
        eventually(lambda: "set spec.trustDomain back" in self.log("front"), "the refusal")
        self.assertEqual(self.call()[0], 200)

    def test_without_an_authority_traffic_is_in_clear_text_and_that_is_said(self):
        self.write()
        self.file.write_text(self.file.read_text().split("---\napiVersion: glia.dev/v1\n"
                                                         "kind: AuthorizationPolicy")[0])
        self.start("front")
        self.start("reco")
        eventually(lambda: self.call() == (200, "one -"), "an answer through both sidecars")
        self.assertEqual(get(self.names["reco"], self.names["one"], "reco"), (200, "one -"))
        self.assertIn("no --ca-dir", self.log("front"))

    def test_a_mesh_that_cannot_be_used_ends_the_proxy_with_the_reason(self):
        self.write(wrong="---\nkind: Nonsense\n")
        self.assertEqual(self.start("front").wait(WITHIN_S), 1)
        self.assertIn("mesh.yaml:", self.log("front"))
        self.write()
        self.assertEqual(self.start("absent").wait(WITHIN_S), 1)
        self.assertIn("no Workload default/absent; it has default/front default/reco",
                      self.log("absent"))

    def test_an_address_in_use_ends_the_proxy_with_the_reason(self):
        self.write()
        with socket.create_server((self.names["front"], self.names["outbound"])):
            self.assertEqual(self.start("front").wait(WITHIN_S), 1)
        self.assertIn(str(self.names["outbound"]), self.log("front"))

    def test_validate_reads_the_mesh_and_listens_nowhere(self):
        self.write()
        command = [GLIA_PROXY, "--mode", "validate", "--mesh", self.file, "--workload", "front"]
        good = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual((good.returncode, good.stdout), (0, f"{self.file}: OK\n"), good.stderr)
        self.write(wrong="---\nkind: Nonsense\n")
        bad = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(bad.returncode, 1)
        self.assertIn("mesh.yaml:", bad.stderr)


if __name__ == "__main__":
    unittest.main()
