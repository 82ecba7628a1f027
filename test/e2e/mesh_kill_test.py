"""A mesh whose control plane and sidecars are killed at random moments under load, and started again: no
request fails. Ten times; with GLIA_LONG (./dev test --long) a hundred. Where both are killed, the sidecar is
started first, and serves with what it has kept on disk before there is a control plane again.

The sidecar of the callers is not among them: with it their own connections end (proxy_crash_test.py).
"""

import os
import random
import unittest

from harness import Scene, eventually
from mesh_run_test import Traffic
from meshes import ControlPlane, KeepingSidecar, MeshFile, free_network, mesh, service, settled, workload
from origins import HttpOrigin

KILLS = 100 if os.environ.get("GLIA_LONG") else 10
WITHIN_S = 30
CONTROL = "the control plane"
APPS = ("app-v1", "app-v2")
# What breaks off with the sidecar of a workload is sent to the other one: these requests change nothing.
SENT_AGAIN = {"apiVersion": "glia.dev/v1", "kind": "TrafficPolicy", "metadata": {"name": "app"},
              "spec": {"targetRef": {"name": "app"}, "retry": {
                  "on": ["ConnectFailure", "Reset", "GatewayError"], "attempts": 4, "backoff": "20ms"}}}


class Killed(Scene):
    """Families E and K of the checklist of faults, for a whole mesh."""

    def setUp(self):
        self.seed = random.randrange(1 << 32)
        self.random = random.Random(self.seed)
        network = free_network()
        names = ("client", *APPS)
        self.at = {name: f"{network}.{host}" for host, name in enumerate(names, 1)}
        self.origins = {name: self.enterContext(HttpOrigin(name)) for name in APPS}
        self.file = MeshFile(self.directory, self.objects())
        self.running = {CONTROL: ControlPlane(self.directory, self.file)}
        self.addCleanup(lambda: [one.__exit__() for one in self.running.values()])
        self.joins = {name: self.running[CONTROL].join_file(name) for name in names}
        for name in names:
            self.start(name)
        self.traffic = [Traffic(self.at["client"], "app") for _ in range(3)]
        self.addCleanup(lambda: [one.stop() for one in self.traffic])

    def objects(self, note=""):
        return [mesh(), workload("client", self.at["client"]),
                *(workload(name, self.at[name], self.origins[name].port, app="app") for name in APPS),
                service("app"), *([service(f"note-{note}", app="app")] if note else []), SENT_AGAIN]

    def start(self, name):
        if name == CONTROL:
            port = self.running[name].port
            self.running[name] = ControlPlane(self.directory, self.file, port)
        else:
            self.running[name] = KeepingSidecar(self.directory, name, self.joins[name], self.at[name])
            self.running[name].ready(WITHIN_S)

    def served(self, number):
        """Who answered the next requests of one of the callers, about so many of them."""
        return self.random.choice(self.traffic).counts_of_next(number)

    def all_is_well(self):
        """Every sidecar has what it should have, and both applications answer."""
        eventually(lambda: settled(self.running[CONTROL].status(), "client", *APPS),
                   "every sidecar is up to date", within_s=WITHIN_S)
        eventually(lambda: all(self.served(20).get(name) for name in APPS),
                   "both applications answer", within_s=WITHIN_S)

    def test_no_request_fails_whoever_is_killed(self):
        self.all_is_well()
        for name in APPS:  # A sidecar that was never given a moment to keep anything has to wait.
            self.running[name].kept(within_s=WITHIN_S)
        for i in range(KILLS):
            victims = self.random.choice(((CONTROL,), *((app,) for app in APPS),
                                          *((CONTROL, app) for app in APPS)))
            with self.subTest(seed=self.seed, kill=i, victims=victims):
                self.served(self.random.randrange(1, 60))  # The moment.
                for victim in victims:
                    self.running[victim].__exit__()  # SIGKILL
                self.file.save(self.objects(note=i))  # Also while nobody reads it.
                self.served(20)
                for victim in reversed(victims):
                    self.start(victim)
                    if victim != CONTROL:
                        eventually(lambda: self.served(20).get(victim), f"{victim} answers",
                                   within_s=WITHIN_S)
                self.all_is_well()
        self.assertEqual([failure for one in self.traffic for failure in one.stop()], [])


if __name__ == "__main__":
    unittest.main()
