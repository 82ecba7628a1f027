"""Meshes for tests: their objects in a file, a control plane, sidecars that join it."""

import datetime
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import tempfile

import yaml

import harness
from bootstrap import cluster, socket_address, upstream_tls
from certificates import Identity, make_request

TRUST_DOMAIN = "e2e.mesh"
# On addresses that nobody else has. READY_PORT: where kubelet asks the sidecars of pods.
ADMIN_PORT, OUTBOUND_PORT, READY_PORT, PORT = 15000, 15001, 15021, 8080
HTTP_ROUTES = "gateway.networking.k8s.io/v1"


def spiffe(name):
    return f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{name}"


def free_network(hosts=10):
    """A part "127.x.y" of the loopback network where nobody listens on the mesh's ports."""
    for _ in range(200):
        network = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}"
        if all(_is_free(f"{network}.{host}", port) for host in range(1, hosts + 1)
               for port in (ADMIN_PORT, OUTBOUND_PORT, READY_PORT, PORT)):
            return network
    raise AssertionError("found no free part of 127.0.0.0/8")


def _is_free(host, port):
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def mesh(**spec):
    return {"apiVersion": "glia.dev/v1", "kind": "Mesh", "metadata": {"name": "e2e"},
            "spec": {"trustDomain": TRUST_DOMAIN, **spec}}


def workload(name, address, app_port=None, version=None, app=None, **spec):
    """One that serves HTTP on PORT if it has an app_port."""
    labels = {"app": app or name, **({"version": version} if version else {})}
    if app_port:
        spec["ports"] = [{"name": "http", "port": PORT, "protocol": "HTTP", "appPort": app_port}]
    return {"apiVersion": "glia.dev/v1", "kind": "Workload",
            "metadata": {"name": name, "labels": labels},
            "spec": {"address": address, "outbound": {"port": OUTBOUND_PORT},
                     "admin": {"port": ADMIN_PORT}, **spec}}


def service(name, **selector):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": selector or {"app": name},
                     "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}


def split(name, **weights):
    """An HTTPRoute that spreads the requests for a service; weights: v1=90 for name-v1."""
    return {"apiVersion": HTTP_ROUTES, "kind": "HTTPRoute", "metadata": {"name": name},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": name}],
                     "rules": [{"backendRefs": [
                         {"name": f"{name}-{version}", "port": 80, "weight": weight}
                         for version, weight in weights.items()]}]}}


def policy(name, app, *callers, **to):
    rule = {"from": [{"identities": list(callers)}], **({"to": [to]} if to else {})}
    return {"apiVersion": "glia.dev/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name},
            "spec": {"selector": {"app": app}, "rules": [rule]}}


class MeshFile:
    """mesh.yaml, replaced whole as editors do."""

    def __init__(self, directory, objects):
        self.path = pathlib.Path(directory, "mesh.yaml")
        self.save(objects)

    def save(self, objects):
        """Returns when it was saved, by the clock of log lines."""
        text = objects if isinstance(objects, str) else yaml.safe_dump_all(objects, sort_keys=False)
        fresh = self.path.with_suffix(".fresh")
        fresh.write_text(text)
        os.replace(fresh, self.path)
        return datetime.datetime.now(datetime.timezone.utc)

    def text(self):
        return self.path.read_text()


def status_of(state):
    """What `glia status -o json` says, or None while nobody answers."""
    ran = subprocess.run([harness.GLIA, "status", "--state-dir", state, "-o", "json"],
                         capture_output=True, text=True, timeout=harness.WITHIN_S)
    return json.loads(ran.stdout) if ran.returncode == 0 else None


def settled(status, *workloads):
    """Has the sidecar of each of these workloads accepted all that was sent to it?"""
    if not status:
        return False
    proxies = {proxy["workload"]: proxy for proxy in status.get("proxies", [])}
    return all(
        (types := proxies.get(f"default/{name}", {}).get("types"))
        and all(kind["sentVersion"] and kind["sentVersion"] == kind["ackedVersion"]
                and not kind.get("nackError") for kind in types)
        for name in workloads)


def log_times(text, pattern):
    """When the lines with this pattern were written."""
    return [datetime.datetime.fromisoformat(line.split()[0])
            for line in text.splitlines() if re.search(pattern, line)]


class ControlPlane(harness.Program):
    """glia-control on a mesh file. Its state survives it, so that it can be started again."""

    def __init__(self, directory, mesh_file, port=0, flags=()):
        self.state = pathlib.Path(directory, "state")
        before = pathlib.Path(directory, "glia-control.log")  # Of others in this directory.
        said = before.read_text(errors="replace").count("glia-control: serving") if before.exists() else 0
        super().__init__("glia-control", [
            harness.GLIA_CONTROL, "--mesh", mesh_file.path, "--state-dir", self.state / "control",
            "--listen", f"127.0.0.1:{port}", "--log-level", "debug", *flags], directory)

        def serving():
            self.check_alive()
            found = re.findall(r"glia-control: serving 127\.0\.0\.1:(\d+)", self.text())
            return len(found) > said and self.status() and found[-1]
        self.port = int(harness.eventually(serving, "glia-control serves"))

    def status(self):
        return status_of(self.state)

    def join_file(self, workload):
        """A file with which the sidecar of this workload may join, once."""
        ran = subprocess.run([harness.GLIA, "token", workload, "--state-dir", self.state],
                             capture_output=True, text=True, timeout=harness.WITHIN_S)
        if ran.returncode != 0:
            raise AssertionError(f"glia token: {ran.stderr}")
        file = self.state / f"{workload.replace('/', '_')}.join"
        file.write_text(ran.stdout)
        return file


class Sidecar(harness.Program):
    """glia-proxy that joins a control plane and is ready."""

    def __init__(self, directory, control, workload, address):
        self.address = address
        super().__init__(f"sidecar-{workload.replace('/', '_')}", [
            harness.GLIA_PROXY, "--join", control.join_file(workload), "--concurrency", "1"],
            directory)
        harness.eventually(self._is_ready, f"the sidecar of {workload} is ready")

    def _is_ready(self):
        self.check_alive()
        return is_ready(self.address)


class KeepingSidecar(harness.Program):
    """glia-proxy that keeps what it has on disk, so that it can be started again; not waited for."""

    KEPT = "configuration.kept"

    def __init__(self, directory, name, join_file, address):
        self.address = address
        self.state = pathlib.Path(directory, f"state-{name}")
        super().__init__(f"sidecar-{name}", [
            harness.GLIA_PROXY, "--join", join_file, "--state-dir", self.state, "--concurrency", "1"],
            directory)

    def ready(self, within_s=harness.WITHIN_S):
        harness.eventually(lambda: self.check_alive() or is_ready(self.address), f"{self.name} is ready",
                           within_s)
        return self

    @property
    def file(self):
        return self.state / self.KEPT

    def kept(self, *words, within_s=harness.WITHIN_S):
        """Waits until these are in the file."""
        harness.eventually(lambda: self.file.exists() and all(word.encode() in self.file.read_bytes()
                                                              for word in words),
                           f"{self.name} has kept {words}", within_s)


class BootstrapSidecar(harness.Program):
    """Envoy, or glia-proxy, with the bootstrap that a mesh needs: the way to the control plane, its
    certificate and the authorities; the rest comes over ADS."""

    def __init__(self, directory, control, name, address, program, api_type="GRPC"):
        self.address = address
        identity, bundle = join_with_own_key(control.join_file(name), directory)
        ads = {"resource_api_version": "V3", "ads": {}}
        config = {
            "node": {"id": name if "/" in name else f"default/{name}", "cluster": name,
                     "client_features": ["xds.config.supports-resource-ttl",
                                         "xds.config.resource-in-sotw"]},
            "admin": {"address": socket_address((address, ADMIN_PORT))},
            "dynamic_resources": {
                "lds_config": ads, "cds_config": ads,
                "ads_config": {"api_type": api_type, "transport_api_version": "V3", "grpc_services": [
                    {"envoy_grpc": {"cluster_name": "control"}}]}},
            "static_resources": {
                "secrets": [
                    {"name": "default", "tls_certificate": {
                        "certificate_chain": {"filename": str(identity.certificate)},
                        "private_key": {"filename": str(identity.key)}}},
                    {"name": "ROOTCA", "validation_context": {
                        "trusted_ca": {"filename": str(bundle.certificate)}}}],
                "clusters": [cluster("control", control.port, http2=True, tls=upstream_tls(
                    identity, bundle, [f"{bundle.spiffe_id}/glia-control"], ["h2"]))]}}
        plain = name.replace("/", "_")
        file = directory / f"bootstrap-{plain}.yaml"
        file.write_text(json.dumps(config))
        super().__init__(f"{program.name}-{plain}", [program, "-c", file, "--disable-hot-restart",
                                                    "--concurrency", "1"], directory)
        harness.eventually(self._is_ready, f"the sidecar of {name} is ready")

    def _is_ready(self):
        self.check_alive()
        return is_ready(self.address)

    def dump(self):
        return harness.fetch(ADMIN_PORT, "/config_dump?include_eds", host=self.address).json


def is_ready(address):
    try:
        return harness.fetch(ADMIN_PORT, "/ready", host=address).status == 200
    except OSError:
        return False


def metric(address, name, **labels):
    """Of the sidecar there: as sum_of_samples()."""
    page = harness.fetch(ADMIN_PORT, "/stats/prometheus", host=address).text
    return harness.sum_of_samples(page, name, **labels)


def ask(address, service, path="/", **options):
    """What the application with this sidecar gets from a service."""
    headers = {"Host": service, **options.pop("headers", {})}
    return harness.fetch(OUTBOUND_PORT, path, host=address, headers=headers, **options)


def join_with_own_key(join_file, directory):
    """Does what a sidecar does to join: makes a key, asks for a certificate, with grpcio.
    Returns (identity, trust bundle file)."""
    import grpc
    facts = yaml.safe_load(join_file.read_text())
    name = facts["workload"].replace("/", "_").removeprefix("default_")
    key, request = make_request(directory, name)
    messages = _messages("api/glia/v1/identity.proto")
    credentials = grpc.ssl_channel_credentials(facts["trustBundle"].encode())
    with grpc.secure_channel(facts["control"], credentials, options=[
            ("grpc.ssl_target_name_override", "glia-control")]) as channel:
        answer = channel.unary_unary(
            "/glia.v1.IdentityService/SignCertificate",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages["glia.v1.SignCertificateResponse"].FromString)(
            messages["glia.v1.SignCertificateRequest"](
                csr_pem=request.read_text(), token=facts["token"], workload=facts["workload"]),
            timeout=harness.WITHIN_S)
    identity = Identity(directory, name, answer.spiffe_id)
    identity.certificate.write_text(answer.certificate_chain_pem)
    bundle = Identity(directory, f"{name}-bundle", f"spiffe://{TRUST_DOMAIN}")
    bundle.certificate.write_text(answer.trust_bundle_pem)
    return identity, bundle


# What we read of envoy/service/status/v3/csds.proto, by the same numbers.
CLIENT_STATUS = """
syntax = "proto3";
message Request { bool exclude_resource_contents = 3; }
message Node { string id = 1; }
message Resource { string type_url = 1; string name = 2; string version_info = 3; }
message Client { Node node = 1; repeated Resource resources = 3; }
message Response { repeated Client clients = 1; }
"""


def client_status(control):
    """{node: {(kind, name): version}} of what sidecars hold, as the control plane knows it (CSDS)."""
    import grpc
    with tempfile.TemporaryDirectory() as scratch:
        pathlib.Path(scratch, "status.proto").write_text(CLIENT_STATUS)
        messages = _messages("status.proto", scratch)
    with grpc.insecure_channel(f"unix:{control.state}/control/control.sock") as channel:
        answer = channel.unary_unary(
            "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages["Response"].FromString)(
            messages["Request"](exclude_resource_contents=True), timeout=harness.WITHIN_S)
    return {client.node.id: {(one.type_url.rsplit(".", 1)[1], one.name): one.version_info
                             for one in client.resources} for client in answer.clients}


def _messages(proto, root=harness.ROOT):
    """The Python classes of the messages in a .proto file."""
    from google.protobuf import descriptor_pb2, message_factory
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch, "set")
        subprocess.run([harness.peer("protoc"), f"--proto_path={root}",
                        f"--descriptor_set_out={out}", pathlib.Path(root, proto)], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return message_factory.GetMessages(files.file)
