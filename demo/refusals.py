"""Callers that must not get in: without encryption, without a certificate, without permission."""

import json
import socket
import ssl

import tritonclient.grpc
import tritonclient.utils
import numpy
import urllib3

TIMEOUT_S = 5
REQUEST = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def got_in(stream):
    """Sends a request; was it answered in HTTP? The end, a reset or an alert are refusals."""
    try:
        stream.sendall(REQUEST)
        return stream.recv(64).startswith(b"HTTP/")
    except (ConnectionError, ssl.SSLError):
        return False


def refuses_clear_text(address):
    with socket.create_connection(address, TIMEOUT_S) as stream:
        return not got_in(stream)


def refuses_without_certificate(address):
    """With TLS 1.3 a client may believe that the handshake is over before it is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # We look whether they ask for ours.
    with socket.create_connection(address, TIMEOUT_S) as stream:
        try:
            with context.wrap_socket(stream) as encrypted:
                return not got_in(encrypted)
        except (ConnectionError, ssl.SSLError):
            return True


def call_rest(outbound, service, path):
    """(status, body) of a POST through the sidecar at outbound."""
    host, port = outbound
    with urllib3.HTTPConnectionPool(host, port, retries=False, timeout=TIMEOUT_S) as pool:
        reply = pool.urlopen("POST", path, body=json.dumps({}),
                             headers={"host": service, "content-type": "application/json"})
        return reply.status, reply.data.decode(errors="replace").strip()


def call_grpc(outbound, authority):
    """(status code, message) of an inference call through the sidecar at outbound."""
    host, port = outbound
    tensor = tritonclient.grpc.InferInput("embedding", [1, 384], "FP32")
    tensor.set_data_from_numpy(numpy.zeros((1, 384), numpy.float32))
    client = tritonclient.grpc.InferenceServerClient(
        f"{host}:{port}", channel_args=[("grpc.default_authority", authority)])
    try:
        client.infer("tickets", [tensor], client_timeout=TIMEOUT_S)
        return "OK", ""
    except tritonclient.utils.InferenceServerException as error:
        return error.status().removeprefix("StatusCode."), error.message()
    finally:
        client.close()
