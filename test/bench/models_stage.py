"""Where ./dev bench models is played: the simulated servers and the sidecars, one process each.

Servers and load generator are on the first CPU, sidecars on the second. Envoy sends straight to the
servers, which costs it one hop less than glia-proxy, whose servers have sidecars of their own.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.request

import peers
from peers import BenchError

FAULT_S = 10  # Patience with the servers' admin port.


class Pool(contextlib.AbstractContextManager):
    """The servers; see test/pool/main.cc."""

    def __init__(self, binary, row, cpu):
        words = [f"speed={row.speed}", *row.engine]
        self.process = subprocess.Popen(
            [binary, str(row.servers), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        line = self.process.stdout.readline()
        if not line:
            raise BenchError("the simulated servers did not start (see above)")
        told = json.loads(line)
        self.servers, self.admin = told["servers"], told["admin"]

    def tell(self, server, what):
        request = urllib.request.Request(f"http://{self.admin}/servers/{server}?{what}",
                                         method="POST")
        urllib.request.urlopen(request, timeout=FAULT_S).close()

    def metric(self, name):
        """The sum over all servers."""
        total = 0
        for server in self.servers:
            with urllib.request.urlopen(f"http://{server}/metrics", timeout=FAULT_S) as page:
                found = re.search(rf"^{name}{{.*}} (\S+)$", page.read().decode(), re.MULTILINE)
            total += float(found.group(1))
        return total

    def cpu_seconds(self):
        return time.clock_gettime(~self.process.pid << 3 | 2)  # As in peers.py.

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


BOOTSTRAP = """
node: {{id: {name}, cluster: bench}}
{admin}static_resources:
  listeners:{listeners}
  clusters:{clusters}
"""
LISTENER = """
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: {codec}
          http2_protocol_options: {{max_concurrent_streams: 1000}}
          route_config:
            name: {name}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: {name}, timeout: 0s}}
          http_filters:
{filters}          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"""
READS_MODELS = """\
          - name: glia.filters.http.model_requests
            typed_config:
              "@type": type.googleapis.com/glia.v1.ModelRequests
              always: true
              prefix_hashes: true
"""
# What is counted in seconds, as above.
ADMITS = """\
          - name: glia.admission
            typed_config:
              "@type": type.googleapis.com/glia.v1.Admission
              application: {name}
              wait: {wait}s
"""
CLUSTER = """
  - name: {name}
    type: STATIC
    connect_timeout: 1s
    circuit_breakers:
      thresholds:
      - {{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:{endpoints}
{more}"""
ENDPOINT = """
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"""
HTTP2 = """\
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"""
# What is counted in seconds is divided by how fast time runs, as it is for the servers.
COMPOSED = """\
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: glia.model
          typed_config:
            "@type": type.googleapis.com/glia.v1.ModelBalancing
            half_life: {half_life}s
"""
MODEL_SERVER = """\
    metadata:
      typed_filter_metadata:
        glia.model_server:
          "@type": type.googleapis.com/glia.v1.ModelServer
          engine: VLLM
          metrics_port: {port}
          interval: {interval}s
"""
ADMIN = "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}\n"


def port_of(address):
    return int(address.rsplit(":", 1)[1])


def cluster(name, ports, more):
    return CLUSTER.format(name=name, more=more,
                          endpoints="".join(ENDPOINT.format(port=port) for port in ports))


class Sidecars(peers.Proxy):
    """One process with a listener for each caller, or for each server."""

    def __init__(self, work, cpu, names, text_of):
        self.work = pathlib.Path(work)
        self.work.mkdir(parents=True)
        self.cpu = cpu
        self.ports = dict(zip([*names, "admin"], peers.free_ports(len(names) + 1)))
        self.text_of = text_of
        self.process = None

    def config(self):
        ports = dict(self.ports)
        admin = ADMIN.format(port=ports.pop("admin"))
        listeners, clusters = self.text_of(ports)
        return self.write("bootstrap.yaml", BOOTSTRAP.format(
            name=self.work.name, admin=admin, listeners=listeners, clusters=clusters))

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}{path}",
                                    timeout=FAULT_S) as answer:
            return answer.read().decode()


class GliaSidecars(Sidecars):
    name = "glia-proxy"

    def command(self):
        return [peers.Glia.binary, "-c", self.config(), "--concurrency", "1"]


class EnvoySidecars(Sidecars):
    name = "envoy"

    def command(self):
        return [peers.Envoy.binary(), "-c", self.config(), "--concurrency", "1",
                "--disable-hot-restart", "--log-level", "error"]


def names(kind, count):
    return [f"{kind}-{number}" for number in range(count)]


def envoy_callers(row, pool, policy):
    def text(ports):
        servers = [port_of(server) for server in pool.servers]
        return ("".join(LISTENER.format(name=name, port=port, codec="HTTP1", filters="")
                        for name, port in ports.items()),
                "".join(cluster(name, servers, f"    lb_policy: {policy}\n") for name in ports))
    return text


def glia_callers(row, server_ports, http2):
    more = COMPOSED.format(half_life=1 / row.speed) + (HTTP2 if http2 else "")

    def text(ports):
        return ("".join(LISTENER.format(name=name, port=port, codec="HTTP1", filters=READS_MODELS)
                        for name, port in ports.items()),
                "".join(cluster(name, server_ports, more) for name in ports))
    return text


def glia_servers(row, pool):
    def text(ports):
        listeners = clusters = ""
        for (name, port), server in zip(ports.items(), pool.servers):
            filters = ADMITS.format(name=name, wait=30 / row.speed) if row.deadline_s else ""
            listeners += LISTENER.format(name=name, port=port, codec="HTTP2", filters=filters)
            clusters += cluster(name, [port_of(server)], MODEL_SERVER.format(
                port=port_of(server), interval=max(0.05, 0.5 / row.speed)))
        return listeners, clusters
    return text


@contextlib.contextmanager
def scene(work, pool_binary, cpus, row, contestant, reports=True):
    """The servers, the callers' sidecars, and all sidecars. Without reports, callers send straight to
    the servers."""
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(Pool(pool_binary, row, cpus[0]))
        name, policy = contestant
        started = []
        if name == "envoy":
            callers = EnvoySidecars(f"{work}/callers", cpus[1], names("caller", row.callers),
                                    envoy_callers(row, pool, policy))
        else:
            ports = [port_of(server) for server in pool.servers]
            if reports:
                servers = GliaSidecars(f"{work}/servers", cpus[1], names("server", row.servers),
                                       glia_servers(row, pool))
                stack.callback(servers.stop)
                servers.start()
                started.append(servers)
                ports = [servers.ports[server] for server in names("server", row.servers)]
            callers = GliaSidecars(f"{work}/callers", cpus[1], names("caller", row.callers),
                                   glia_callers(row, ports, reports))
        stack.callback(callers.stop)
        callers.start()
        yield pool, callers, [callers, *started]
