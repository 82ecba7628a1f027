"""What a real Kubernetes API server makes of our definitions and our role, and what ten thousand endpoints cost."""

import base64
import re
import time
import unittest

import yaml

import kube
from harness import GLIA_PROXY, Program, eventually, free_port

ENDPOINTS, SLICE = 10_000, 100


def examples(group):
    """The objects of docs/mesh-objects.md whose apiVersion begins so."""
    page = (kube.ROOT / "docs" / "mesh-objects.md").read_text()
    for text in re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S):
        # A boolean to this reader, which is one of YAML 1.1.
        one = yaml.safe_load(re.sub(r"\bon:", '"on":', text))
        if one["apiVersion"].startswith(group):
            yield one


class Definitions(kube.KubernetesScene):
    def test_they_take_our_examples_and_refuse_what_is_no_field(self):
        taken = 0
        for one in examples("glia.dev/"):
            self.cluster.create([one])
            taken += 1
            one["metadata"]["name"] += "-2"
            one["spec"]["nonsense"] = 1
            status, answer = self.cluster.create([one], check=False)
            self.assertEqual(status, 400, answer)
            self.assertIn('unknown field "spec.nonsense"', answer["message"])
        self.assertEqual(taken, 6)

    def test_a_wrong_value_is_refused_by_the_api_server_itself(self):
        status, answer = self.cluster.create("""
apiVersion: glia.dev/v1
kind: Mesh
metadata: {name: wrong}
spec: {defaultAuthorization: Maybe}
""", check=False)
        self.assertEqual(status, 422, answer)
        self.assertIn("supported values", answer["message"])


class Many(kube.KubernetesScene):
    def test_ten_thousand_endpoints(self):
        port = 8080
        self.cluster.create([{
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": f"big-{i}"},
            "spec": {"ports": [{"name": "http", "port": 80}]}} for i in range(10)])
        numbers = iter(range(ENDPOINTS))
        for i in range(ENDPOINTS // SLICE):
            addresses = [f"10.{(n := next(numbers)) >> 16}.{n >> 8 & 255}.{n & 255}"
                         for _ in range(SLICE)]
            if i == 0:
                addresses[0] = "10.9.9.9"  # 10.0.0.0 is no host's.
            self.cluster.create([kube.endpoint_slice(f"big-{i}", f"big-{i % 10}", addresses, port)])
        start = time.monotonic()
        self.control = self.enterContext(kube.Control(self.directory, self.cluster))
        print(f"{ENDPOINTS} endpoints read and in force: {time.monotonic() - start:.2f} s, "
              f"{self.control.memory() / 1e6:.0f} MB")
        self.sees(f"{ENDPOINTS // SLICE} EndpointSlice")
        self.assertLess(self.control.memory(), 400e6)
        times = []
        for i in range(20):
            before = self.control.in_force()
            start = time.monotonic()
            self.cluster.replace(kube.endpoint_slice(
                f"big-{i}", f"big-{i % 10}", [f"10.200.{i}.{j + 1}" for j in range(SLICE)], port))
            eventually(lambda before=before: self.control.in_force() > before, "a change is in force")
            times.append(time.monotonic() - start)
        print(f"a changed slice among {ENDPOINTS} endpoints, until it is in force: median "
              f"{sorted(times)[len(times) // 2] * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms")
        self.assertLess(sorted(times)[len(times) // 2], 2)


class Rights(kube.KubernetesScene):
    """After all that a control plane does, the account has used every right that it has, and needed no other."""

    def test_the_role_is_enough_and_no_more(self):
        # One of each kind, so that each has a status.
        self.cluster.create(list(examples("glia.dev/")))
        self.cluster.create([{
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "one"},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "classify"}],
                     "rules": [{"backendRefs": [{"name": "classify", "port": 80}]}]}}
            for kind in ("HTTPRoute", "GRPCRoute")])
        port = free_port()
        self.control = self.enterContext(kube.Control(
            self.directory, self.cluster, "glia-control", "--inject-listen", f"127.0.0.1:{port}"))
        self.cluster.create((self.control.state / "inject-webhook.yaml").read_text().replace(
            "caBundle: ", "# caBundle: "))
        self.cluster.create("""
apiVersion: v1
kind: ServiceAccount
metadata: {name: one}
---
apiVersion: v1
kind: Pod
metadata: {name: one, annotations: {glia.dev/injected: native, glia.dev/capture: none}}
spec: {serviceAccountName: one, containers: [{name: app, image: app}]}
""")
        pod = self.cluster.patch("Pod", "default", "one", {"status": {
            "phase": "Running", "podIP": "127.0.7.7", "podIPs": [{"ip": "127.0.7.7"}]}}, "status")
        self.sees("2 Workload")
        token = self.directory / "token"
        token.write_text(self.cluster.token("default", "one", "glia", pod))
        bundle = self.authority()
        self.enterContext(Program("sidecar", [
            GLIA_PROXY, "--control",
            self.control.address, "--workload", "default/one", "--token-file", token, "--state-dir",
            self.directory / "sidecar", "--trust-bundle", bundle], self.directory))
        eventually(lambda: "default/one joins by the token of its service account" in self.control.text(),
                   "the sidecar joins")
        rules = [one for document in yaml.safe_load_all((kube.ROOT / "deploy" / "rbac.yaml").read_text())
                 for one in document.get("rules", [])]
        granted = {(verb, group, resource) for rule in rules for verb in rule["verbs"]
                   for group in rule["apiGroups"] for resource in rule["resources"]}
        eventually(lambda: granted <= self.cluster.used(),
                   lambda: f"every right is used; not: {granted - self.cluster.used()}")
        self.assertEqual(self.cluster.refused(), set())

    def authority(self):
        written = yaml.safe_load((self.control.state / "inject-webhook.yaml").read_text())
        return base64.b64decode(written["webhooks"][0]["clientConfig"]["caBundle"]).decode()


if __name__ == "__main__":
    unittest.main()
