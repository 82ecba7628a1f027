"""Each system call of the request path fails once, at each place where it is made (row K5 of the
checklist of faults): nothing is lost but what it was for, and the next request is served."""

import errno
import json
import mmap
import os
import socket
import struct
import unittest

from bootstrap import bootstrap, cluster, downstream_tls, listener, to
from certificates import Authority, client_context
from harness import BIN, GLIA_PROXY, SANITIZED, WITHIN_S, Program, Scene, eventually, fetch
from origins import HttpOrigin

SHIM = BIN / "test" / "faults" / "fault_shim.so"
PLAN = struct.Struct("IIiI")  # As in fault_shim.cc.
ONE_BYTE = 0  # Instead of an error: the call moves a byte.
CALLS = {
    "recv": (1, (errno.ECONNRESET, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT, ONE_BYTE)),
    "send": (2, (errno.EPIPE, errno.ECONNRESET, errno.EAGAIN, errno.EINTR, errno.ENOBUFS, ONE_BYTE)),
    "sendmsg": (3, (errno.EPIPE, errno.EAGAIN, errno.EINTR, ONE_BYTE)),
    "accept4": (4, (errno.ECONNABORTED, errno.EAGAIN, errno.EINTR, errno.EMFILE)),
    "connect": (5, (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EADDRNOTAVAIL)),
    "socket": (6, (errno.EMFILE, errno.ENOBUFS)),
    "epoll_ctl": (7, (errno.ENOMEM, errno.ENOSPC)),
    "setsockopt": (8, (errno.EINVAL, errno.ENOBUFS)),
}
HARMLESS = {errno.EAGAIN, errno.EINTR, ONE_BYTE}  # Nobody may notice these.
MOST = 60  # Calls of one kind that the scenario may make.


class Faults(Scene):
    def setUp(self):
        if not SHIM.exists():
            self.skipTest("no fault_shim.so; ./dev test builds it")
        if SANITIZED:
            self.skipTest("a sanitizer intercepts these calls itself")
        path = self.directory / "plan"
        path.write_bytes(bytes(PLAN.size))
        self.plan_file = self.enterContext(open(path, "r+b"))
        self.plan = mmap.mmap(self.plan_file.fileno(), PLAN.size)
        authority = Authority(self.directory)
        identity = authority.issue("server")
        self.origin = self.enterContext(HttpOrigin())
        config = self.directory / "faults.yaml"
        admin = self.directory / "faults.admin"
        config.write_text(json.dumps(bootstrap(
            [listener("clear", [to("origin")]),
             listener("secure", [to("origin")], tls=downstream_tls(identity))],
            [cluster("origin", self.origin.port)])))
        self.proxy = self.enterContext(Program(
            "faults", [GLIA_PROXY, "-c", config, "--concurrency", "1", "--admin-address-path", admin],
            self.directory, env={**os.environ, "LD_PRELOAD": str(SHIM), "GLIA_FAULTS": str(path)}))
        eventually(lambda: self.proxy.check_alive() or admin.exists() and admin.read_text(), "it runs")
        port = int(admin.read_text().strip().rpartition(":")[2])
        rows = fetch(port, "/listeners?format=json").json["listener_statuses"]
        self.ports = {row["name"]: row["local_address"]["socket_address"]["port_value"]
                      for row in rows}
        self.tls = client_context(authority)

    def arm(self, call, after, error):
        self.plan[:] = PLAN.pack(0, after, error, 0)
        self.plan[:] = PLAN.pack(call, after, error, 0)

    def struck(self):
        """Whether the call failed; from here on none does."""
        _, after, error, struck = PLAN.unpack(self.plan[:])
        self.plan[:] = PLAN.pack(0, after, error, struck)
        return struck > 0

    def talk(self, listener):
        """Two requests on a connection; the statuses of those that were answered whole."""
        statuses = []
        try:
            caller = socket.create_connection(("127.0.0.1", self.ports[listener]), WITHIN_S)
            if listener == "secure":
                caller = self.tls.wrap_socket(caller, server_hostname="127.0.0.1")
            with caller:
                for path in ("/bytes/100000", "/bytes/10"):
                    caller.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
                    answer = b""
                    while b"\r\n\r\n" not in answer:
                        answer += caller.recv(65536) or self.end()
                    head, _, body = answer.partition(b"\r\n\r\n")
                    fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
                    size = int(fields[b"content-length"])
                    while len(body) < size:
                        body += caller.recv(65536) or self.end()
                    self.assertEqual(len(body), size, "more than the answer")
                    statuses.append(int(head.split()[1]))
                    if fields.get(b"connection") == b"close":
                        break
        except TimeoutError:
            self.fail(f"{listener}: no answer and no end within {WITHIN_S} s")
        except OSError:
            pass
        return statuses

    @staticmethod
    def end():
        raise ConnectionError("ended")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.proxy.pid}/fd"))

    def test_each_call_fails_once_at_each_place(self):
        for name in self.ports:
            self.assertEqual(self.talk(name), [200, 200])
        places = 0
        for call, (number, errors) in CALLS.items():
            for error in errors:
                for after in range(MOST):
                    # Connections to the origin that wait in the pool would hide its connecting.
                    self.arm(number, after, error)
                    seen = {name: self.talk(name) for name in self.ports}
                    struck = self.struck()
                    self.proxy.check_alive()
                    what = f"{call} failing with {errno.errorcode.get(error, 'one byte')}, place {after}"
                    if not struck:
                        break
                    places += 1
                    for name, statuses in seen.items():
                        self.assertLessEqual(set(statuses), {200, 503, 502, 500}, f"{what}: {name}")
                        if error in HARMLESS:
                            self.assertEqual(statuses, [200, 200], f"{what}: {name}")
                    for name in self.ports:
                        self.assertEqual(self.talk(name), [200, 200], f"after {what}")
                else:
                    self.fail(f"{call} is made more than {MOST} times")
        self.assertGreater(places, 100)
        few = self.descriptors()
        self.assertLess(few, 40, "descriptors were left open")


if __name__ == "__main__":
    unittest.main()
