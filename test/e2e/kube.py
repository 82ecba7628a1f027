"""A real Kubernetes API server for tests: kube-apiserver, built from its Go module, on Debian's etcd, on loopback.

There is no kubelet and no controller: tests write the status of pods and the EndpointSlices themselves, and run what
the pods would run. Built once, by ./dev test --long (tools/kube_apiserver.sh); elsewhere the tests are skipped.
"""

import base64
import http.client
import json
import os
import pathlib
import re
import ssl
import subprocess
import unittest

import yaml

from harness import GLIA, GLIA_CONTROL, ROOT, Program, Scene, eventually, free_port, peer

LISTS = {  # Kind -> where its objects are.
    "Namespace": ("v1", "namespaces"), "ServiceAccount": ("v1", "serviceaccounts"),
    "Pod": ("v1", "pods"), "Service": ("v1", "services"),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices"),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "MutatingWebhookConfiguration": ("admissionregistration.k8s.io/v1",
                                     "mutatingwebhookconfigurations"),
    "HTTPRoute": ("gateway.networking.k8s.io/v1", "httproutes"),
    "GRPCRoute": ("gateway.networking.k8s.io/v1", "grpcroutes"),
    "ReferenceGrant": ("gateway.networking.k8s.io/v1beta1", "referencegrants"),
    "Mesh": ("glia.dev/v1", "meshes"), "Workload": ("glia.dev/v1", "workloads"),
    "TrafficPolicy": ("glia.dev/v1", "trafficpolicies"),
    "ModelPolicy": ("glia.dev/v1", "modelpolicies"),
    "AuthorizationPolicy": ("glia.dev/v1", "authorizationpolicies"),
    "Canary": ("glia.dev/v1", "canaries")}
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
                "MutatingWebhookConfiguration", "Mesh"}


def tool(script):
    """What a script of tools/ prints, or skips the test."""
    if not os.environ.get("GLIA_LONG"):
        raise unittest.SkipTest("a real API server: only with ./dev test --long")
    ran = subprocess.run([ROOT / "tools" / script], capture_output=True, text=True)
    if ran.returncode == 3:
        raise unittest.SkipTest(ran.stderr.strip())
    if ran.returncode != 0:
        raise AssertionError(f"{script} failed: {ran.stderr}")
    return ran.stdout.strip()


def path_of(kind, namespace=None, name=None, *rest):
    version, plural = LISTS[kind]
    root = "api" if version == "v1" else "apis"
    where = "" if kind in CLUSTER_WIDE else f"/namespaces/{namespace or 'default'}"
    tail = "".join(f"/{part}" for part in (name, *rest) if part)
    return f"/{root}/{version}{where}/{plural}{tail}"


# As little of the inference extension's definition as makes the API server know the kind.
INFERENCE_POOLS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: inferencepools.inference.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, for tests"}
spec:
  group: inference.networking.k8s.io
  scope: Namespaced
  names: {kind: InferencePool, plural: inferencepools}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


class Cluster:
    """An API server with a database of its own, in a context that ends both."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory, "cluster")
        self.directory.mkdir()
        self.program = tool("kube_apiserver.sh")
        self.etcd_port, self.peer_port, self.port = free_port(), free_port(), free_port()
        self._make_keys()
        self.audit = self.directory / "audit.log"
        (self.directory / "audit.yaml").write_text(json.dumps({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}]}))
        self.etcd = self._start_etcd()
        self.server = None
        self.start()

    def _openssl(self, *words):
        subprocess.run([peer("openssl"), *map(str, words)], check=True, capture_output=True)

    def _issue(self, name, subject, names):
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", subject, "-keyout", key, "-out", request)
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey",
                      self.directory / "authority.key", "-CAcreateserial", "-days", "2",
                      "-extfile", extensions, "-out", certificate)
        return certificate, key

    def _make_keys(self):
        self.authority = self.directory / "authority.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-days", "2", "-subj", "/CN=cluster", "-keyout",
                      self.directory / "authority.key", "-out", self.authority)
        self.serving = self._issue("apiserver", "/CN=kube-apiserver",
                                   "DNS:localhost,IP:127.0.0.1,IP:10.96.0.1")
        self.admin = self._issue("admin", "/O=system:masters/CN=admin", "DNS:admin")
        self._openssl("genrsa", "-out", self.directory / "accounts.key", "2048")
        self.tls = ssl.create_default_context(cafile=self.authority)
        self.tls.load_cert_chain(*self.admin)

    def _start_etcd(self):
        client = f"http://127.0.0.1:{self.etcd_port}"
        other = f"http://127.0.0.1:{self.peer_port}"
        return Program("etcd", [
            peer("etcd"), "--data-dir", self.directory / "etcd", "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", other,
            "--initial-advertise-peer-urls", other, "--initial-cluster", f"default={other}",
            "--unsafe-no-fsync"], self.directory)

    def start(self):
        issuer = "https://kubernetes.default.svc"
        keys = self.directory / "accounts.key"
        self.server = Program("kube-apiserver", [
            self.program, "--etcd-servers", f"http://127.0.0.1:{self.etcd_port}", "--bind-address",
            "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", str(self.port),
            "--tls-cert-file", self.serving[0], "--tls-private-key-file", self.serving[1],
            "--client-ca-file", self.authority, "--service-account-issuer", issuer,
            "--service-account-key-file", keys, "--service-account-signing-key-file", keys,
            "--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC",
            "--endpoint-reconciler-type", "none", "--allow-privileged",
            "--audit-policy-file", self.directory / "audit.yaml", "--audit-log-path", self.audit],
            self.directory)

        def ready():
            self.server.check_alive()
            try:
                return self.ask("GET", "/readyz", check=False)[0] == 200
            except OSError:
                return False
        eventually(ready, "the API server is ready", within_s=120)

    def stop(self):
        """As in a crash: asked to end, it would wait for its watches, for minutes."""
        self.server.__exit__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.__exit__()
        self.etcd.__exit__()

    def ask(self, method, path, body=None, content="application/json", check=True):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60,
                                                 context=self.tls)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"content-type": content})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        answer = json.loads(text) if text.startswith("{") else text
        if check and response.status // 100 != 2:
            raise AssertionError(f"{method} {path}: {response.status} {answer}")
        return response.status, answer

    def create(self, text, check=True):
        """Objects of YAML; the answer to the last one."""
        answer = None
        for one in yaml.safe_load_all(text) if isinstance(text, str) else text:
            meta = one["metadata"]
            path = path_of(one["kind"], meta.get("namespace"))
            # As kubectl does: what is no field is an error.
            answer = self.ask("POST", path + "?fieldValidation=Strict", one, check=check)
        return answer

    def replace(self, one):
        meta = one["metadata"]
        path = path_of(one["kind"], meta.get("namespace"), meta["name"])
        one["metadata"]["resourceVersion"] = self.ask("GET", path)[1]["metadata"]["resourceVersion"]
        return self.ask("PUT", path, one)[1]

    def patch(self, kind, namespace, name, patch, *rest):
        return self.ask("PATCH", path_of(kind, namespace, name, *rest), patch,
                        "application/merge-patch+json")[1]

    def get(self, kind, namespace, name):
        return self.ask("GET", path_of(kind, namespace, name))[1]

    def delete(self, kind, namespace, name):
        self.ask("DELETE", path_of(kind, namespace, name),
                 {"gracePeriodSeconds": 0} if kind == "Pod" else None)

    def install(self):
        """The definitions and the rights that deploy/ has."""
        self.create("apiVersion: v1\nkind: Namespace\nmetadata: {name: glia-system}")
        self.create((ROOT / "deploy" / "crds.yaml").read_text())
        self.create((ROOT / "deploy" / "rbac.yaml").read_text())
        for kind in ("httproutes", "grpcroutes", "referencegrants"):
            self.create(pathlib.Path(tool("gateway_crds.sh"),
                                     f"gateway.networking.k8s.io_{kind}.yaml").read_text())

        self.create(INFERENCE_POOLS)

        def established():
            found = self.ask("GET", path_of("CustomResourceDefinition"))[1]["items"]
            ready = [one for one in found if any(
                condition["type"] == "Established" and condition["status"] == "True"
                for condition in one.get("status", {}).get("conditions") or [])]
            return len(ready) == len(found) >= 10
        eventually(established, "the definitions are established")

    def token(self, namespace, account, audience=None, pod=None):
        """As kubelet gets it for a pod."""
        spec = {"expirationSeconds": 3600}
        if audience:
            spec["audiences"] = [audience]
        if pod:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"],
                                      "uid": pod["metadata"]["uid"]}
        path = path_of("ServiceAccount", namespace, account, "token")
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.ask("POST", path, review)[1]["status"]["token"]

    def kubeconfig(self, namespace="glia-system", account="glia-control"):
        """A file for one of the cluster's accounts."""
        path = self.directory / f"{account}.kubeconfig"
        authority = base64.b64encode(pathlib.Path(self.authority).read_bytes()).decode()
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test",
                                                      "namespace": namespace}}],
            "clusters": [{"name": "test", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                      "certificate-authority-data": authority}}],
            "users": [{"name": "test", "user": {"token": self.token(namespace, account)}}]}))
        return path

    def refused(self, user="system:serviceaccount:glia-system:glia-control"):
        """What this user asked for and may not do."""
        found = set()
        for line in self.audit.read_text().splitlines():
            event = json.loads(line)
            if event["user"].get("username") == user and event["responseStatus"]["code"] == 403:
                found.add(f"{event['verb']} {event.get('objectRef', {}).get('resource')}")
        return found

    def used(self, user="system:serviceaccount:glia-system:glia-control"):
        """(verb, group, resource, subresource) of what this user did."""
        found = set()
        for line in self.audit.read_text().splitlines():
            event = json.loads(line)
            about = event.get("objectRef")
            if event["user"].get("username") != user or not about:
                continue
            resource = about["resource"]
            if about.get("subresource"):
                resource += "/" + about["subresource"]
            found.add((event["verb"], about.get("apiGroup", ""), resource))
        return found


def endpoint_slice(name, service, addresses, port, namespace="default", ready=True):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace,
                         "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": ready}}
                          for address in addresses]}


class Control(Program):
    """glia-control for that cluster, as the service account that deploy/rbac.yaml makes."""

    def __init__(self, directory, cluster, name="glia-control", *flags):
        self.home = pathlib.Path(directory, name)
        self.state = self.home / "control"
        self.home.mkdir()
        super().__init__(name, [
            GLIA_CONTROL, "--kubeconfig", cluster.kubeconfig(), "--state-dir", self.state, "--listen",
            "127.0.0.1:0", *flags], directory)
        self.address = eventually(self._address, "glia-control serves")

    def _address(self):
        self.check_alive()
        found = re.search(r"serving (\S+) \(mesh", self.text())
        return found and found[1]

    def status(self):
        ran = subprocess.run([GLIA, "status", "--state-dir", self.home],
                             capture_output=True, text=True, timeout=60)
        return ran.stdout + ran.stderr

    def in_force(self):
        return len(re.findall(r" is in force \(", self.text()))


class KubernetesScene(Scene):
    """Tests with a cluster that has our definitions and our role."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = cls.enterClassContext(Cluster(cls.directory))
        cls.cluster.install()

    def sees(self, what, within_s=30):
        """Waits until `glia status` shows it."""
        eventually(lambda: re.search(what, self.control.status()), f"{what} in the status",
                   within_s=within_s)
