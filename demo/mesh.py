"""The running mesh: starts `glia run`, asks `glia status`, edits the file, stops it all."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import place

PROGRAMS = ("cli", "proxy/server", "control_plane")  # Where Bazel puts glia, glia-proxy, ...
LONGEST_STATE_PATH = 70  # A UNIX socket's path has 107 characters, and there are names below it.
POLL_S = 0.05
STOP_WITHIN_S = 15


class DemoError(Exception):
    """What was to be seen was not seen; the text says what."""


class Deadline:
    """The time after which the demonstration gives up, whatever it waits for."""

    def __init__(self, seconds):
        self._start = time.monotonic()
        self._seconds = seconds

    def elapsed(self):
        return time.monotonic() - self._start

    def is_over(self):
        return self.elapsed() > self._seconds

    def wait(self, condition, what, within_s):
        """Asks condition() until it answers something true, and returns that."""
        start = time.monotonic()
        while True:
            answer = condition()
            if answer:
                return answer
            if time.monotonic() - start > within_s or self.is_over():
                raise DemoError(f"not seen within {time.monotonic() - start:.0f} s: {what}")
            time.sleep(POLL_S)  # Only how often we look.


class Mesh:
    """Owns the process of `glia run`; use as a context manager, so that it ends in any case."""

    def __init__(self, here):
        self._here = here
        self.log = here.directory / "glia-run.log"
        self.log.unlink(missing_ok=True)
        self._environment = dict(os.environ)
        programs = [str(place.ROOT / "bazel-bin" / directory) for directory in PROGRAMS]
        self._environment["PATH"] = os.pathsep.join([*programs, os.environ["PATH"]])
        self.glia = place.ROOT / "bazel-bin" / "cli" / "glia"
        if not self.glia.exists():
            raise DemoError("bazel-bin/cli/glia is not there: run ./dev build first")
        self.state = self._fresh_state()
        self._process = None

    def _fresh_state(self):
        state = self._here.directory / "state"
        if len(str(state)) > LONGEST_STATE_PATH:
            return pathlib.Path(tempfile.mkdtemp(prefix="glia-demo-"))
        shutil.rmtree(state, ignore_errors=True)
        return state

    def __enter__(self):
        with open(self.log, "wb") as log:
            # In a session of its own: Ctrl-C reaches us, and we stop it in order.
            self._process = subprocess.Popen(
                [self.glia, "run", self._here.mesh, "--state-dir", self.state],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
                start_new_session=True)
        return self

    def __exit__(self, *_):
        try:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)  # What Ctrl-C does.
                self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        finally:
            for process in session_members(self._process.pid):
                os.kill(process, signal.SIGKILL)
            self._process.wait()

    def stop(self):
        """Ends it as Ctrl-C does. Returns the seconds it took and how many processes it left."""
        start = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"glia run did not end within {STOP_WITHIN_S} s of Ctrl-C") from error
        return time.monotonic() - start, len(session_members(self._process.pid))

    def check_alive(self):
        if self._process.poll() is not None:
            raise DemoError(f"glia run ended with status {self._process.returncode}; "
                            f"its output is in {self.log}")

    def status(self):
        """The answer of `glia status -o json`, or None while the control plane is not there."""
        self.check_alive()
        answer = subprocess.run(
            [self.glia, "status", "--state-dir", self.state, "-o", "json"],
            capture_output=True, text=True, env=self._environment, timeout=10)
        try:
            return json.loads(answer.stdout) if answer.returncode == 0 else None
        except ValueError as error:
            raise DemoError(f"glia status -o json printed no JSON: {answer.stdout[:200]}") from error

    def canary(self, *words):
        """What `glia canary` prints; its exit status tells of the canary, not of the command."""
        self.check_alive()
        answer = subprocess.run([self.glia, "canary", *words, "--state-dir", self.state],
                                capture_output=True, text=True, env=self._environment, timeout=10)
        return answer.stdout

    def access_log(self, workload):
        """What the sidecar of this workload wrote so far, a dictionary a request."""
        path = self.state / "log" / f"default.{workload}.access.log"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.split("\n") if line]

    def all_applications_ready(self):
        """Has `glia run` said so?"""
        return "\nready: " in self.log.read_text(errors="replace")

    def all_proxies_ready(self):
        """Has every workload's sidecar accepted the newest configuration?"""
        status = self.status()
        if status is None:
            return False
        proxies = {proxy["workload"]: proxy for proxy in status.get("proxies", [])}
        wanted = {f"default/{name}" for name in self._here.workloads()}
        return wanted <= proxies.keys() and all(is_settled(proxies[name]) for name in wanted)

    def save(self, text):
        """Replaces mesh.yaml as editors do; returns when, on time.monotonic()'s clock."""
        fresh = self._here.mesh.with_suffix(".tmp")
        fresh.write_text(text)
        os.replace(fresh, self._here.mesh)
        return time.monotonic()


def session_members(session):
    """The processes of a session: all that `glia run` started, whatever their process group."""
    members = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # After the name: state, ppid, pgrp, session
        except OSError:
            continue  # It has just ended.
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members


def is_settled(proxy):
    types = proxy.get("types", [])
    return bool(types) and all(
        kind.get("sentVersion") == kind.get("ackedVersion") and not kind.get("nackError")
        for kind in types)
