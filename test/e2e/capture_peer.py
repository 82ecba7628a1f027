"""What stands at the ends of captured connections: capture_peer.py serve NAME, or one question, of which
the answer is printed as JSON. Nothing here knows of a mesh."""

import http.client
import http.server
import json
import signal
import socket
import socketserver
import sys
import threading
import time
import urllib.parse

import model_server

HTTP, GRPC, TCP, UDP, OTHER, LEFT_OUT, MODEL = 8080, 8081, 5432, 9000, 9090, 9999, 8000
WITHIN_S = 8


def everywhere(server, port, handler):
    """A server on all addresses of both families."""
    class Server(server):
        address_family = socket.AF_INET6
        allow_reuse_address = True
        daemon_threads = True

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()
    made = Server(("::", port), handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()


def serve(name):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    class Web(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            size = int(self.headers.get("content-length", 0))
            body = json.dumps({
                "name": name, "host": self.headers["host"], "path": self.path,
                "caller": self.headers.get("x-forwarded-client-cert", ""),
                "body": self.rfile.read(size).decode(),
                "from": self.client_address[0]}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        do_POST = do_GET

        def log_message(self, *_):
            pass

    class Greeter(socketserver.StreamRequestHandler):
        """As databases and mail servers do: the server speaks first."""

        def handle(self):
            self.wfile.write(f"welcome to {name}\n".encode())
            for line in self.rfile:
                self.wfile.write(b"heard " + line)

    class Datagrams(socketserver.BaseRequestHandler):
        def handle(self):
            data, reply = self.request
            reply.sendto(name.encode() + b" " + data, self.client_address)

    for port in (HTTP, OTHER, LEFT_OUT):
        everywhere(http.server.ThreadingHTTPServer, port, Web)
    everywhere(socketserver.ThreadingTCPServer, TCP, Greeter)
    everywhere(socketserver.ThreadingUDPServer, UDP, Datagrams)
    serve_grpc(name)
    models = model_server.ModelServer(name, ("0.0.0.0", MODEL))
    print("serving", flush=True)
    with models:
        signal.sigwait([signal.SIGTERM])


def serve_grpc(name):
    import concurrent.futures

    import grpc

    def echo(request, context):
        return name.encode() + b" heard " + request
    handler = grpc.method_handlers_generic_handler(
        "e2e.Echo", {"Say": grpc.unary_unary_rpc_method_handler(echo)})
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[handler])
    server.add_insecure_port(f"[::]:{GRPC}")
    server.start()
    serve_grpc.server = server  # Ends when nobody holds it.


def ask_http(url, host="", body="", caller=""):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=WITHIN_S)
    connection.request("POST" if body else "GET", parts.path or "/", body=body or None,
                       headers={name: value for name, value in (
                           ("Host", host), ("x-forwarded-client-cert", caller)) if value})
    answer = connection.getresponse()
    text = answer.read().decode()
    return {"status": answer.status, "text": text} | (
        json.loads(text) if answer.getheader("content-type") == "application/json" else {})


def ask_chat(host, port, prompt):
    """A streamed answer of a model, as OpenAI's clients ask for it."""
    connection = http.client.HTTPConnection(host, int(port), timeout=WITHIN_S)
    connection.request("POST", "/v1/chat/completions", headers={"content-type": "application/json"},
                       body=json.dumps({"model": "tiny", "stream": True, "messages": [
                           {"role": "user", "content": prompt}]}))
    answer = connection.getresponse()
    events = [line.removeprefix("data: ") for line in answer.read().decode().splitlines()
              if line.startswith("data: ")]
    text = "".join(json.loads(event)["choices"][0]["delta"].get("content", "")
                   for event in events if event != "[DONE]")
    return {"status": answer.status, "text": text, "type": answer.getheader("content-type")}


def ask_tcp(host, port, line, first="server"):
    start = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as peer:
        stream = peer.makefile("rwb")
        greeting, waited = "", 0
        if first == "server":
            greeting = stream.readline().decode()
            waited = time.monotonic() - start
        stream.write(line.encode() + b"\n")
        stream.flush()
        if first == "client":
            greeting = stream.readline().decode()
        return {"greeting": greeting, "answer": stream.readline().decode(), "waited": waited}


def ask_udp(host, port, text):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.settimeout(WITHIN_S)
        peer.sendto(text.encode(), (host, int(port)))
        return {"answer": peer.recv(1000).decode()}


def ask_grpc(target, text):
    import grpc
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        say = channel.unary_unary("/e2e.Echo/Say")
        return {"answer": say(text.encode(), timeout=WITHIN_S).decode()}


def sniff(path):
    """All frames of this namespace, one after the other, until the end."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire, \
            open(path, "wb", buffering=0) as out:
        print("listening", flush=True)
        while True:
            out.write(wire.recv(65536))


if __name__ == "__main__":
    question, *words = sys.argv[1:]
    if question == "serve":
        serve(*words)
    elif question == "sniff":
        sniff(*words)
    else:
        try:
            seen = {"http": ask_http, "tcp": ask_tcp, "udp": ask_udp, "grpc": ask_grpc,
                    "chat": ask_chat}[question](
                *words)
        except Exception as error:  # What an application would see.
            seen = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(seen))
