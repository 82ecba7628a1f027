"""Machines for tests: network namespaces on one bridge, with names of this process alone.

They end with the test, also when it fails, is interrupted or leaves early. Nothing in them reaches the
network of the machine that runs the tests.
"""

import atexit
import itertools
import os
import signal
import subprocess
import sys

import harness
from harness import run

_numbers = itertools.count()


def must_be_root():
    """These tests must not be missed without anybody noticing."""
    if os.geteuid() != 0:
        raise AssertionError("these tests make network namespaces: run them as root, or with "
                             "CAP_NET_ADMIN and CAP_SYS_ADMIN")


def run_in(namespace, *command, **options):
    return run("ip", "netns", "exec", namespace, *command, **options)


class Namespaces:
    """Some, of which nothing is left when they are closed."""

    def __init__(self):
        must_be_root()
        self._names = []
        atexit.register(self.close)
        # A signal that ends Python at once would leave them.
        self._before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def add(self):
        """The name of a new one."""
        name = f"glia-{os.getpid()}-{next(_numbers)}"
        run("ip", "netns", "add", name)
        self._names.append(name)
        run_in(name, "ip", "link", "set", "lo", "up")
        return name

    def close(self):
        while self._names:
            subprocess.run(["ip", "netns", "delete", self._names.pop()], capture_output=True)
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
        atexit.unregister(self.close)


class Switch(Namespaces):
    """A namespace with a bridge that leads from machine to machine."""

    V4, V6 = "10.77.0", "fd77:"

    def __init__(self):
        super().__init__()
        self.name = self.add()
        self("ip", "link", "add", "bridge", "type", "bridge")
        self("sysctl", "-qw", "net.ipv6.conf.bridge.accept_dad=0")
        self("ip", "link", "set", "bridge", "up")
        self("ip", "address", "add", f"{self.V4}.1/24", "dev", "bridge")
        self("ip", "address", "add", f"{self.V6}:1/64", "dev", "bridge", "nodad")

    def __call__(self, *command, **options):
        return run_in(self.name, *command, **options)


class Machine:
    """One with an address of each family and a way out."""

    def __init__(self, switch, number):
        self.name = switch.add()
        self.v4, self.v6 = f"{switch.V4}.{number}", f"{switch.V6}:{number}"
        cable = f"c{number}"
        switch("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        switch("ip", "link", "set", cable, "master", "bridge")
        switch("ip", "link", "set", cable, "up")
        self("ip", "link", "set", "eth0", "up")
        self("ip", "address", "add", f"{self.v4}/24", "dev", "eth0")
        self("ip", "address", "add", f"{self.v6}/64", "dev", "eth0", "nodad")
        self("ip", "route", "add", "default", "via", f"{switch.V4}.1")
        self("ip", "-6", "route", "add", "default", "via", f"{switch.V6}:1")

    def __call__(self, *command, **options):
        return run_in(self.name, *command, **options)

    def start(self, name, command, directory, user=None, right=""):
        """A program that stays. Its parent's end is its own, whoever it runs as. `right`: a
        capability that it has as that user."""
        rights = ["--inh-caps", f"+{right}", "--ambient-caps", f"+{right}"] if right else []
        as_user = [] if user is None else [
            harness.peer("setpriv"), "--reuid", str(user), "--regid", str(user), "--clear-groups",
            *rights, "--pdeathsig", "KILL", "--"]
        return harness.Program(name, ["ip", "netns", "exec", self.name, *as_user, *command],
                               directory)
