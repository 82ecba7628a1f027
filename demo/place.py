"""Where a run of the demonstration takes place: a loopback network and ports that are free, and
the mesh.yaml that names them."""

import pathlib
import random
import socket
import string
import sys

import yaml

DEMO = pathlib.Path(__file__).resolve().parent
ROOT = DEMO.parent
PORTS = {"http": 8080, "grpc": 8081, "outbound": 15001, "admin": 15000}
HOSTS = (*range(1, 10), *range(102, 106), *range(107, 110))  # Those of mesh.yaml.template.
ATTEMPTS = 200


def is_free(host, port):
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_values():
    """A network "127.x.y" and ports on which every host of the mesh can listen. Ports move too:
    a listener on 0.0.0.0 takes its port on every loopback address."""
    for attempt in range(ATTEMPTS):
        net = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}"
        ports = {name: port + 100 * (attempt // 4) for name, port in PORTS.items()}
        if all(is_free(f"{net}.{host}", port) for host in HOSTS for port in ports.values()):
            return {"net": net} | ports
    raise RuntimeError(f"found no free network in {ATTEMPTS} attempts: is 127.0.0.0/8 up (ip addr show lo)?")


class Place:
    """Addresses of one run. `directory` holds mesh.yaml, logs and state."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.mesh = self.directory / "mesh.yaml"
        values = free_values()
        programs = pathlib.Path(sys.executable).parent
        values |= {"python": sys.executable, "mlserver": str(programs / "mlserver"),
                   "services": str(DEMO / "services")}
        template = string.Template((DEMO / "mesh.yaml.template").read_text())
        self.mesh.write_text(template.substitute(values))
        self.values = values

    def workloads(self):
        """name -> spec of each Workload."""
        return {document["metadata"]["name"]: document["spec"]
                for document in yaml.safe_load_all(self.mesh.read_text())
                if document["kind"] == "Workload"}

    def outbound(self, workload):
        """(host, port) where the sidecar of `workload` takes its application's requests."""
        return self.workloads()[workload]["address"], self.values["outbound"]
