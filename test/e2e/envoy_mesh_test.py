"""A real Envoy as a sidecar in a mesh of glia-control, beside glia-proxy; and the mesh without its
control plane."""

import json
import unittest

from harness import GLIA_PROXY, Scene, envoy, eventually, fetch, tally
from meshes import (ADMIN_PORT, PORT, BootstrapSidecar, ControlPlane, MeshFile, Sidecar, ask,
                    client_status, free_network, mesh, policy, service, settled, spiffe, split,
                    workload)
from origins import HttpOrigin


class EnvoyInTheMesh(Scene):
    """client (Envoy) asks reco, which is v1 and v2 (glia-proxy, the second by the same kind of
    bootstrap as Envoy), and echo (Envoy)."""

    api_type = "GRPC"  # State of the world.

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        envoy()
        network = free_network()
        cls.at = {name: f"{network}.{host}" for host, name in
                  enumerate(("client", "reco-v1", "reco-v2", "echo"), 1)}
        cls.origins = {name: cls.enterClassContext(HttpOrigin(name))
                       for name in ("reco-v1", "reco-v2", "echo")}
        cls.file = MeshFile(cls.directory, cls.objects(v1=100, v2=0))
        cls.control = cls.enterClassContext(ControlPlane(cls.directory, cls.file))
        cls.enterClassContext(Sidecar(cls.directory, cls.control, "reco-v1", cls.at["reco-v1"]))
        cls.client, cls.echo, _ = (
            cls.enterClassContext(BootstrapSidecar(cls.directory, cls.control, name, cls.at[name],
                                                   program, cls.api_type))
            for name, program in (("client", envoy()), ("echo", envoy()),
                                  ("reco-v2", GLIA_PROXY)))

    @classmethod
    def objects(cls, **weights):
        return [
            mesh(), workload("client", cls.at["client"]),
            *(workload(f"reco-{version}", cls.at[f"reco-{version}"],
                       cls.origins[f"reco-{version}"].port, version, "reco", identity="reco")
              for version in ("v1", "v2")),
            workload("echo", cls.at["echo"], cls.origins["echo"].port),
            service("reco"), service("reco-v1", app="reco", version="v1"),
            service("reco-v2", app="reco", version="v2"), service("echo"),
            split("reco", **weights), policy("for-client", "echo", "client")]

    def setUp(self):
        self.shift(v1=100, v2=0)

    def shift(self, **weights):
        """Edits the weights, and waits until the client sees them."""
        self.file.save(self.objects(**weights))
        wanted = {f"reco-{version}" for version, weight in weights.items() if weight}
        eventually(lambda: {self.told().json["origin"] for _ in range(8)} <= wanted,
                   f"only {wanted} is asked")

    def told(self):
        answer = ask(self.at["client"], "reco")
        self.assertEqual(answer.status, 200, answer)
        return answer

    def test_envoy_accepts_all_that_it_is_sent(self):
        eventually(lambda: settled(self.control.status(), "client", "echo", "reco-v1", "reco-v2"),
                   "every sidecar accepted what it was sent")
        for sidecar, listeners in ((self.client, {"outbound"}),
                                   (self.echo, {"outbound", "inbound:http"})):
            dump = json.dumps(sidecar.dump())
            self.assertNotIn("error_state", dump)
            for name in listeners | {"outbound:80:reco-v1.default", "outbound:80:echo.default"}:
                self.assertIn(f'"{name}"', dump)
        clusters = fetch(ADMIN_PORT, "/clusters", host=self.at["client"]).text
        self.assertIn(f"outbound:80:reco-v1.default::{self.at['reco-v1']}:{PORT}::health_flags"
                      "::healthy", clusters)

    def test_envoy_asks_glia_over_mutual_tls(self):
        headers = self.told().json["headers"]
        self.assertIn(f"By={spiffe('reco')};", headers["x-forwarded-client-cert"])
        self.assertIn(f"URI={spiffe('client')}", headers["x-forwarded-client-cert"])

    def test_glia_asks_envoy_and_envoy_obeys_the_policy(self):
        allowed = ask(self.at["client"], "echo", "/x")
        self.assertEqual((allowed.status, allowed.json["origin"]), (200, "echo"))
        self.assertIn(f"URI={spiffe('client')}",
                      allowed.json["headers"]["x-forwarded-client-cert"])
        refused = ask(self.at["reco-v1"], "echo")
        self.assertEqual(refused.status, 403)

    def test_an_edit_of_weights_shifts_the_requests_of_envoy(self):
        self.shift(v1=0, v2=100)
        self.assertEqual(self.told().json["origin"], "reco-v2")
        self.shift(v1=50, v2=50)
        # Envoy says that it has them before its workers do.
        eventually(lambda: self.told().json["origin"] == "reco-v1", "reco-v1 is asked as well")
        counts = tally(self.told().json["origin"] for _ in range(300))
        self.assert_share(counts, "reco-v1", 0.5)

    def test_an_unknown_service_is_a_404_that_says_how_to_name_one(self):
        answer = ask(self.at["client"], "nobody")
        self.assertEqual(answer.status, 404)
        self.assertIn("NAME", answer.text.upper())

    def test_traffic_goes_on_without_the_control_plane_and_follows_it_again(self):
        cls = type(self)
        port = self.control.port
        self.control.process.kill()
        self.control.ended()
        for asker in ("client", "reco-v1"):
            for _ in range(20):
                self.assertEqual(ask(self.at[asker], "reco").status, 200)
        self.file.save(self.objects(v1=0, v2=100))  # Nobody sees it yet.
        cls.control = cls.enterClassContext(ControlPlane(self.directory, self.file, port))
        for asker in ("client", "reco-v1"):
            def follows():
                answer = ask(self.at[asker], "reco")
                self.assertEqual(answer.status, 200)
                return answer.json["origin"] == "reco-v2"
            eventually(follows, f"{asker} follows the new control plane", within_s=60)


class EnvoyInTheMeshByDelta(EnvoyInTheMesh):
    """The same in the other variant of xDS."""

    api_type = "DELTA_GRPC"

    def test_each_sidecar_holds_what_the_control_plane_says_it_holds(self):
        names = ("client", "echo", "reco-v1", "reco-v2")
        eventually(lambda: settled(self.control.status(), *names), "every sidecar is settled")
        told = client_status(self.control)
        self.assertEqual(sorted(told), sorted(f"default/{name}" for name in names))
        for name in names:
            dump = fetch(ADMIN_PORT, "/config_dump?include_eds", host=self.at[name]).json
            if name.startswith("reco"):  # Ours, which list endpoints when they are asked for them.
                only = fetch(ADMIN_PORT, "/config_dump?resource=dynamic_endpoint_configs",
                             host=self.at[name]).json
                dump["configs"].append({"dynamic_endpoint_configs": only["configs"]})
            # Envoy lists the endpoints of static clusters among them.
            held = {(kind, resource): version for (kind, resource), version in held_in(dump).items()
                    if kind != "ClusterLoadAssignment" or resource.startswith("outbound:")}
            self.assertEqual(sorted(held), sorted(told[f"default/{name}"]), name)
            for resource, version in held.items():
                # Envoy does not tell that of endpoints.
                if version is not None or name.startswith("reco"):
                    self.assertEqual(version, told[f"default/{name}"][resource], resource)


def held_in(dump):
    """{(kind, name): version} of what came over ADS, of a /config_dump."""
    held = {}
    for section in dump["configs"]:
        for key in ("dynamic_active_clusters", "dynamic_endpoint_configs", "dynamic_listeners",
                    "dynamic_route_configs"):
            for one in section.get(key, []):
                one = one.get("active_state", one)
                body = next(value for field, value in one.items()
                            if field in ("cluster", "endpoint_config", "listener", "route_config"))
                kind = body["@type"].rsplit(".", 1)[1]
                held[kind, body.get("name") or body["cluster_name"]] = one.get("version_info")
    return held


if __name__ == "__main__":
    unittest.main()
