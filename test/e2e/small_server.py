"""HTTP servers of a few lines, for tests that say themselves what is answered."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answering(BaseHTTPRequestHandler):
    """Keeps its connection, writes an answer in one piece and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def asked(self):
        """The body of the request, bytes."""
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, body, status=200, content_type="application/json"):
        """`body`: bytes, or what JSON is made of."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_events(self):
        """The head of an answer that ends with its connection."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()

    def event(self, data, name=None):
        """Leaves at once. `data`: what JSON is made of, or a text as it is."""
        text = data if isinstance(data, str) else json.dumps(data)
        head = f"event: {name}\n" if name else ""
        self.wfile.write(f"{head}data: {text}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass


class SmallServer(ThreadingHTTPServer):
    """Serves from when it is made until its `with` ends. What its handlers share are its attributes."""

    daemon_threads = True

    def __init__(self, handler, address=("127.0.0.1", 0), **shared):
        super().__init__(address, handler)
        vars(self).update(shared)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
