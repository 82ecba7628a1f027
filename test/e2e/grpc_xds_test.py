"""gRPC Python, Go and Node as clients without a sidecar: each takes names, endpoints, weights and
identities from glia-control by gRPC's own xDS, and calls the sidecars of the mesh over mutual TLS."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

from bootstrap import bootstrap, cluster, listener, to, upstream_tls
from harness import WITHIN_S, Proxy, Scene, eventually, peer
from meshes import (ControlPlane, MeshFile, Sidecar, free_network, join_with_own_key, mesh, policy,
                    service, settled, split, workload)
from origins import GrpcOrigin


def built(variable, *command):
    """A command whose last word is a program that ./dev test makes in this directory."""
    program = pathlib.Path(os.environ.get(variable, ""), command[-1])
    if not program.is_file():
        raise unittest.SkipTest(f"{command[-1]} is not there; ./dev test makes it")
    return [*command[:-1], str(program)]


def python():
    return [sys.executable, str(pathlib.Path(__file__).with_name("grpc_caller.py"))]


def go():
    return built("GLIA_GO_PEERS", "xdscaller")


def node():
    return built("GLIA_NODE_PEERS", peer("node"), "xdscaller.js")


class Caller:
    """The client's process. `door`: a port of this machine that leads to the control plane in clear text,
    for a client that cannot show a certificate there."""

    def __init__(self, directory, control, command, target, identity, bundle, door=None):
        files = {"certificate_file": str(identity.certificate),
                 "private_key_file": str(identity.key),
                 "ca_certificate_file": str(bundle.certificate)}
        name = identity.spiffe_id.rpartition("/")[2]
        way = {"server_uri": f"localhost:{control.port}",
               "channel_creds": [{"type": "tls", "config": files}]}
        if door:
            way = {"server_uri": f"127.0.0.1:{door}", "channel_creds": [{"type": "insecure"}]}
        bootstrap = directory / f"grpc-{target.rpartition('/')[2]}.json"
        bootstrap.write_text(json.dumps({
            "xds_servers": [{**way, "server_features": ["xds_v3"]}],
            "node": {"id": f"default/{name}", "cluster": name, "locality": {}},
            "certificate_providers": {"default": {
                "plugin_name": "file_watcher",
                "config": {**files, "refresh_interval": "600s"}}}}))
        self.log = directory / "caller.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [peer("setpriv"), "--pdeathsig", "KILL", "--", *command, target],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(bootstrap),
                     "NO_PROXY": "*", "no_proxy": "*"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def call(self, times=1):
        """How often who answered."""
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the caller ended:\n{self.log.read_text()[-4000:]}")
        return json.loads(line)


class WithoutASidecar:
    """What each client must do; `client` makes its command."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        command = cls.client()
        network = free_network()
        cls.names = ("reco-v1", "reco-v2")
        cls.at = {name: f"{network}.{host}" for host, name in enumerate(("caller", *cls.names), 1)}
        cls.origins = {name: cls.enterClassContext(GrpcOrigin(name)) for name in cls.names}
        cls.file = MeshFile(cls.directory, cls.objects(v1=100, v2=0))
        cls.control = cls.enterClassContext(ControlPlane(cls.directory, cls.file))
        for name in cls.names:
            cls.enterClassContext(Sidecar(cls.directory, cls.control, name, cls.at[name]))
        identity, bundle = join_with_own_key(cls.control.join_file("caller"), cls.directory)
        cls.caller = cls.enterClassContext(Caller(
            cls.directory, cls.control, command, "xds:///reco.default:80", identity, bundle,
            cls.door(identity, bundle)))

    @classmethod
    def door(cls, identity, bundle):
        return None

    @classmethod
    def objects(cls, without=(), deny=False, **weights):
        def server(name, version):
            made = workload(name, cls.at[name], cls.origins[name].port, version, "reco",
                            identity="reco")
            made["spec"]["ports"][0]["protocol"] = "GRPC"
            if name in without:
                made["metadata"]["labels"]["app"] = "away"
            return made
        return [mesh(), workload("caller", cls.at["caller"]),
                server("reco-v1", "v1"), server("reco-v2", "v2"),
                service("reco"), service("reco-v1", app="reco", version="v1"),
                service("reco-v2", app="reco", version="v2"),
                *([split("reco", **weights)] if weights else []),
                policy("callers", "reco", "somebody-else" if deny else "caller")]

    def apply(self, **edit):
        self.file.save(self.objects(**edit))

    def until_only(self, *names):
        eventually(lambda: set(self.caller.call(20)) == set(names), f"only {names} answer",
                   within_s=2 * WITHIN_S)

    def test_it_calls_by_the_name_of_the_service_and_follows_a_shift_of_weights(self):
        self.apply(v1=100, v2=0)
        self.until_only("reco-v1")
        self.apply(v1=0, v2=100)
        self.until_only("reco-v2")
        self.apply(v1=75, v2=25)
        self.until_only("reco-v1", "reco-v2")
        counts = self.caller.call(400)
        self.assertEqual(sum(counts.values()), 400)
        self.assertAlmostEqual(counts["reco-v1"] / 400, 0.75, delta=0.13)  # 6 deviations.

    def test_it_balances_over_endpoints_and_no_call_fails_when_one_is_removed(self):
        self.apply(v1=100, v2=0)
        self.until_only("reco-v1")
        self.apply()
        self.until_only("reco-v1", "reco-v2")
        self.apply(without=("reco-v2",))
        seen = set()

        def only_the_other():
            answers = self.caller.call(20)
            seen.update(answers)
            return set(answers) == {"reco-v1"}
        eventually(only_the_other, "reco-v2 is asked no more", within_s=2 * WITHIN_S)
        self.assertLessEqual(seen, {"reco-v1", "reco-v2"})

    def test_its_identity_is_what_policies_speak_of(self):
        self.apply(v1=100, v2=0)
        self.until_only("reco-v1")
        self.apply(v1=100, v2=0, deny=True)
        eventually(lambda: all(is_refusal(answer) for answer in self.caller.call(5)),
                   "calls are refused")

    def test_it_accepts_all_that_it_is_sent(self):
        self.apply(v1=50, v2=50)
        self.until_only("reco-v1", "reco-v2")
        eventually(lambda: settled(self.control.status(), "caller"), "nothing was refused")


def is_refusal(answer):
    return answer.upper().replace("_", "").startswith(("PERMISSIONDENIED", "STATUSCODE.PERMISSIONDENIED"))


class InPython(WithoutASidecar, Scene):
    client = staticmethod(python)


class InGo(WithoutASidecar, Scene):
    client = staticmethod(go)


class OnNode(WithoutASidecar, Scene):
    """Node's client cannot show a certificate to a control plane (grpc-js-xds 1.14 knows `insecure` and
    `google_default` there), so a glia-proxy beside it does; to the workloads it shows its own."""

    client = staticmethod(node)

    @classmethod
    def door(cls, identity, bundle):
        control = cluster("control", cls.control.port, http2=True, tls=upstream_tls(
            identity, bundle, [f"{bundle.spiffe_id}/glia-control"], ["h2"]))
        proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("door", [to("control", timeout="0s", idle_timeout="0s")])], [control]), name="door"))
        return proxy.ports["door"]


if __name__ == "__main__":
    unittest.main()
