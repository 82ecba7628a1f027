"""Relayed connections on real sockets, and the PROXY protocol with HAProxy and nginx on the other end."""

import contextlib
import os
import socket
import socketserver
import ssl
import struct
import threading
import unittest

from bootstrap import TYPES, bootstrap, cluster, listener, socket_address, to
from certificates import Authority
from harness import Program, Proxy, Scene, can_connect, eventually, fetch, free_port, peer
from origins import HttpOrigin

MUCH = 256 << 20
GROWTH_MOST = 16 << 20  # bytes of memory, whatever is relayed
PROXY_TYPE = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
INSPECTORS = {"proxy": "proxy_protocol.v3.ProxyProtocol", "tls": "tls_inspector.v3.TlsInspector",
              "http": "http_inspector.v3.HttpInspector"}


def relay(name, target, match=None, log=None, **more):
    """A filter chain that relays to a cluster."""
    config = {"@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": name,
              "cluster": target, **more}
    if log:
        config["access_log"] = [{"name": "log", "typed_config": {
            "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": str(log)}}]
    chain = {"filters": [{"name": "tcp", "typed_config": config}]}
    return {**chain, "filter_chain_match": match} if match else chain


def tcp_listener(name, *chains, look=(), **more):
    filters = [{"name": word, "typed_config": {"@type": f"{TYPES}.filters.listener.{INSPECTORS[word]}"}}
               for word in look]
    return {"name": name, "address": socket_address(0), "filter_chains": list(chains),
            "listener_filters": filters, **more}


def looking(found, *look):
    """The listener `found`, with listener filters."""
    return {**found, "listener_filters": tcp_listener("", look=look)["listener_filters"]}


def proxy_header(version):
    return {"name": "envoy.transport_sockets.upstream_proxy_protocol", "typed_config": {
        "@type": f"type.googleapis.com/{PROXY_TYPE}", "config": {"version": version},
        "transport_socket": {"name": "envoy.transport_sockets.raw_buffer"}}}


class TcpOrigin(contextlib.AbstractContextManager):
    """Greets, sends back what it is sent, and when that ends says how much it was. `N bytes` instead
    answers with so many."""

    def __init__(self, greeting=b"", tls=None):
        origin = self
        self.resets = threading.Semaphore(0)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    origin._talk(self.request)
                except ConnectionResetError:
                    origin.resets.release()
                except OSError:
                    pass

        class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
            daemon_threads = True
            block_on_close = False

        self._greeting = greeting
        self._server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True,
                                                  do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _talk(self, connection):
        connection.sendall(self._greeting)
        total = 0
        while piece := connection.recv(1 << 18):
            total += len(piece)
            if piece.endswith(b" bytes"):
                left = int(piece.split()[0])
                while left:
                    left -= connection.send(bytes(min(left, 1 << 20)))
            elif piece == b"reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return connection.close()
            elif total < 1 << 20:
                connection.sendall(piece)
        connection.sendall(b"; %d in all" % total)
        connection.shutdown(socket.SHUT_WR)


def read_all(connection):
    pieces = []
    while piece := connection.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


class Relays(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.enterClassContext(TcpOrigin(b"hello; "))
        cls.log = cls.directory / "access.log"
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [tcp_listener("tcp", relay("tcp", "origin", log=cls.log)),
             tcp_listener("retry", relay("retry", "some")),
             tcp_listener("nowhere", relay("nowhere", "dead"))],
            [cluster("origin", cls.origin.port), cluster("dead", free_port()),
             cluster("some", free_port(), cls.origin.port)])))

    def connect(self, name="tcp"):
        return socket.create_connection(("127.0.0.1", self.proxy.ports[name]), timeout=60)

    def test_an_end_is_an_end_in_one_direction(self):
        with self.connect() as caller:
            self.assertEqual(caller.recv(7, socket.MSG_WAITALL), b"hello; ")
            caller.sendall(b"abc")
            self.assertEqual(caller.recv(3, socket.MSG_WAITALL), b"abc")
            caller.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(caller), b"; 3 in all")
            local = "%s:%d" % caller.getsockname()
        line = eventually(lambda: [one for one in self.access_log(1)
                                   if one["downstream_remote_address"] == local], "its log line")[0]
        self.assertEqual((line["protocol"], line["response_flags"], line["bytes_received"],
                          line["bytes_sent"], line["upstream_cluster"], line["upstream_host"]),
                         ("TCP", "-", 3, 20, "origin", f"127.0.0.1:{self.origin.port}"))

    def test_a_reset_stays_a_reset(self):
        with self.connect() as caller:
            caller.recv(7, socket.MSG_WAITALL)
            caller.sendall(b"reset")
            with self.assertRaises(ConnectionResetError):
                read_all(caller)
        caller = self.connect()
        caller.recv(7, socket.MSG_WAITALL)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()
        self.assertTrue(self.origin.resets.acquire(timeout=20))

    def test_another_endpoint_is_tried(self):
        for _ in range(4):
            with self.connect("retry") as caller:
                self.assertEqual(caller.recv(7, socket.MSG_WAITALL), b"hello; ")

    def test_a_caller_is_closed_when_there_is_no_upstream(self):
        with self.connect("nowhere") as caller:
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(read_all(caller), b"")

    def test_much_passes_through_little_memory(self):
        idle = self.proxy.memory()
        self.proxy.forget_memory_peak()
        with self.connect() as caller:
            caller.recv(7, socket.MSG_WAITALL)
            caller.sendall(b"%d bytes" % MUCH)
            got = 0
            while got < MUCH:
                piece = caller.recv(1 << 18)
                self.assertTrue(piece)
                got += len(piece)
            piece, sent = bytes(1 << 20), 0
            while sent < MUCH:
                caller.sendall(piece)
                sent += len(piece)
            caller.shutdown(socket.SHUT_WR)
            said = len(b"%d bytes" % MUCH) + sent
            self.assertTrue(read_all(caller).endswith(b"; %d in all" % said))
        self.assertLessEqual(self.proxy.memory("VmHWM") - idle, GROWTH_MOST)


class ByBeginning(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        authority = Authority(cls.directory)
        cls.authority = authority

        def tls(name):
            identity = authority.issue(name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity.certificate, identity.key)
            return context
        a = cls.enterClassContext(HttpOrigin("a", tls=tls("a")))
        b = cls.enterClassContext(HttpOrigin("b", tls=tls("b")))
        plain = cls.enterClassContext(HttpOrigin("plain"))
        first = cls.enterClassContext(TcpOrigin(b"220 welcome"))
        http = listener("x", [to("plain")])["filter_chains"][0]
        http["filter_chain_match"] = {"application_protocols": ["http/1.1", "h2c"],
                                      "transport_protocol": "raw_buffer"}
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [tcp_listener("all", relay("a", "a", {"server_names": ["a.e2e"]}),
                          relay("b", "b", {"server_names": ["b.e2e"]}), http,
                          relay("rest", "first", {"transport_protocol": "raw_buffer"}),
                          look=("tls", "http"), listener_filters_timeout="0.1s",
                          continue_on_listener_filters_timeout=True)],
            [cluster("a", a.port), cluster("b", b.port), cluster("plain", plain.port),
             cluster("first", first.port)])))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.proxy.ports["all"]), timeout=60)

    def ask_by_name(self, name):
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        with context.wrap_socket(self.connect(), server_hostname=name) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return read_all(caller)

    def test_tls_goes_to_whom_it_names_and_ends_there(self):
        self.assertIn(b"x-origin: a", self.ask_by_name("a.e2e"))
        self.assertIn(b"x-origin: b", self.ask_by_name("b.e2e"))
        with self.assertRaises(OSError):
            self.ask_by_name("c.e2e")

    def test_http_is_told_from_the_rest(self):
        self.assertEqual(self.proxy.fetch("/", "all").json["origin"], "plain")
        with self.connect() as caller:
            caller.sendall(b"EHLO a\r\n")
            self.assertEqual(caller.recv(11, socket.MSG_WAITALL), b"220 welcome")

    def test_a_silent_client_hears_the_server(self):
        with self.connect() as caller:
            self.assertEqual(caller.recv(11, socket.MSG_WAITALL), b"220 welcome")


HAPROXY = """
global
  log stderr local0
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend takes
  bind 127.0.0.1:{takes} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%ci:%cp"
frontend sends-v1
  mode tcp
  bind 127.0.0.1:{v1}
  default_backend to-v1
backend to-v1
  mode tcp
  server glia 127.0.0.1:{glia} send-proxy
frontend sends-v2
  mode tcp
  bind 127.0.0.1:{v2}
  default_backend to-v2
backend to-v2
  mode tcp
  server glia 127.0.0.1:{glia} send-proxy-v2 proxy-v2-options unique-id,crc32c
"""
NGINX = """
daemon off;
pid {work}/nginx.pid;
error_log stderr error;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {work}/nginx;
  proxy_temp_path {work}/nginx;
  fastcgi_temp_path {work}/nginx;
  uwsgi_temp_path {work}/nginx;
  scgi_temp_path {work}/nginx;
  server {{
    listen 127.0.0.1:{port} proxy_protocol;
    location / {{ return 200 "$proxy_protocol_addr:$proxy_protocol_port"; }}
  }}
}}
"""


class ProxyProtocol(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        ports = {name: free_port() for name in ("takes", "v1", "v2", "glia", "nginx")}
        cls.ports = ports
        nginx = cls.directory / "nginx.conf"
        nginx.write_text(NGINX.format(work=cls.directory, port=ports["nginx"]))
        origin = cls.enterClassContext(HttpOrigin())
        front = looking(listener("front", [to("origin")], log=cls.directory / "access.log",
                                 address=ports["glia"]), "proxy")
        cls.enterClassContext(Program("nginx", [peer("nginx"), "-c", nginx, "-e", "stderr"],
                                      cls.directory))
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [front,
             tcp_listener("to-haproxy", relay("h", "haproxy-v1")),
             tcp_listener("to-haproxy-v2", relay("h2", "haproxy-v2")),
             tcp_listener("to-nginx", relay("n", "nginx-v1")),
             listener("http-to-haproxy", [to("haproxy-v2")]),
             listener("http-to-nginx", [to("nginx-v1")])],
            [cluster("origin", origin.port)] +
            [cluster(f"{name}-{version.lower()}", ports[port], transport_socket=proxy_header(version))
             for name, port in (("haproxy", "takes"), ("nginx", "nginx"))
             for version in ("V1", "V2")])))
        config = cls.directory / "haproxy.cfg"
        config.write_text(HAPROXY.format(**ports))
        cls.enterClassContext(Program("haproxy", [peer("haproxy"), "-db", "-f", config],
                                      cls.directory))
        for name in ("v1", "v2", "nginx"):
            eventually(lambda name=name: can_connect(ports[name]), f"{name} listens")

    def ask(self, port):
        """The answer on a connection of its own, and the address that this came from."""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
            local = "%s:%d" % caller.getsockname()
            caller.sendall(b"GET /%s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                           % local.encode())
            return read_all(caller), local

    def test_haproxy_names_the_client(self):
        for sender in ("v1", "v2"):
            answer, local = self.ask(self.ports[sender])
            self.assertIn(b"200 OK", answer)
            line = eventually(lambda: [one for one in self.access_log(1)
                                       if one["path"] == f"/{local}"], "its log line")[0]
            self.assertEqual(line["downstream_remote_address"], local)

    def test_the_client_is_named_to_haproxy_and_nginx(self):
        for name in ("to-haproxy", "to-haproxy-v2", "to-nginx", "http-to-haproxy", "http-to-nginx"):
            answer, local = self.ask(self.proxy.ports[name])
            self.assertTrue(answer.endswith(local.encode()), f"{name}: {answer}")

    def test_no_client_is_named_as_another(self):
        """Keep-alive on both sides: an upstream connection still serves one client alone."""
        connections = [socket.create_connection(
            ("127.0.0.1", self.proxy.ports["http-to-haproxy"]), timeout=20) for _ in range(4)]
        try:
            for _ in range(3):
                for caller in connections:
                    caller.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    local = "%s:%d" % caller.getsockname()
                    answer = b""
                    while not answer.endswith(local.encode()):
                        piece = caller.recv(4096)
                        self.assertTrue(piece, answer)
                        answer += piece
        finally:
            for caller in connections:
                caller.close()

    def test_what_does_not_name_its_client_is_closed(self):
        with self.assertRaises(OSError):
            fetch(self.ports["glia"])
        for begin in (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\nGET / HTTP/1.1\r\n\r\n", os.urandom(64)):
            with socket.create_connection(("127.0.0.1", self.ports["glia"]), timeout=20) as caller:
                caller.sendall(begin)
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(read_all(caller), b"")


if __name__ == "__main__":
    unittest.main()
