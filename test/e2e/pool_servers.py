"""Simulated model servers (test/pool/main.cc) for end-to-end tests: one process, several engines."""

import contextlib
import json
import subprocess

from harness import BIN, WITHIN_S


class PoolServers(contextlib.AbstractContextManager):
    """They end when their standard input does."""

    def __init__(self, count, *words):
        self.process = subprocess.Popen(
            [BIN / "test" / "pool" / "pool", str(count), "speed=20", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the simulated servers did not start")
        self.ports = [int(server.rpartition(":")[2]) for server in json.loads(line)["servers"]]

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
