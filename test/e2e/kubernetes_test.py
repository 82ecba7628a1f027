"""A mesh that is in a Kubernetes cluster, with a real API server: pods get their sidecars by the webhook, join by the
token of their service account, and find each other by what the cluster says.

What kubelet and the controllers of a cluster would do, the tests do: status of pods, and running what a pod's
containers say.
"""

import os
import re
import sys
import time
import unittest

import yaml

import kube
from harness import GLIA_PROXY, Program, eventually, fetch, free_port
from meshes import free_network


class Pods(kube.KubernetesScene):
    """Two applications, whose pods the webhook patches."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        webhook_port = free_port()
        cls.control = cls.enterClassContext(kube.Control(
            cls.directory, cls.cluster, "glia-control", "--inject-listen", f"127.0.0.1:{webhook_port}",
            "--inject-service", "localhost"))
        cls._configure_webhook(webhook_port)
        cls.cluster.create("""
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {glia.dev/injection: enabled}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: seller, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: buyer, namespace: shop}
""")
        network = free_network()
        cls.addresses = (f"{network}.{host}" for host in range(1, 11))

    @classmethod
    def _configure_webhook(cls, port):
        """As glia-control has written it, but for the address: here is no network of Services."""
        written = yaml.safe_load((cls.control.state / "inject-webhook.yaml").read_text())
        for webhook in written["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": f"https://localhost:{port}{path}"}
        cls.cluster.create([written])

        def trusted():
            now = cls.cluster.get("MutatingWebhookConfiguration", None, "glia-inject")
            return all(one["clientConfig"].get("caBundle") for one in now["webhooks"])
        eventually(trusted, "glia-control puts its authority into the configuration")

    def pod(self, name, account, port, labels=None):
        """The pod as the API server keeps it."""
        return self.cluster.create([{
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "labels": labels or {"app": name},
                         "annotations": {"glia.dev/capture": "none"}},
            "spec": {"serviceAccountName": account, "containers": [
                {"name": "app", "image": "app:1",
                 "ports": [{"name": "http", "containerPort": port}]}]}}])[1]

    def is_at(self, name, address, ready=True):
        """What kubelet says."""
        self.cluster.patch("Pod", "shop", name, {"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}, "status")

    def sidecar(self, pod, address, token=None):
        """Runs what the pod says, with the paths that a test can have."""
        name = pod["metadata"]["name"]
        container = next(one for one in pod["spec"]["initContainers"] if one["name"] == "glia-proxy")
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        (directory / "token").write_text(token or self.cluster.token(
            "shop", pod["spec"]["serviceAccountName"], "glia", pod))
        (directory / "token").chmod(0o600)
        values = {"$(POD_NAMESPACE)/$(POD_NAME)": f"shop/{name}",
                  "/var/run/secrets/glia/token": directory / "token",
                  "/var/lib/glia": directory / "state", "0.0.0.0:15021": f"{address}:15021",
                  "glia-control.glia-system.svc:15012": self.control.address}
        program, *words = [values.get(word, word) for word in container["command"]]
        bundle = next(one["value"] for one in container["env"] if one["name"] == "GLIA_TRUST_BUNDLE")
        return self.enterContext(Program(
            f"sidecar-{name}", [GLIA_PROXY.parent / program, *words,
                                "--concurrency", "1"], self.directory,
            env={**os.environ, "GLIA_TRUST_BUNDLE": bundle}))

    def application(self, name, port):
        return self.enterContext(Program(f"app-{name}", [
            sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory",
            self.directory / name], self.directory))

    def get(self, address, host="web.shop"):
        try:
            return fetch(15001, "/token-free.txt", headers={"host": host}, host=address)
        except OSError:
            return None

    def status(self, address):
        answer = self.get(address)
        return answer and answer.status

    def test_a_pod_joins_is_called_and_is_left_alone_when_it_is_not_ready(self):
        server_address, client_address = next(self.addresses), next(self.addresses)
        server_port, client_port = free_port(), free_port()
        server = self.pod("web-1", "seller", server_port, {"app": "web"})
        client = self.pod("buyer-1", "buyer", client_port)
        self.assertIn("glia-proxy", [one["name"] for one in server["spec"]["initContainers"]])
        self.cluster.create([{
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"},
                     "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}])
        self.is_at("web-1", server_address)
        self.is_at("buyer-1", client_address)
        self.sidecar(server, server_address)
        (self.directory / "web-1" / "token-free.txt").write_text("for sale")
        self.application("web-1", server_port)
        self.sidecar(client, client_address)

        def called():
            answer = self.get(client_address)
            return answer is not None and answer.status == 200 and answer
        answer = eventually(called, "the server is called through both sidecars", within_s=60)
        self.assertEqual(answer.text, "for sale")
        certificates = fetch(15021, "/certs", host=server_address).text
        self.assertIn("spiffe://mesh.local/ns/shop/sa/seller", certificates)

        for _ in range(3):
            start = time.monotonic()
            self.is_at("web-1", server_address, ready=False)
            eventually(lambda: self.status(client_address) == 503, "nobody is ready")
            print(f"from a pod's status to its callers: {time.monotonic() - start:.3f} s")
            self.is_at("web-1", server_address)
            eventually(called, "it is ready again")

        # A route of the Gateway API, with all the defaults that the API server writes into it.
        self.cluster.create("""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - matches: [{path: {value: /token-free.txt}}]
    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: x-route, value: web}]}
    backendRefs: [{name: web, port: 80}]
""")
        eventually(lambda: self.get(client_address).headers.get("x-route") == "web", "the route holds")
        parent = eventually(
            lambda: self.cluster.get("HTTPRoute", "shop", "web").get("status", {}).get("parents"),
            "the route's status")[0]
        self.assertEqual(parent["controllerName"], "glia.dev/mesh")
        self.assertEqual({one["type"]: one["status"] for one in parent["conditions"]},
                         {"Accepted": "True", "ResolvedRefs": "True"})
        self.cluster.delete("HTTPRoute", "shop", "web")
        eventually(lambda: "x-route" not in self.get(client_address).headers, "the route is gone")

        # An object of ours decides as one in a file would.
        self.cluster.create("""
apiVersion: glia.dev/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: shop}
spec: {selector: {app: web}, action: Deny, rules: [{from: [{identities: [buyer]}]}]}
""")
        eventually(lambda: self.status(client_address) == 403, "the policy holds")
        self.cluster.delete("AuthorizationPolicy", "shop", "nobody")
        eventually(called, "the policy is gone")

        # While the API server is away, all goes on; what changed meanwhile is seen afterwards.
        self.cluster.stop()
        self.assertEqual(self.status(client_address), 200)
        self.cluster.start()
        self.is_at("web-1", server_address, ready=False)
        eventually(lambda: self.status(client_address) == 503, "the change is seen", within_s=90)
        self.control.check_alive()

    def test_a_token_of_another_is_refused(self):
        address, port = next(self.addresses), free_port()
        mine, other = self.pod("thief-1", "buyer", port), self.pod("owner-1", "seller", port)
        self.is_at("thief-1", address)
        token = self.cluster.token("shop", "seller", "glia", other)
        self.sidecar(mine, address, token)
        eventually(lambda: "the token is that of pod shop/owner-1, not of workload shop/thief-1" in
                   self.control.text(), "the refusal is in the log")
        # Nor is one that was made for somebody else's ears.
        second, there = self.pod("thief-2", "buyer", free_port()), next(self.addresses)
        self.is_at("thief-2", there)
        self.sidecar(second, there, self.cluster.token("shop", "buyer", None, second))
        eventually(lambda: re.search(r"no certificate was signed for shop/thief-2: the service account "
                                     r"token is not", self.control.text()), "the second refusal")

    def accepted(self, name):
        """What the status of a TrafficPolicy says, once it says something."""
        conditions = eventually(lambda: self.cluster.get("TrafficPolicy", "shop", name).get(
            "status", {}).get("conditions"), "a status")
        return conditions[0]["status"]

    def test_a_wrong_object_harms_nobody_else(self):
        self.cluster.create("""
apiVersion: glia.dev/v1
kind: TrafficPolicy
metadata: {name: wrong, namespace: shop}
spec: {targetRef: {kind: Service, name: nowhere}}
""")
        self.sees(r"NOT IN FORCE +kubernetes:TrafficPolicy/shop/wrong: .*no such Service")
        self.assertEqual(self.accepted("wrong"), "False")
        before = self.control.in_force()
        self.cluster.create([{
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "nowhere", "namespace": "shop"},
            "spec": {"ports": [{"name": "http", "port": 80}]}}])
        eventually(lambda: " 1 TrafficPolicy" in (said := self.control.status())
                   and "NOT IN FORCE" not in said, "it is in force now")
        self.assertGreater(self.control.in_force(), before)
        eventually(lambda: self.accepted("wrong") == "True", "its status says so")

    def test_the_authority_is_put_back_where_somebody_takes_it_out(self):
        name = "glia-inject"
        now = self.cluster.get("MutatingWebhookConfiguration", None, name)
        right = now["webhooks"][0]["clientConfig"]["caBundle"]
        del now["webhooks"][0]["clientConfig"]["caBundle"]
        self.cluster.replace(now)
        eventually(lambda: self.cluster.get("MutatingWebhookConfiguration", None, name)["webhooks"][0][
            "clientConfig"].get("caBundle") == right, "it is there again")


if __name__ == "__main__":
    unittest.main()
