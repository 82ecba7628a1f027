"""A mesh of real processes that is changed at random (weights, endpoints, policies, names of clusters and
listeners) under HTTP/1.1 and gRPC, with calls that stream through many changes: no request fails, no
stream is cut. 30 changes; with GLIA_LONG (./dev test --long) 300. test/sim_mesh/push_test.cc makes
1,000 in virtual time, with certificates and HTTP/2 as well.
"""

import os
import random
import threading
import unittest

from harness import Scene, eventually
from mesh_run_test import Traffic
from meshes import (OUTBOUND_PORT, ControlPlane, MeshFile, Sidecar, free_network, mesh, policy, service,
                    settled, split, workload)
from origins import GrpcOrigin, HttpOrigin

PUSHES = 300 if os.environ.get("GLIA_LONG") else 30
WITHIN_S = 30
VERSIONS = ("v1", "v2", "v3")


class Streams(threading.Thread):
    """Calls of e2e.Echo/Chat, one after the other; each sends and gets messages for a while."""

    MESSAGES = 100

    def __init__(self, address):
        super().__init__(daemon=True)
        self.ended, self.failures = 0, []
        self._address, self._ending = address, threading.Event()
        self.start()

    def run(self):
        import grpc
        with grpc.insecure_channel(f"{self._address}:{OUTBOUND_PORT}",
                                   options=[("grpc.default_authority", "talk")]) as channel:
            chat = channel.stream_stream("/e2e.Echo/Chat")
            while not self._ending.is_set():
                try:
                    self._talk(chat)
                    self.ended += 1
                except grpc.RpcError as error:
                    self.failures.append(f"{error.code()}: {error.details()}")

    def _talk(self, chat):
        turn = threading.Semaphore(1)

        def messages():
            for number in range(self.MESSAGES):
                turn.acquire()
                self._ending.wait(0.02)  # A stream lives through many changes.
                yield str(number).encode()
        for _ in chat(messages()):
            turn.release()

    def stop(self):
        self._ending.set()
        self.join()
        return self.failures


class Pushes(Scene):
    def setUp(self):
        self.seed = random.randrange(1 << 32)
        self.random = random.Random(self.seed)
        network = free_network()
        self.names = [f"app-{version}" for version in VERSIONS] + ["talk-a", "talk-b"]
        self.at = {name: f"{network}.{host}" for host, name in enumerate(["client", *self.names], 1)}
        self.origins = {name: self.enterContext(
            HttpOrigin(name) if name.startswith("app") else GrpcOrigin(name)) for name in self.names}
        self.weights = dict.fromkeys(VERSIONS, 1)
        self.away, self.generation, self.port, self.policy, self.extra = None, 0, "http", False, False
        self.file = MeshFile(self.directory, self.objects())
        self.control = self.enterContext(ControlPlane(self.directory, self.file))
        for name, address in self.at.items():
            self.enterContext(Sidecar(self.directory, self.control, name, address))
        self.load = [*(Traffic(self.at["client"], "app") for _ in range(3)),
                     *(Streams(self.at["client"]) for _ in range(2))]
        self.addCleanup(lambda: [one.stop() for one in self.load])

    def server(self, name):
        kind, version = name.split("-")
        made = workload(name, self.at[name], self.origins[name].port, version,
                        "away" if name == self.away else kind, identity=kind)
        made["spec"]["ports"][0].update(
            name=self.port, **({"protocol": "GRPC"} if kind == "talk" else {}))
        return made

    def to(self, name, **selector):
        made = service(name, **selector)
        made["spec"]["ports"][0]["targetPort"] = self.port
        return made

    def objects(self):
        backends = {f"{version}g{self.generation}": weight for version, weight in self.weights.items()}
        return [mesh(), workload("client", self.at["client"]), *map(self.server, self.names),
                self.to("app"), self.to("talk"),
                *(self.to(f"app-{version}g{self.generation}", app="app", version=version)
                  for version in VERSIONS),
                split("app", **backends),
                *([policy("callers", "app", "client", "nobody")] if self.policy else []),
                *([self.to("extra", app="app")] if self.extra else [])]

    def push(self):
        kind = self.random.choice(("weights", "endpoints", "cluster", "listener", "policy", "service"))
        if kind == "weights":
            self.weights = {version: self.random.randrange(1, 4) for version in VERSIONS}
        elif kind == "endpoints":
            self.away = None if self.away else self.random.choice(self.names)
        elif kind == "cluster":
            self.generation += 1
        elif kind == "listener":
            self.port = "web" if self.port == "http" else "http"
        elif kind == "policy":
            self.policy = not self.policy
        else:
            self.extra = not self.extra
        for version in VERSIONS:  # Nothing goes to who is away.
            self.weights[version] = 0 if self.away == f"app-{version}" else self.weights[version] or 1
        self.file.save(self.objects())
        return kind

    def test_no_request_fails_and_no_stream_is_cut(self):
        for i in range(PUSHES):
            kind = self.push()
            with self.subTest(seed=self.seed, push=i, kind=kind):
                self.load[0].counts_of_next(self.random.randrange(1, 100))
                self.assertEqual([one.failures for one in self.load if one.failures], [])
        eventually(lambda: settled(self.control.status(), *self.at), "all is accepted", within_s=WITHIN_S)
        eventually(lambda: self.load[-1].ended > 1, "streams end by themselves", within_s=WITHIN_S)
        self.assertEqual([failure for one in self.load for failure in one.stop()], [])


if __name__ == "__main__":
    unittest.main()
