"""glia-proxy as the client of a control plane that is not ours: a few lines on Go's
go-control-plane, in both variants of xDS."""

import json
import os
import pathlib
import subprocess
import threading
import unittest

from bootstrap import bootstrap, cluster, listener
from harness import Proxy, Scene, eventually, fetch, peer, tally
from origins import HttpOrigin

NODE = "e2e-node"
API = "type.googleapis.com/envoy.config"
ADS = {"resource_api_version": "V3", "ads": {}}


def an_eds_cluster(name, **more):
    return {"@type": f"{API}.cluster.v3.Cluster", "name": name, "type": "EDS",
            "connect_timeout": "5s", "eds_cluster_config": {"eds_config": ADS}, **more}


def endpoints(name, *ports):
    return {"@type": f"{API}.endpoint.v3.ClusterLoadAssignment",
            **cluster(name, *ports)["load_assignment"]}


def an_rds_listener():
    made = listener("in", [])
    manager = made["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]
    manager["rds"] = {"route_config_name": "main", "config_source": ADS}
    return {"@type": f"{API}.listener.v3.Listener", **made}


def routes(**weights):
    action = {"weighted_clusters": {"clusters": [
        {"name": name, "weight": weight} for name, weight in weights.items()]}}
    return {"@type": f"{API}.route.v3.RouteConfiguration", "name": "main", "virtual_hosts": [
        {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}]}


class Plane:
    """xdsplane, told snapshots, and what it says of its client."""

    def __init__(self, port=0):
        program = pathlib.Path(os.environ.get("GLIA_GO_PEERS", ""), "xdsplane")
        if not program.is_file():
            raise unittest.SkipTest("xdsplane is not built; ./dev test does that")
        self.lines = []
        self.process = subprocess.Popen(
            [peer("setpriv"), "--pdeathsig", "KILL", "--", program, "-node", NODE, "-port",
             str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.port = int(eventually(
            lambda: self.lines and self.lines[0], "xdsplane serves").split()[1])

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.stdin.close()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()

    def push(self, version, *resources):
        """Returns where in `lines` the answers begin."""
        start = len(self.lines)
        self.process.stdin.write(json.dumps({"version": version, "resources": resources}) + "\n")
        self.process.stdin.flush()
        eventually(lambda: f"set {version}" in self.lines[start:], f"snapshot {version} is set")
        return start

    def said(self, words, since=0):
        return eventually(lambda: [line for line in self.lines[since:] if line.startswith(words)],
                          f"the client says {words}")


class ClientOfGo(Scene):
    api_type = "GRPC"
    stream = "stream"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one, cls.two = (cls.enterClassContext(HttpOrigin(name)) for name in ("one", "two"))

    def setUp(self):
        self.plane = self.enterContext(Plane())
        self.plane.push("1", *self.resources(one=1))
        ads = {"lds_config": ADS, "cds_config": ADS, "ads_config": {
            "api_type": self.api_type, "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "control"}}]}}
        self.proxy = self.enterContext(Proxy(self.directory, bootstrap(
            [], [cluster("control", self.plane.port, http2=True)], NODE, dynamic_resources=ads)))

    def resources(self, **weights):
        origins = {"one": self.one, "two": self.two}
        return [*(an_eds_cluster(name) for name in weights),
                *(endpoints(name, origins[name].port) for name in weights),
                an_rds_listener(), routes(**weights)]

    def ask(self):
        answer = fetch(self.proxy.ports["in"])
        self.assertEqual(answer.status, 200, answer)
        return answer.json["origin"]

    def until_only(self, *names):
        eventually(lambda: {self.ask() for _ in range(20)} == set(names), f"{names} answer")

    def test_it_takes_and_accepts_what_it_needs(self):
        self.assertEqual(self.ask(), "one")
        for kind in ("Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"):
            self.plane.said(f"ack {kind}")
        self.assertEqual([line for line in self.plane.lines if line.startswith("nack")], [])
        self.assertIn(self.stream, self.plane.lines)

    def test_it_follows_weights_and_no_request_fails_while_clusters_come_and_go(self):
        self.plane.push("2", *self.resources(one=1, two=1))
        self.until_only("one", "two")
        counts = tally(self.ask() for _ in range(300))
        self.assert_share(counts, "one", 0.5)
        self.plane.push("3", *self.resources(two=1))
        self.until_only("two")
        eventually(lambda: '"one"' not in json.dumps(self.proxy.admin("/config_dump").json),
                   "the cluster that nobody names is gone")
        self.plane.push("4", *self.resources(one=1))
        self.until_only("one")

    def test_endpoints_move(self):
        moved = [an_eds_cluster("one"), endpoints("one", self.two.port), an_rds_listener(),
                 routes(one=1)]
        self.plane.push("2", *moved)
        self.until_only("two")

    def test_what_it_cannot_do_is_refused_by_name_and_changes_nothing(self):
        bad = [an_eds_cluster("one", lb_policy="MAGLEV"), *self.resources(one=1)[1:]]
        since = self.plane.push("2", *bad)
        self.assertIn("cluster[one].lb_policy: MAGLEV is not supported by glia-proxy",
                      self.plane.said("nack Cluster", since)[0])
        self.assertEqual(self.ask(), "one")
        since = self.plane.push("3", *self.resources(two=1))
        self.plane.said("ack Cluster", since)
        self.until_only("two")

    def test_it_serves_without_its_control_plane_and_follows_the_next_one(self):
        port = self.plane.port
        self.plane.__exit__()
        for _ in range(20):
            self.assertEqual(self.ask(), "one")
        with Plane(port) as plane:
            plane.push("9", *self.resources(two=1))

            def follows():
                return self.ask() == "two"
            eventually(follows, "it follows the new control plane", within_s=60)
            plane.said("ack RouteConfiguration")


class ClientOfGoByDelta(ClientOfGo):
    api_type = "DELTA_GRPC"
    stream = "delta stream"


if __name__ == "__main__":
    unittest.main()
