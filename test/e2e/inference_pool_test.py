"""InferencePools as backends of a route: simulated model servers behind sidecars of one mesh."""

import json
import unittest

import meshes
from harness import Scene, eventually, fetch, tally
from meshes import ADMIN_PORT, ControlPlane, MeshFile, Sidecar, free_network, mesh, workload
from pool_servers import PoolServers

ASKED = 80
POOL_GROUP = "inference.networking.k8s.io"
CHAT = json.dumps({"model": "llama", "messages": [{"role": "user", "content": "why"}],
                   "max_tokens": 2}).encode()


def pool(name, **labels):
    return {"apiVersion": f"{POOL_GROUP}/v1", "kind": "InferencePool", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": labels}, "targetPorts": [{"number": meshes.PORT}]}}


def backend(name, weight):
    return {"group": POOL_GROUP, "kind": "InferencePool", "name": name, "weight": weight}


def balancing(name, picker):
    return {"apiVersion": "glia.dev/v1", "kind": "ModelPolicy", "metadata": {"name": name},
            "spec": {"targetRef": {"group": POOL_GROUP, "kind": "InferencePool", "name": name},
                     "balancing": {"picker": picker}}}


class InferencePools(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        servers = cls.enterClassContext(PoolServers(3))
        network = free_network()
        names = ("caller", "large-1", "large-2", "small-1")
        cls.at = {name: f"{network}.{host}" for host, name in enumerate(names, 1)}
        cls.app_ports = dict(zip(names[1:], servers.ports))
        cls.file = MeshFile(cls.directory, cls.objects())
        control = cls.enterClassContext(ControlPlane(cls.directory, cls.file))
        for name in names:
            cls.enterClassContext(Sidecar(cls.directory, control, name, cls.at[name]))

    @classmethod
    def objects(cls, small="small"):
        """`small`: the label of the one server of the pool of that name."""
        def server(name, app):
            return workload(name, cls.at[name], cls.app_ports[name], app=app,
                            modelServer={"engine": "vllm"})
        route = {"apiVersion": meshes.HTTP_ROUTES, "kind": "HTTPRoute", "metadata": {"name": "chat"},
                 "spec": {"parentRefs": [{"name": "chat"}], "rules": [{"backendRefs": [
                     backend("large", 50), backend("small", 50)]}]}}
        chat = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat"},
                "spec": {"selector": {"app": "large"},
                         "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}
        return [mesh(), workload("caller", cls.at["caller"]), server("large-1", "large"),
                server("large-2", "large"), server("small-1", small), chat, route,
                pool("large", app="large"), pool("small", app="small"),
                balancing("small", "HotCold")]

    def tearDown(self):
        self.file.save(self.objects())

    def ask(self):
        return meshes.ask(self.at["caller"], "chat", "/v1/chat/completions", method="POST",
                          body=CHAT, headers={"content-type": "application/json"})

    def requests(self):
        """To each of the pools, since the sidecar began."""
        return {name: meshes.metric(self.at["caller"], "envoy_cluster_upstream_rq_total",
                                    envoy_cluster_name=f"pool:{name}.default") or 0
                for name in ("large", "small")}

    def test_each_pool_takes_its_share_with_its_own_picker(self):
        eventually(lambda: self.ask().status == 200, "the pools answer")
        before = self.requests()
        for _ in range(ASKED):
            self.assertEqual(self.ask().status, 200)
        counts = {name: count - before[name] for name, count in self.requests().items()}
        self.assertEqual(sum(counts.values()), ASKED, counts)
        self.assert_share(counts, "small", 0.5)
        endpoints = fetch(ADMIN_PORT, "/endpoints?format=json", host=self.at["caller"]).text
        for name in ("pool:large.default", "pool:small.default"):
            self.assertIn(name, endpoints)
        dump = fetch(ADMIN_PORT, "/config_dump", host=self.at["caller"]).json
        clusters = [row["cluster"] for part in dump["configs"]
                    for row in part.get("dynamic_active_clusters", [])]
        self.assertEqual([one["name"] for one in clusters if "HOT_COLD" in json.dumps(one)],
                         ["pool:small.default"])

    def test_an_empty_pool_answers_for_itself_only(self):
        eventually(lambda: self.ask().status == 200, "the pools answer")
        self.file.save(self.objects(small="gone"))

        def empty():
            answer = self.ask()
            return answer if answer.status == 503 else None
        refused = eventually(empty, "the pool without servers refuses")
        self.assertEqual(refused.headers["x-glia-reason"], "no_endpoint")
        self.assertIn("pool:small.default", refused.text)
        statuses = tally(self.ask().status for _ in range(80))
        self.assertEqual(set(statuses), {200, 503})
        self.assert_share(statuses, 503, 0.5)
        self.file.save(self.objects())
        eventually(lambda: tally(self.ask().status for _ in range(20)) == {200: 20},
                   "both pools answer again")


if __name__ == "__main__":
    unittest.main()
