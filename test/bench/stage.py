"""Where the comparison is played: the load generator and the proxies, started when they are needed.

The load generator and the origin stay on the first CPU, the proxies on the second. A proxy that could
not be started is not tried again; one that died is, a few times. When the load generator itself is
lost, everything starts anew, because the origin's ports are gone with it.
"""

import contextlib
import itertools
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import tempfile

import configs
import peers
from peers import BenchError

MOST_STARTS = 3
ANSWER_S = 150 # The load generator's own patience is shorter.


class LoadLost(BenchError):
    """The load generator died or hangs."""


class Load:
    """The origin and load generator, told what to do by lines; see load.cc."""

    def __init__(self, binary, work, cpu):
        self.process = subprocess.Popen(
            [binary, work], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.origin = self.answer()

    def answer(self):
        # One line is asked for and one answered, so nothing of the next is ever in the buffer.
        if not self.selector.select(ANSWER_S):
            raise LoadLost(f"the load generator said nothing for {ANSWER_S} s")
        line = self.process.stdout.readline()
        if not line:
            raise LoadLost("the load generator ended by itself (see above)")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError(answer["error"])
        return answer

    def ask(self, *words):
        try:
            self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            self.process.stdin.flush()
        except OSError as error:
            raise LoadLost(f"the load generator takes no commands: {error}") from error
        return self.answer()

    def stop(self):
        self.selector.close()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def setup_of(listener):
    """Listeners of one setup share a process; each setup is idle while another is measured."""
    kind = configs.LISTENERS[listener]
    if kind.codec == "tcp":
        return ("tcp",)
    return tuple(name for name, other in configs.LISTENERS.items()
                 if other.codec != "tcp" and other.chain == kind.chain and
                 (other.transport == "mutual") == (kind.transport == "mutual"))


class Stage:
    def __init__(self, load_binary, cpus):
        self.load_binary = load_binary
        self.load_cpu, self.proxy_cpu = cpus[:2]
        self.numbers = itertools.count()
        self.started = {}
        self.refused = {}  # Why something is not started any more.
        self.starts = {}
        self.work = tempfile.mkdtemp(prefix="glia-bench-")
        self.load = Load(load_binary, self.work, self.load_cpu)

    def proxy(self, name, listener):
        """A running proxy that has the listener."""
        setup = (listener,) if name == "relay" else setup_of(listener)
        key = (name, setup)
        if key in self.started and self.started[key].running():
            return self.started[key]
        if key in self.refused:
            raise BenchError(self.refused[key])
        self.starts[key] = self.starts.get(key, 0) + 1
        try:
            if self.starts[key] > MOST_STARTS:
                raise BenchError(f"{name} ended by itself {MOST_STARTS} times")
            self.started[key] = self.start(name, setup)
        except BenchError as error:
            self.refused[key] = str(error)
            raise
        return self.started[key]

    def start(self, name, listeners):
        directory = pathlib.Path(self.work, f"{name}-{next(self.numbers)}")
        proxy = peers.PROXIES[name](directory, self.load.origin, self.proxy_cpu, listeners)
        try:
            proxy.start()
        except BaseException:
            proxy.stop()
            raise
        return proxy

    @contextlib.contextmanager
    def fresh(self, name, listener):
        """A proxy of its own with only that listener."""
        proxy = self.start(name, (listener,))
        try:
            yield proxy
        finally:
            proxy.stop()

    @contextlib.contextmanager
    def fleet(self, row, address, **changes):
        """Connections of the row's shape to an address."""
        shape = {key: changes.get(key, getattr(row, key)) for key in
                 ("codec", "transport", "connections", "streams", "errand", "amount")}
        try:
            self.load.ask("connect", address, *shape.values())
            yield self.load
        finally:
            self.load.ask("close")

    def stop_proxies(self):
        for proxy in self.started.values():
            proxy.stop()
        self.started = {}

    def restart(self):
        self.stop_proxies()
        self.load.process.kill()
        self.load.stop()
        self.load = Load(self.load_binary, self.work, self.load_cpu)

    def close(self):
        self.stop_proxies()
        self.load.stop()
        shutil.rmtree(self.work, ignore_errors=True)
