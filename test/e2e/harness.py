"""What the end-to-end tests stand on: programs that are started, looked at and always stopped.

Nothing here waits for a time to pass: eventually() looks until something is so, and gives up at a
deadline. Nothing has a fixed port: listeners ask the system for one, and the admin page tells it.
"""

import collections
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("GLIA_BIN", ROOT / "bazel-bin"))
GLIA_PROXY = pathlib.Path(os.environ.get("GLIA_PROXY", BIN / "proxy" / "server" / "glia-proxy"))
GLIA_CONTROL = BIN / "control_plane" / "glia-control"
GLIA = BIN / "cli" / "glia"
WITHIN_S = 20  # How long anything may take to happen; far more than it does on a quiet machine.
LOG_TAIL = 40  # lines
# The programs are built with sanitizers: memory and speed are not theirs.
SANITIZED = bool(os.environ.get("GLIA_SANITIZED"))


def run(*command, status=0, **options):
    """A program that has ended, with this status; with any, if it is None."""
    ran = subprocess.run([str(word) for word in command], **{
        "capture_output": True, "text": True, "timeout": WITHIN_S, **options})
    if status is not None and ran.returncode != status:
        raise AssertionError(f"{' '.join(map(str, command))}: status {ran.returncode}: "
                             f"{ran.stdout}{ran.stderr}")
    return ran


def eventually(look, what, within_s=WITHIN_S):
    """Calls look() until its answer is true, and returns that answer. `what`: a text, or what makes it once
    it is needed."""
    pause = threading.Event()
    start = time.monotonic()
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() - start > within_s:
            raise AssertionError(f"not seen within {within_s} s: {what() if callable(what) else what}")
        pause.wait(0.02)  # Only how often we look.


def peer(name):
    """The path of a program that Debian installs, or skips the test and says what to install."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not found:
        raise unittest.SkipTest(f"{name} is not on this machine; ./dev test installs it")
    return found


def free_port():
    """For programs that cannot tell which port they were given."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def can_connect(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Program:
    """A program that a test started, in a context that ends it."""

    def __init__(self, name, command, directory, **options):
        self.name = name
        self.log = pathlib.Path(directory, f"{name}.log")
        # Dies with us, also if we are killed.
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [peer("setpriv"), "--pdeathsig", "KILL", "--", *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self, within_s=WITHIN_S):
        """Waits for its end and returns the exit status."""
        return self.process.wait(within_s)

    def text(self):
        return self.log.read_text(errors="replace")

    def check_alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with status {self.process.returncode}:\n"
                                 f"{self.text()}")

    def memory(self, key="VmRSS"):
        """Bytes: VmRSS is what is resident now, VmHWM the most since forget_memory_peak()."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(re.search(rf"^{key}:\s+(\d+) kB", status, re.M)[1])

    def forget_memory_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")


class Answer:
    """A response: names of fields are in lower case, repeated fields are joined with a comma."""

    def __init__(self, status, fields, body, protocol=""):
        self.status = status
        self.headers = {}
        for name, value in fields:
            name = name.lower()
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self.body = body
        self.protocol = protocol

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:300]}"


def fetch(port, path="/", method="GET", headers=None, body=None, host="127.0.0.1", tls=None):
    """One request over HTTP/1.1 on a connection of its own."""
    if tls is not None:
        connection = http.client.HTTPSConnection(host, port, timeout=WITHIN_S, context=tls)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=WITHIN_S)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def curl(*arguments):
    """Runs curl and returns the last response that it got."""
    with tempfile.TemporaryDirectory() as scratch:
        body = pathlib.Path(scratch, "body")
        command = [peer("curl"), "--silent", "--show-error", "--max-time", "120", "--include",
                   "--output", str(body), "--write-out", "%{http_version} %{size_header}",
                   *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            raise AssertionError(f"curl {' '.join(map(str, arguments))}: {ran.stderr}")
        protocol, head_size = ran.stdout.split()
        all_bytes = body.read_bytes()
    head, rest = all_bytes[:int(head_size)].decode(), all_bytes[int(head_size):]
    lines = head.strip().split("\r\n\r\n")[-1].split("\r\n")
    fields = [tuple(line.split(": ", 1)) for line in lines[1:] if ": " in line]
    return Answer(int(lines[0].split()[1]), fields, rest, protocol)


def envoy():
    """The path of a real Envoy, or skips the test."""
    path = pathlib.Path(sys.executable).parent / "envoy"
    if not path.exists():
        raise unittest.SkipTest("no Envoy in the Python environment; ./dev test installs it")
    return path


class Proxy(Program):
    """A proxy on a static bootstrap, ready to serve: glia-proxy, or an Envoy with the same file."""

    def __init__(self, directory, config, *flags, name="glia-proxy", program=GLIA_PROXY, cwd=None):
        self.config = pathlib.Path(directory, f"{name}.yaml")
        self.config.write_text(json.dumps(config, indent=1))  # YAML too.
        self._admin_file = pathlib.Path(directory, f"{name}.admin")
        self._admin_file.unlink(missing_ok=True)
        if "--concurrency" not in flags:
            flags = ("--concurrency", "1", *flags)
        if "envoy" in pathlib.Path(program).name:
            flags = ("--disable-hot-restart", "--log-level", "warning", *flags)
        super().__init__(name, [program, "-c", self.config, "--admin-address-path",
                                self._admin_file, *flags], directory, cwd=cwd)
        try:
            self.admin_port = eventually(self._read_admin_port, f"{name} opens its admin page")
            eventually(self.is_ready, f"{name} is ready")
            self.ports = self._read_ports()
        except BaseException:
            self.__exit__()
            print(self.text())
            raise

    def _read_admin_port(self):
        self.check_alive()
        try:
            return int(self._admin_file.read_text().strip().rpartition(":")[2])
        except (OSError, ValueError):
            return None

    def is_ready(self):
        self.check_alive()
        try:
            return self.admin("/ready").status == 200
        except OSError:
            return False

    def _read_ports(self):
        listeners = self.admin("/listeners?format=json").json["listener_statuses"]
        return {row["name"]: row["local_address"]["socket_address"]["port_value"]
                for row in listeners if "socket_address" in row["local_address"]}

    def admin(self, path, method="GET", headers=None):
        return fetch(self.admin_port, path, method, headers)

    def metric(self, name, **labels):
        """The sum of the samples of this name that carry these labels; 0 if there are none."""
        return sum_of_samples(self.admin("/stats/prometheus").text, name, **labels) or 0

    def fetch(self, path="/", listener="in", **options):
        return fetch(self.ports[listener], path, **options)

    def url(self, path="/", listener="in", scheme="http"):
        return f"{scheme}://127.0.0.1:{self.ports[listener]}{path}"


def sum_of_samples(page, name, **labels):
    """Of those of this name that carry these labels on a page for Prometheus; None if there are none."""
    samples = [float(match[2]) for match in re.finditer(rf"^{name}(?:\{{(.*)\}})? (\S+)$", page, re.M)
               if all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items())]
    return sum(samples) if samples else None


def access_log_lines(path):
    """The access log so far, one dictionary a request."""
    try:
        whole = pathlib.Path(path).read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.split("\n") if line]
    except FileNotFoundError:
        return []


class Scene(unittest.TestCase):
    """Tests with a directory of their own. If one fails, the ends of all logs are shown."""

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="glia-e2e-")))
        cls.addClassCleanup(cls._check_for_reports)  # When all programs have ended.

    @classmethod
    def _check_for_reports(cls):
        """What a sanitizer found is a failure, also where no test noticed."""
        for log in sorted(cls.directory.rglob("*.log")):
            text = log.read_text(errors="replace")
            found = re.search(r"(ERROR: \w+Sanitizer|runtime error:)", text)
            if found:
                raise AssertionError(f"{log.name}:\n{text[max(0, found.start() - 200):][:6000]}")

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for log in sorted(self.directory.rglob("*.log")):
                lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
                print(f"--- {log.name}", *lines, sep="\n", file=sys.stdout, flush=True)
        return result

    def access_log(self, count, path=None):
        """Waits for so many lines of the access log."""
        path = path or self.directory / "access.log"
        return eventually(lambda: len(found := access_log_lines(path)) >= count and found,
                          f"{count} lines in the access log")

    def assert_share(self, counts, name, share):
        """A count is what a fair draw gives, within 4.5 standard deviations."""
        total = sum(counts.values())
        expected, deviation = total * share, (total * share * (1 - share)) ** 0.5
        self.assertLess(abs(counts[name] - expected), 4.5 * deviation,
                        f"{name}: {counts[name]} of {total}, expected about {expected:.0f}")


def tally(answers):
    return collections.Counter(answers)
