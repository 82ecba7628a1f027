"""h2spec's rules of HTTP/2: every case, the strict ones too, in clear text and over TLS, against the side
that clients see; and h2specd's against the side that upstreams see. Each case counts as a test."""

import concurrent.futures
import os
import pathlib
import random
import re
import socket
import subprocess
import unittest

from bootstrap import bootstrap, cluster, downstream_tls, listener, to
from certificates import Authority
from harness import Proxy, Scene
from origins import HttpOrigin

LIMIT_S = 3  # What a case may wait for an answer. h2specd gives up after three seconds by itself.
AT_ONCE = 6
TRIES = 3  # Of a part that h2specd gave up because the machine was busy: "Error: Timeout".
SERVER_CASES = 146
# h2specd cannot list its cases: how many there are in each section.
CLIENT_CASES = {
    "1": 1, "4.1": 3, "4.2": 3, "4.3": 1, "5.1": 10, "5.1.1": 1, "5.4.1": 2, "5.5": 1, "6.1": 3, "6.2": 3,
    "6.3": 2, "6.4": 3, "6.5": 3, "6.5.2": 4, "6.5.3": 1, "6.7": 4, "6.8": 1, "6.9": 3, "6.9.1": 2, "6.10": 6}
# The suites that h2spec runs one after the other, in pieces of similar length: most of the time
# it waits for what must not come.
SERVER_PARTS = ["generic", "hpack", "http2/3", "http2/4", "http2/5", "http2/6.1 http2/6.2 http2/6.3 http2/6.4",
                "http2/6.5 http2/6.7 http2/6.8", "http2/6.9 http2/6.10", "http2/7", "http2/8"]
CLIENT_PARTS = ["5.1", "6.10", "6.9", "6.7", "6.5", "6.4", "6.3", "6.2", "6.1", "6.8", "4", "5.4", "5.5", "1"]
SUITES = {"Generic tests for HTTP/2 server": "generic", "Hypertext Transfer": "http2", "HPACK": "hpack",
          "Generic tests for HTTP/2 client": "client"}


def program(name):
    """One of the programs that ./dev builds from third_party/go."""
    path = pathlib.Path(os.environ.get("GLIA_GO_PEERS", ""), name)
    if not path.is_file():
        raise unittest.SkipTest(f"{name} is not built; ./dev test does that")
    return path


def titles(text):
    """The number and description of each line of a run or a --dryrun, with its section before it:
    (suite, section, number, description, mark), where the mark is "" for a line without a result."""
    suite = section = ""
    for line in text.partition("Failures:")[0].splitlines():
        line = line.rpartition("\r")[2]
        for start, name in SUITES.items():
            suite = name if line.startswith(start) else suite
        if found := re.match(r"\s+(\d+(?:\.\d+)*)\. ", line):
            section = found[1]
        elif found := re.match(r"\s+(?:(\S) )?(\d+): (.*)", line):
            yield suite, section, found[2], found[3], found[1] or ""


def server_cases():
    """What cases there are, without running them."""
    text = subprocess.run([program("h2spec"), "--dryrun", "--strict"], capture_output=True, text=True,
                          check=True).stdout
    return [(f"{suite}/{section}/{number}", words) for suite, section, number, words, _ in titles(text)]


def client_cases():
    program("h2specd")
    return [(f"client/{section}/{number}", f"{section}, case {number}")
            for section, count in CLIENT_CASES.items() for number in range(1, count + 1)]


def cases_below(part):
    return sum(count for section, count in CLIENT_CASES.items()
               if section == part or section.startswith(f"{part}."))


def run(command):
    """Returns the cases of a run that passed, and all that was written."""
    for _ in range(TRIES):
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
        if "Error: Timeout" not in ran.stdout:
            break
    passed = {f"{suite}/{section}/{number}" for suite, section, number, _, mark in titles(ran.stdout)
              if mark == "✔"}
    return passed, ran.stdout


def run_all(commands):
    passed, written = set(), []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for found, text in pool.map(run, commands):
            passed |= found
            written.append(text)
    return passed, "\n".join(written)


def add_cases(names, count):
    """Makes each case a test of the class: it passed, or all that its program said is shown."""
    def decorate(scene):
        def add(case, words):
            def test(self):
                if case not in self.passed:
                    self.fail(f"{words}\n{failures(self.written)}")
            test.__doc__ = words
            setattr(scene, f"test_{case}", test)
        try:
            cases = names()
        except unittest.SkipTest as skipped:
            return unittest.skip(str(skipped))(scene)
        for case, words in cases:
            add(case, words)

        def test_none_is_missing(self):
            self.assertEqual(len(set(cases)), count)
        scene.test_none_is_missing = test_none_is_missing
        return scene
    return decorate


def failures(text):
    return "\n".join(part.partition("Finished in")[0] for part in text.split("Failures:")[1:])


class Server(Scene):
    """What both server runs share; the origin speaks HTTP/1, so that everything is translated."""

    tls = []

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        origin = cls.enterClassContext(HttpOrigin())
        identity = Authority(cls.directory).issue("proxy")
        proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", [to("origin")], tls=downstream_tls(identity) if cls.tls else None)],
            [cluster("origin", origin.port)])))
        cls.passed, cls.written = run_all(
            [program("h2spec"), "--strict", "--host", "127.0.0.1", "--port", proxy.ports["in"],
             "--timeout", LIMIT_S, *cls.tls, *part.split()] for part in SERVER_PARTS)
        proxy.check_alive()


@add_cases(server_cases, SERVER_CASES)
class ClearPort(Server):
    pass


@add_cases(server_cases, SERVER_CASES)
class TlsPort(Server):
    tls = ["--tls", "--insecure"]


# What h2specd starts for each case, with the URL of an upstream that will misbehave: one request to the
# listener in front of it. In bash, which starts at once: three seconds are all there is.
ASK = r"""
port=${1##*:}
exec 3<>"/dev/tcp/127.0.0.1/$(<"$(dirname "$0")/${port%/}.port")"
printf 'GET / HTTP/1.1\r\nHost: h2specd\r\nConnection: close\r\n\r\n' >&3
cat <&3 >/dev/null
"""


def free_ports(count):
    """The first of so many free ports in a row, below those that the system gives to clients: there
    every connection of another test, for a minute after its end too, may stand in the way."""
    least = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        first = random.randrange(1024, least - count)
        if all(map(is_free, range(first, first + count))):
            return first
    raise AssertionError(f"found no {count} free ports in a row")


def is_free(port):
    try:
        socket.create_server(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


@add_cases(client_cases, sum(CLIENT_CASES.values()))
class Upstream(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        count = sum(CLIENT_CASES.values())
        first = free_ports(count)
        upstreams = range(first, first + count)
        proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener(f"to-{port}", [to(f"u{port}")]) for port in upstreams],
            [cluster(f"u{port}", port, http2=True) for port in upstreams])))
        ask = cls.directory / "ask.sh"
        ask.write_text(ASK)
        for port in upstreams:
            (cls.directory / f"{port}.port").write_text(str(proxy.ports[f"to-{port}"]))
        commands = []
        for part in CLIENT_PARTS:
            commands.append([program("h2specd"), "--host", "127.0.0.1", "--from-port", first,
                             "--timeout", LIMIT_S - 1, "--exec", f"bash {ask}",
                             f"client/{part}"])
            first += cases_below(part)
        cls.passed, cls.written = run_all(commands)
        proxy.check_alive()


if __name__ == "__main__":
    unittest.main()
