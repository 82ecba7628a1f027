"""Real HTTP/1.1 servers of many makers that tell how many requests they saw, refused ones included.

For the differential test: whatever a client sends, a server behind the proxy must see as many
requests as the proxy meant to send. Each is a context manager with `name`, `port` and seen().
"""

import asyncio
import contextlib
import http.server
import logging
import pathlib
import socket
import threading

import aiohttp.abc
import aiohttp.web
import gevent
import gevent.event
import gevent.pywsgi
import uvicorn

import harness
from bootstrap import bootstrap, listener, says

BODY = b"seen\n"


class _Thread(contextlib.AbstractContextManager):
    """A server that runs in a thread of ours; run() calls opened(port) and returns after stop()."""

    def __init__(self):
        self.port = None
        self._seen = 0
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self.run, name=self.name, daemon=True)

    def __enter__(self):
        self._thread.start()
        if not self._opened.wait(harness.WITHIN_S):
            raise AssertionError(f"{self.name} did not open its port")
        return self

    def __exit__(self, *_):
        self.stop()
        self._thread.join(harness.WITHIN_S)

    def opened(self, port):
        self.port = port
        self._opened.set()

    def count(self):
        self._seen += 1

    def seen(self):
        return self._seen


class PythonHttpServer(_Thread):
    name = "http.server"

    def run(self):
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def parse_request(self):
                origin.count()
                return super().parse_request()

            def do_any(self):
                if "chunked" in self.headers.get("transfer-encoding", "").lower():
                    while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                        self.rfile.read(size + 2)
                    while self.rfile.readline().strip():
                        pass
                else:
                    self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-length", str(len(BODY)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(BODY)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                pass  # A body that breaks off.

        self._server = Server(("127.0.0.1", 0), Handler)
        self.opened(self._server.server_address[1])
        self._server.serve_forever(0.05)
        self._server.server_close()

    def stop(self):
        self._server.shutdown()


class _Asyncio(_Thread):
    def run(self):
        asyncio.run(self._main())

    async def _main(self):
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self.serve()

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)


class Aiohttp(_Asyncio):
    name = "aiohttp"

    async def serve(self):
        origin = self

        class Counter(aiohttp.abc.AbstractAccessLogger):
            enabled = True

            def log(self, request, response, time):
                origin.count()

        async def answer(request):
            with contextlib.suppress(Exception):
                await request.read()
            return aiohttp.web.Response(body=BODY)

        server = aiohttp.web.Server(answer, access_log_class=Counter,
                                    access_log=logging.getLogger("glia.aiohttp"))
        logging.getLogger("aiohttp.server").disabled = True  # It explains every refusal.
        runner = aiohttp.web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.opened(runner.addresses[0][1])
        await self._stop.wait()
        await runner.cleanup()


class Uvicorn(_Asyncio):
    """h11 underneath."""
    name = "uvicorn"

    async def serve(self):
        async def application(scope, receive, send):
            self.count()
            while (event := await receive())["type"] == "http.request" and event.get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-length", b"%d" % len(BODY))]})
            await send({"type": "http.response.body", "body": BODY})

        class Refusals(logging.Handler):
            def emit(handler, record):
                if "Invalid HTTP request" in record.getMessage():
                    self.count()

        logger = logging.getLogger("uvicorn.error")
        logger.propagate = False
        logger.handlers = [Refusals()]
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application, http="h11", ws="none", lifespan="off",
                                               log_config=None, access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        self.opened(listening.getsockname()[1])
        await self._stop.wait()
        server.should_exit = server.force_exit = True
        await serving


class Gevent(_Thread):
    name = "gevent.pywsgi"

    def run(self):
        def application(environment, start):
            with contextlib.suppress(OSError):  # The body broke off.
                environment["wsgi.input"].read()
            start("200 OK", [("content-length", str(len(BODY)))])
            return [BODY]

        class Counter:
            def write(_, line):
                self.count()

        server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), application, log=Counter(),
                                          error_log=None)
        server.start()
        self.opened(server.server_port)
        hub = gevent.get_hub()
        self._ending = hub.loop.async_()
        ended = gevent.event.Event()
        self._ending.start(ended.set)
        ended.wait()
        server.stop(timeout=0.1)

    def stop(self):
        self._ending.send()


class Nginx(harness.Program):
    def __init__(self, directory):
        self.port = harness.free_port()
        self._lines = pathlib.Path(directory, "nginx-requests")
        config = pathlib.Path(directory, "nginx.conf")
        config.write_text(
            f"daemon off; master_process off; pid {directory}/nginx.pid;\n"
            f"error_log {directory}/nginx-errors.log;\nevents {{}}\n"
            "http {\n"
            f"  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/p;\n"
            f"  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u;"
            f" scgi_temp_path {directory}/s;\n"
            f"  access_log {self._lines};\n"
            f"  server {{ listen 127.0.0.1:{self.port};"
            f" location / {{ return 200 \"seen\\n\"; }} }}\n}}\n")
        super().__init__("nginx", [harness.peer("nginx"), "-c", config, "-p", directory],
                         directory)
        harness.eventually(lambda: harness.can_connect(self.port), "nginx listens")

    def seen(self):
        return self._lines.read_bytes().count(b"\n") if self._lines.exists() else 0


class Haproxy(harness.Program):
    def __init__(self, directory):
        self.port = harness.free_port()
        self._seen = 0
        # Not a UNIX socket: the system keeps ten datagrams there.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        config = pathlib.Path(directory, "haproxy.cfg")
        config.write_text(
            f"global\n  log 127.0.0.1:{self._socket.getsockname()[1]} local0\n"
            "defaults\n  mode http\n  timeout client 20s\n  timeout http-request 20s\n"
            # A connection that was opened and said nothing is no request.
            "  option dontlognull\n  log global\n  log-format seen\n  error-log-format seen\n"
            f"frontend f\n  bind 127.0.0.1:{self.port}\n"
            "  http-request return status 200 content-type text/plain string seen\n")
        super().__init__("haproxy", [harness.peer("haproxy"), "-db", "-f", config], directory)
        harness.eventually(lambda: harness.can_connect(self.port), "haproxy listens")

    def seen(self):
        with contextlib.suppress(BlockingIOError):
            while line := self._socket.recv(65536, socket.MSG_DONTWAIT):
                self._seen += line.rstrip().endswith(b"seen")
        return self._seen

    def __exit__(self, *details):
        super().__exit__(*details)
        self._socket.close()


class Envoy(harness.Proxy):
    def __init__(self, directory):
        super().__init__(directory, bootstrap([listener("in", [says(200, "seen\n")])], []),
                         name="envoy", program=harness.envoy())
        self.port = self.ports["in"]

    def seen(self):
        return int(self.metric("envoy_http_downstream_rq_total",
                               envoy_http_conn_manager_prefix="in"))


def all_origins(directory):
    """What this machine has of them; the caller enters them."""
    return [PythonHttpServer, Aiohttp, Uvicorn, Gevent, lambda: Nginx(directory),
            lambda: Haproxy(directory), lambda: Envoy(directory)]
