"""Sidecars that hold only what they have used (discovery: OnDemand): the first request to a Service waits
for the way there, what is unknown or forbidden is answered with the reason, a lost control plane is
waited for and not for ever, and memory follows use. With GLIA_LONG (./dev test --long) the mesh of the
memory test has 1,000 Services, else 200.
"""

import os
import time
import unittest

import harness
from harness import Scene, eventually
from meshes import (ADMIN_PORT, BootstrapSidecar, ControlPlane, MeshFile, Sidecar, ask, free_network, mesh,
                    service, workload)
from origins import HttpOrigin

SERVICES = 1000 if os.environ.get("GLIA_LONG") else 200
WAIT_S = 5  # kDiscoverHost


def clusters_of(address):
    """Names of the outbound clusters that a sidecar holds."""
    dump = harness.fetch(ADMIN_PORT, "/config_dump", host=address).json
    configs = next(one for one in dump["configs"] if one["@type"].endswith("ClustersConfigDump"))
    names = (one["cluster"]["name"] for one in configs.get("dynamic_active_clusters", []))
    return sorted(name for name in names if name.startswith("outbound:"))


class OnDemand(Scene):
    def setUp(self):
        network = free_network()
        self.at = {name: f"{network}.{host}" for host, name in enumerate(("web", "narrow", "app"), 1)}
        self.origin = self.enterContext(HttpOrigin("app"))
        self.file = MeshFile(self.directory, self.objects())
        self.control = self.enterContext(ControlPlane(self.directory, self.file))
        for name, address in self.at.items():
            self.enterContext(Sidecar(self.directory, self.control, name, address))

    def objects(self, *more, egress=("app",)):
        return [mesh(discovery="OnDemand"), workload("web", self.at["web"]),
                workload("narrow", self.at["narrow"], egress=list(egress)),
                workload("app", self.at["app"], self.origin.port),
                *(service(name, app="app") for name in ("app", "other", "third", *more))]

    def test_the_first_request_finds_its_way_and_the_second_goes_it(self):
        web = self.at["web"]
        self.assertEqual(clusters_of(web), [])
        first = ask(web, "app", "/first")
        self.assertEqual(first.status, 200, first)
        self.assertEqual(clusters_of(web), ["outbound:80:app.default"])
        asked = self.control.text().count("hosts that it asked for")
        self.assertEqual(ask(web, "app.default.svc:80").status, 200)
        self.assertEqual(self.control.text().count("hosts that it asked for"), asked)
        self.assertEqual(clusters_of(self.at["app"]), [])

    def test_unknown_and_forbidden_are_answered_with_the_reason(self):
        unknown = ask(self.at["web"], "nothing")
        self.assertEqual(unknown.status, 404)
        self.assertTrue(unknown.text.startswith("no Service has the host name nothing; write NAME"), unknown)
        port = ask(self.at["web"], "app:81")
        self.assertEqual(port.status, 404)
        self.assertTrue(port.text.startswith("Service default/app is not known as app:81"), port)
        self.assertEqual(ask(self.at["narrow"], "app").status, 200)
        forbidden = ask(self.at["narrow"], "other")
        self.assertEqual(forbidden.status, 403)
        self.assertTrue(forbidden.text.startswith(
            "Workload default/narrow may not call Service default/other; its spec.egress"), forbidden)
        # What is forbidden later is taken away, what is new is found.
        self.file.save(self.objects("fourth", egress=("other",)))
        eventually(lambda: ask(self.at["narrow"], "app").status == 403, "app is forbidden")
        self.assertEqual(ask(self.at["narrow"], "other").status, 200)
        self.assertEqual(ask(self.at["web"], "fourth").status, 200)

    def test_without_control_plane_what_is_held_is_used_and_the_rest_waits_a_while(self):
        web = self.at["web"]
        self.assertEqual(ask(web, "app").status, 200)
        port = self.control.port
        self.control.process.kill()
        self.control.process.wait()
        self.assertEqual(ask(web, "app").status, 200)
        began = time.monotonic()
        lost = ask(web, "other")
        self.assertEqual(lost.status, 503)
        self.assertTrue(lost.text.startswith("the control plane did not say within 5000 ms where other is"),
                        lost)
        self.assertGreater(time.monotonic() - began, WAIT_S - 1)
        self.assertEqual(lost.headers["x-glia-reason"], "no_cluster")
        self.enterContext(ControlPlane(self.directory, self.file, port))
        eventually(lambda: ask(web, "other").status == 200, "the rest is found again", within_s=60)
        # Nothing that was held is taken away by a control plane that does not know of it.
        self.assertEqual(clusters_of(web), ["outbound:80:app.default", "outbound:80:other.default"])

    def test_what_nobody_uses_is_given_back_and_found_again_without_a_failure(self):
        port = self.control.port
        self.control.process.kill()
        self.control.process.wait()
        self.control = self.enterContext(ControlPlane(
            self.directory, self.file, port, flags=("--forget-hosts-after-s", 2)))
        web = self.at["web"]
        eventually(lambda: ask(web, "app").status == 200, "it is there again", within_s=60)

        def held():
            # What is used all the time is never given back, nor fails.
            self.assertEqual(ask(web, "app").status, 200)
            return clusters_of(web)
        for _ in range(3):
            for name in ("other", "third"):
                self.assertEqual(ask(web, name).status, 200)  # At whatever moment.
            eventually(lambda: held() == ["outbound:80:app.default"], "the others are given back")
        self.assertGreaterEqual(self.given_back(web), 6)

    def given_back(self, address):
        page = harness.fetch(ADMIN_PORT, "/stats/prometheus", host=address).text
        return float(next(line for line in page.splitlines()
                          if line.startswith("glia_hosts_given_back_total ")).split()[1])

    def test_what_is_relayed_is_held_from_the_start(self):
        database = service("db", app="app")
        database["spec"]["ports"][0].update(port=5432, appProtocol="tcp")
        self.file.save([*self.objects(), database])
        eventually(lambda: clusters_of(self.at["web"]) == ["outbound:5432:db.default"],
                   "a connection names no host that could be asked for")
        self.assertEqual(clusters_of(self.at["narrow"]), [], "its egress is app alone")
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        del database["spec"]["ports"][0]["appProtocol"]
        self.file.save([*self.objects(), database])
        eventually(lambda: clusters_of(self.at["web"]) == ["outbound:80:app.default"], "it is like all others")

    def test_one_that_cannot_ask_holds_everything(self):
        sidecar = self.enterContext(BootstrapSidecar(
            self.directory, self.control, "third", self.third(), harness.GLIA_PROXY))
        eventually(lambda: len(clusters_of(sidecar.address)) == 3, "it holds all three")

    def third(self):
        address = self.at["web"].rpartition(".")[0] + ".9"
        self.file.save([*self.objects(), workload("third", address)])
        eventually(self.third_may_join, "the workload is known")
        return address

    def third_may_join(self):
        try:
            return self.control.join_file("third")
        except AssertionError:  # The file has not been read again yet.
            return None


@unittest.skipIf(harness.SANITIZED, "memory is not theirs")
class MemoryFollowsUse(Scene):
    """Resident memory of a sidecar of a small mesh and of a large one."""

    def resident(self, services, discovery):
        network = free_network()
        directory = self.directory / f"{discovery}-{services}"
        directory.mkdir()
        web, app = f"{network}.1", f"{network}.2"
        with HttpOrigin("app") as origin:
            file = MeshFile(directory, [
                mesh(discovery=discovery), workload("web", web), workload("app", app, origin.port),
                *(service(f"app-{number}", app="app") for number in range(services))])
            with ControlPlane(directory, file) as control, \
                    Sidecar(directory, control, "app", app), \
                    Sidecar(directory, control, "web", web) as sidecar:
                self.assertEqual(ask(web, "app-0").status, 200)
                held = services if discovery == "All" else 1
                eventually(lambda: len(clusters_of(web)) == held, "it holds what it shall")
                return sidecar.memory()

    def test_on_demand(self):
        seen = {(discovery, services): self.resident(services, discovery)
                for discovery in ("All", "OnDemand") for services in (1, SERVICES)}
        for (discovery, services), memory in seen.items():
            print(f"{discovery:9} {services:5} services: {memory / 1e6:6.1f} MB resident")
        self.assertLess(seen["OnDemand", SERVICES] - seen["OnDemand", 1], 1_000_000)
        self.assertGreater(seen["All", SERVICES] - seen["All", 1], 1_000_000)


if __name__ == "__main__":
    unittest.main()
