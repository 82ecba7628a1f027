"""What a control plane sends lives for a while only, if it is told so: while it is there its heartbeats keep
everything alive, over both variants of ADS; once it is gone, sidecars drop what they hold.
"""

import unittest

import harness
from harness import Scene, eventually
from meshes import BootstrapSidecar, ControlPlane, MeshFile, ask, free_network, mesh, service, workload
from origins import HttpOrigin

TTL_S = 6
BEATS = 5  # More than go into a time to live.


def status_of(address):
    try:
        return ask(address, "app").status
    except OSError:
        return None


class ResourcesLiveForAWhile(Scene):
    def setUp(self):
        network = free_network()
        self.at = {name: f"{network}.{host}" for host, name in enumerate(("app", "delta", "all"), 1)}
        self.origin = self.enterContext(HttpOrigin("app"))
        self.file = MeshFile(self.directory, [
            mesh(), workload("app", self.at["app"], self.origin.port), service("app"),
            *(workload(name, self.at[name]) for name in ("delta", "all"))])
        self.control = self.enterContext(ControlPlane(
            self.directory, self.file, flags=("--resource-ttl-s", TTL_S)))
        self.sidecars = []

    def start(self, name, api_type="DELTA_GRPC"):
        self.sidecars.append(self.enterContext(BootstrapSidecar(
            self.directory, self.control, name, self.at[name], harness.GLIA_PROXY, api_type)))

    def callers_live_and_die(self, *callers):
        for name in callers:
            eventually(lambda: status_of(self.at[name]) == 200, f"{name} is served")
        for name in callers:
            for kind in ("clusters", "listeners", "routes"):
                eventually(lambda: sum(f"told default/{name} that" in line and f"{kind} live on" in line
                                       for line in self.control.text().splitlines()) >= BEATS,
                           f"{name} has been told often enough that its {kind} live on", within_s=60)
            self.assertEqual(status_of(self.at[name]), 200)
            self.assertNotIn(f"default/{name} refused", self.control.text())
        self.control.process.kill()
        self.control.process.wait()
        for name in callers:
            eventually(lambda: status_of(self.at[name]) != 200, f"{name} has dropped what it held",
                       within_s=2 * TTL_S)
        for sidecar in self.sidecars:
            sidecar.check_alive()

    def test_our_client(self):
        self.start("app")
        self.start("delta")
        self.start("all", api_type="GRPC")
        self.callers_live_and_die("delta", "all")


if __name__ == "__main__":
    unittest.main()
