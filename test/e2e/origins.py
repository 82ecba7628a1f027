"""Servers that stand behind a proxy in tests: they tell what they were asked, by whom."""

import collections
import contextlib
import json
import socket
import socketserver
import subprocess
import threading
from http.server import BaseHTTPRequestHandler

import harness

PIECE = bytes(256 * 1024)
# grpcio's own limits are lower than what it is to be tested with here.
GRPC_LIMITS = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1),
               ("grpc.max_metadata_size", 64 * 1024), ("grpc.absolute_max_metadata_size", 64 * 1024)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024

    def do_any(self):
        origin = self.server.origin
        try:
            received = self._read_body()
            if self.path.startswith("/bytes/"):
                self._send_bytes(int(self.path.split("/")[2]))
            else:
                if self.path.startswith("/hang"):
                    origin.hanging.release()
                    origin.let_go.wait()
                self._tell(received)
        except OSError:
            self.close_connection = True  # The proxy went away, as some tests want it to.

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_BREW = do_any

    def _read_body(self):
        """Reads and counts the request's body."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            total = 0
            while size := int(self.rfile.readline().split(b";")[0], 16):
                total += self._skip(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return total
        return self._skip(int(self.headers.get("content-length", 0)))

    def _skip(self, size):
        left = size
        while left:
            piece = self.rfile.read1(min(left, len(PIECE)))
            if not piece:
                raise ConnectionError("the request's body broke off")
            left -= len(piece)
        return size

    def _send_bytes(self, size):
        self.send_response(200)
        self.send_header("content-length", str(size))
        self.end_headers()
        left = size
        while left:
            piece = PIECE[:min(left, len(PIECE))]
            self.wfile.write(piece)
            left -= len(piece)
            self.server.origin.sent += len(piece)

    def _tell(self, received):
        self.server.origin.seen.append((self.command, self.headers.get("host"), self.path))
        told = {"origin": self.server.origin.name, "method": self.command, "path": self.path,
                "headers": {name.lower(): ",".join(self.headers.get_all(name))
                            for name in self.headers},
                "received": received, "peer": self._peer()}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-origin", self.server.origin.name)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _peer(self):
        """The SPIFFE id in the certificate of whoever connected."""
        certificate = getattr(self.connection, "getpeercert", dict)() or {}
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
        return names[0] if names else None

    def log_message(self, *_):
        pass

    def address_string(self):
        return "proxy"


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, *_):
        pass  # A handshake that a test wants to fail, mostly.


class HttpOrigin(contextlib.AbstractContextManager):
    """HTTP/1.1 on a port or UNIX socket, with TLS if given a context. It answers with JSON of what
    it was asked; /bytes/N answers N bytes; /hang answers when let_go is set."""

    def __init__(self, name="origin", tls=None, unix=None, port=0):
        self.name = name
        self.sent = 0
        self.seen = collections.deque(maxlen=1000)  # (method, host, path) of what was answered.
        self.hanging = threading.Semaphore(0)  # Released for each request that hangs.
        self.let_go = threading.Event()
        family = socket.AF_UNIX if unix else socket.AF_INET
        server = type("Server", (_Server,), {"address_family": family})
        self._server = server(str(unix) if unix else ("127.0.0.1", port), _Handler)
        self._server.origin = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True,
                                                  do_handshake_on_connect=False)
        self.port = None if unix else self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_):
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()


class Http2Origin(harness.Program):
    """nghttpd: the files of a directory over HTTP/2 in clear text."""

    def __init__(self, directory, files):
        self.port = harness.free_port()
        super().__init__("nghttpd", [harness.peer("nghttpd"), "--no-tls", "--workers=1",
                                     "--address=127.0.0.1", f"--htdocs={files}", self.port],
                         directory)
        harness.eventually(lambda: harness.can_connect(self.port), "nghttpd listens")


class GrpcOrigin(contextlib.AbstractContextManager):
    """A grpcio server of the service e2e.Echo, whose messages are plain bytes.

    Unary: the request, with the caller's metadata "x-echo" and "x-echo-bin" in the head and the
    trailers; "fail" ends with RESOURCE_EXHAUSTED. Who: this origin's name. Numbers: as many numbers as asked for. Chat:
    answers each message, and counts them when the caller has no more. Collect: all messages in one.
    Hang: until cancelled. "fail" with the metadata "x-details-bin" ends with these status details.
    """

    def __init__(self, name=""):
        import grpc  # Here, so that tests without gRPC do not load it.
        from concurrent import futures
        self._grpc = grpc
        self.cancelled = threading.Semaphore(0)
        self.hanging = threading.Semaphore(0)
        self.deadlines = []
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Who": grpc.unary_unary_rpc_method_handler(lambda request, context: name.encode()),
            "Numbers": grpc.unary_stream_rpc_method_handler(self._numbers),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
            "Hang": grpc.unary_unary_rpc_method_handler(self._hang),
            "Collect": grpc.stream_unary_rpc_method_handler(self._collect),
        }
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=GRPC_LIMITS)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("e2e.Echo", methods),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __exit__(self, *_):
        self._server.stop(grace=0).wait(harness.WITHIN_S)

    def _unary(self, request, context):
        kept = [(key, value) for key, value in context.invocation_metadata()
                if key.startswith("x-echo")]
        context.send_initial_metadata(kept)
        context.set_trailing_metadata(kept)
        details = dict(context.invocation_metadata()).get("x-details-bin")
        if details is not None:
            context.set_trailing_metadata([("grpc-status-details-bin", details)])
        if request == b"fail":
            context.abort(self._grpc.StatusCode.RESOURCE_EXHAUSTED, "no more: 100 % used, häuser")
        return request

    def _numbers(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number
        context.set_trailing_metadata([("x-echo-count", request.decode())])

    def _chat(self, requests, context):
        count = 0
        for message in requests:
            count += 1
            yield message
        yield b"%d messages" % count

    def _collect(self, requests, context):
        return b"".join(requests)

    def _hang(self, request, context):
        ended = threading.Event()
        self.deadlines.append(context.time_remaining())
        if not context.add_callback(ended.set):
            ended.set()
        self.hanging.release()
        ended.wait()
        self.cancelled.release()
        return b""


def run_h2load(*arguments):
    """Runs h2load and returns (requests that succeeded, all its text)."""
    import re
    ran = subprocess.run([harness.peer("h2load"), *map(str, arguments)], capture_output=True,
                         text=True, timeout=harness.WITHIN_S * 3)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", ran.stdout)
    if not counts:
        raise AssertionError(f"h2load: {ran.stdout} {ran.stderr}")
    return int(counts[2]), ran.stdout
