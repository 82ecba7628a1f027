"""glia-proxy as the operating system treats it: killed at any moment, made to dump its memory."""

import json
import os
import random
import resource
import signal
import socket
import statistics
import threading
import time
import unittest

from bootstrap import bootstrap, cluster, listener, to
from harness import GLIA_PROXY, SANITIZED, WITHIN_S, Program, Scene, eventually, free_port
from origins import HttpOrigin

KILLS = 30
SERVES_WITHIN_S = 0.2  # From its start to the first answer, most of the time.
DUMPED = 0x80  # In the status that wait() gives.


def ask(family, address):
    """The status of one request, or 0."""
    try:
        with socket.socket(family) as caller:
            caller.settimeout(WITHIN_S)
            caller.connect(address)
            caller.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            answer = b""
            while piece := caller.recv(65536):
                answer += piece
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0
    except OSError:
        return 0


class Killed(Scene):
    """K1 of the checklist of faults: kill -9 at random moments under load."""

    def test_serves_again_at_once_on_the_same_port_and_socket(self):
        origin = self.enterContext(HttpOrigin())
        port, path = free_port(), str(self.directory / "in.sock")
        config = self.directory / "killed.yaml"
        config.write_text(json.dumps(bootstrap(
            [listener("tcp", [to("origin")], address=("127.0.0.1", port),
                      log=self.directory / "access.log"),
             listener("unix", [to("origin")], address=(path, None))],
            [cluster("origin", origin.port)])))
        seed = random.SystemRandom().randrange(1 << 32)
        moments = random.Random(seed)
        stop = threading.Event()
        where = ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_UNIX, path))

        def load(family, address):
            while not stop.is_set():
                ask(family, address)

        callers = [threading.Thread(target=load, args=one) for one in where for _ in range(2)]
        for caller in callers:
            caller.start()
        took = []
        try:
            for i in range(KILLS):
                started = time.monotonic()
                with Program("killed", [GLIA_PROXY, "-c", config, "--concurrency", "1"],
                             self.directory) as proxy:
                    for family, address in where:
                        while ask(family, address) != 200:
                            proxy.check_alive()
                            self.assertLess(time.monotonic(), started + WITHIN_S,
                                            f"no answer on {address}, kill {i}, seed {seed}")
                            stop.wait(0.002)  # Only how often we look.
                    took.append(time.monotonic() - started)
                    stop.wait(moments.uniform(0, 0.03))
                    os.kill(proxy.pid, signal.SIGKILL)
                    proxy.process.wait()
        finally:
            stop.set()
            for caller in callers:
                caller.join()
        if not SANITIZED:
            self.assertLess(statistics.median(took), SERVES_WITHIN_S, f"{took}, seed {seed}")


class Dumped(Scene):
    """K10: the private key is not in a core dump."""

    def dumps(self, command, ready=None):
        """Whether a program that is made to abort leaves a core dump."""
        scratch = self.directory / "cores"
        scratch.mkdir(exist_ok=True)
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        program = Program("dumped", command, self.directory, cwd=scratch,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited))
        with program:
            if ready:
                eventually(lambda: ready(program), "it runs")
            os.kill(program.pid, signal.SIGABRT)
            _, status = os.waitpid(program.pid, 0)
            program.process.returncode = status
        return bool(status & DUMPED)

    def test_no_core_dump_is_written_unless_it_is_asked_for(self):
        if not self.dumps(["sleep", "60"]):
            self.skipTest("this machine writes no core dumps at all")
        address = self.directory / "address"
        config = self.directory / "dumped.yaml"
        config.write_text(json.dumps(bootstrap([], [])))

        def proxy(*flags):
            address.unlink(missing_ok=True)
            return self.dumps([GLIA_PROXY, "-c", config, "--admin-address-path", address, *flags],
                              ready=lambda _: address.exists())
        self.assertFalse(proxy())
        self.assertTrue(proxy("--enable-core-dump"))


if __name__ == "__main__":
    unittest.main()
