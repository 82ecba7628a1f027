"""`glia run` on a small mesh of tiny applications: identities, policies, edits under traffic, ends."""

import contextlib
import http.client
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import unittest
import uuid

import meshes
from harness import (GLIA, SANITIZED, WITHIN_S, Program, Scene, access_log_lines, eventually,
                     fetch, free_port)
from meshes import (MeshFile, ask, free_network, log_times, mesh, policy, service, settled, spiffe,
                    split, status_of, workload)
from origins import run_h2load

APPLICATION = pathlib.Path(__file__).with_name("application.py")
PUSH_MOST_S = 0.2


class SmallMesh:
    """client and intruder call app, which is v1 and v2; only client may."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.network = free_network()
        self.at = {name: f"{self.network}.{host}" for host, name in
                   enumerate(("client", "intruder", "app-v1", "app-v2"), 1)}
        self.ports = {"v1": free_port(), "v2": free_port()}
        self.file = MeshFile(directory, self.objects(90, 10))
        self.state = self.directory / "state"

    def objects(self, v1, v2):
        return [
            mesh(defaultAuthorization="Deny"),
            workload("client", self.at["client"]), workload("intruder", self.at["intruder"]),
            *(workload(f"app-{version}", self.at[f"app-{version}"], port, version, "app",
                       identity="app",
                       command=[sys.executable, str(APPLICATION), f"app-{version}", str(port)])
              for version, port in self.ports.items()),
            service("app"), service("app-v1", app="app", version="v1"),
            service("app-v2", app="app", version="v2"), split("app", v1=v1, v2=v2),
            policy("only-the-client", "app", "client", methods=["GET"])]

    def run(self):
        """Starts `glia run` and waits until all is ready."""
        running = Program("glia-run", [GLIA, "run", self.file.path, "--state-dir", self.state],
                          self.directory)

        def ready():
            running.check_alive()
            return "\nready: " in running.text()
        try:
            eventually(ready, "the mesh is ready", within_s=40)
        except BaseException:
            self.end(running)
            print(running.text())
            raise
        return running

    def end(self, running):
        """As Ctrl-C does; and whoever it leaves behind."""
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            try:
                running.ended()
            except subprocess.TimeoutExpired:
                pass
        running.__exit__()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def processes(self):
        """Those of this mesh, by what stands in their command lines."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if (str(self.directory).encode() in words or any(
                    str(APPLICATION).encode() in words and str(port).encode() in words
                    for port in self.ports.values())) and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found

    def process_of(self, program, word=""):
        """The pid of the one process of this mesh that runs this program, with this word in its
        command line."""
        found = [pid for pid in self.processes() if program_of(pid) == program
                 and word in command_of(pid)]
        return found[0] if len(found) == 1 else None

    def status(self):
        return status_of(self.state)

    def control_log(self):
        return (self.state / "log" / "control.log").read_text()


def command_of(pid):
    """The command line, or "" if it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def program_of(pid):
    """The name of the program that runs, or None if it has ended."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return None


class Traffic(threading.Thread):
    """Calls a service over and over through a sidecar, and counts who answered."""

    def __init__(self, address, name):
        super().__init__(daemon=True)
        self.counts, self.failures = {}, []
        self._address, self._name = address, name
        self._ending = threading.Event()
        self.start()

    def run(self):
        with contextlib.ExitStack() as connections:
            self._call_until_the_end(connections)

    def _call_until_the_end(self, connections):
        connection = None
        while not self._ending.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(
                        self._address, meshes.OUTBOUND_PORT, timeout=WITHIN_S)
                    connections.callback(connection.close)
                connection.request("GET", "/", headers={"Host": self._name})
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    self.failures.append(f"{response.status} {body}")
                origin = response.headers.get("x-origin")
                self.counts[origin] = self.counts.get(origin, 0) + 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection = None

    def counts_of_next(self, number):
        """Who answered the requests from now on, about so many of them."""
        before = dict(self.counts)
        eventually(lambda: sum(self.counts.values()) >= sum(before.values()) + number or
                   self.failures, f"{number} more answers")
        if self.failures:
            raise AssertionError(f"requests failed: {self.failures}")
        return {origin: count - before.get(origin, 0)
                for origin, count in list(self.counts.items())}

    def stop(self):
        self._ending.set()
        self.join()
        return self.failures


class Running(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mesh = SmallMesh(cls.directory)
        cls.running = cls.mesh.run()
        cls.addClassCleanup(cls.mesh.end, cls.running)

    def ask(self, who="client", name="app", **options):
        return ask(self.mesh.at[who], name, **options)

    def is_accepted(self):
        return settled(self.mesh.status(), "client", "intruder", "app-v1", "app-v2")

    def test_each_hop_knows_both_identities(self):
        for name in ("app", "app.default", "app.default.svc.cluster.local", "app:80"):
            answer = self.ask(name=name)
            self.assertEqual(answer.status, 200, answer)
            forwarded = answer.json["headers"]["x-forwarded-client-cert"]
            self.assertRegex(forwarded, f"^By={spiffe('app')};Hash=[0-9a-f]{{64}};"
                                        f"URI={spiffe('client')}$")

    def test_who_may_not_gets_a_403_that_names_the_policy(self):
        for answer in (self.ask("intruder"), self.ask(method="POST")):
            self.assertEqual(answer.status, 403)
            self.assertIn("default/only-the-client", answer.text)
            self.assertEqual(answer.headers["x-glia-reason"], "denied")
            self.assertRegex(answer.headers["x-glia-hop"], "^default/app-v[12]$")
        self.assertIn(spiffe("intruder"), self.ask("intruder").text)

    def test_both_sidecars_of_a_hop_write_it_into_their_access_logs(self):
        request_id = str(uuid.uuid4())
        self.assertEqual(self.ask(headers={"x-request-id": request_id}).status, 200)
        self.assertEqual(self.ask("intruder", headers={"x-request-id": request_id}).status, 403)

        def lines(*workloads):
            return [line for name in workloads for line in access_log_lines(
                self.mesh.state / "log" / f"default.{name}.access.log")
                if line["request_id"] == request_id]
        sent, = eventually(lambda: lines("client"), "a line of the caller's sidecar")
        taken, refused = sorted(eventually(
            lambda: len(found := lines("app-v1", "app-v2")) == 2 and found,
            "lines of the callee's sidecars"), key=lambda line: line["response_code"])
        self.assertEqual(sent["upstream_identity"], spiffe("app"))
        self.assertTrue(sent["upstream_cluster"].startswith("outbound:80:app"), sent)
        self.assertEqual(taken["downstream_identity"], spiffe("client"))
        self.assertEqual(taken["upstream_cluster"], "inbound:http")
        self.assertEqual(refused["response_code"], 403)
        self.assertEqual(refused["downstream_identity"], spiffe("intruder"))
        self.assertIn("only-the-client", refused["response_code_details"])

    def test_an_edit_moves_the_access_log_and_changes_its_format(self):
        file = self.directory / "moved.log"
        objects = self.mesh.objects(50, 50)
        objects[0]["spec"]["accessLog"] = {
            "path": str(file), "format": {"hop": "%NODE_ID%", "code": "%RESPONSE_CODE%"}}
        self.mesh.file.save(objects)

        def hops():
            self.assertEqual(self.ask().status, 200)
            lines = access_log_lines(file)
            self.assertTrue(all(line.keys() == {"hop", "code"} for line in lines), lines)
            return {line["hop"] for line in lines if line["code"] == 200}
        try:
            eventually(lambda: hops() >= {"default/client", "default/app-v1", "default/app-v2"},
                       "every sidecar writes to the file of the edit")
        finally:
            self.mesh.file.save(self.mesh.objects(50, 50))
            eventually(self.is_accepted, "the edit is taken back")

    def test_an_edit_shifts_traffic_and_no_request_fails(self):
        self.mesh.file.save(self.mesh.objects(90, 10))
        eventually(self.is_accepted, "the first weights are accepted")
        traffic = Traffic(self.mesh.at["client"], "app")
        try:
            self.assert_share(traffic.counts_of_next(600), "app-v2", 0.1)
            before = self.mesh.control_log().count("pushed routes")
            self.mesh.file.save(self.mesh.objects(50, 50))
            eventually(lambda: self.mesh.control_log().count("pushed routes") > before,
                       "the control plane pushes")
            eventually(self.is_accepted, "the new weights are accepted")
            traffic.counts_of_next(4)  # Those that were under way.
            self.assert_share(traffic.counts_of_next(600), "app-v2", 0.5)
        finally:
            failures = traffic.stop()
        self.assertEqual(failures, [])

    def test_services_that_come_and_go_under_load_harm_no_request(self):
        whole = self.mesh.objects(50, 50)
        alone = [one for one in self.mesh.objects(100, 0)
                 if (one["kind"], one["metadata"]["name"]) != ("Service", "app-v2")]
        for one in alone:
            if one["kind"] == "HTTPRoute":
                one["spec"]["rules"][0]["backendRefs"].pop()
        outbound = f"{self.mesh.at['client']}:{meshes.OUTBOUND_PORT}"
        over = threading.Event()
        failed = []

        def load(*flags):
            """Rounds of a hundred requests."""
            while not over.is_set():
                succeeded, text = run_h2load(*flags, "-n100", f"--connect-to={outbound}",
                                             "http://app/")
                if succeeded != 100 or "status codes: 100 2xx" not in text:
                    failed.append(text)
        threads = [threading.Thread(target=load, args=flags) for flags in (
            ("-c2", "-m16"), ("--h1", "-c4"))]
        try:
            for thread in threads:
                thread.start()
            for edit in range(8):
                self.mesh.file.save(whole if edit % 2 else alone)
                eventually(self.is_accepted, "the edit is accepted")
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failed, [])

    def test_a_broken_edit_is_refused_with_its_place_and_traffic_goes_on(self):
        good = self.mesh.file.text()
        broken = good.replace("weight:", "weigth:", 1)
        line = broken[:broken.index("weigth:")].count("\n") + 1
        in_force = self.mesh.status()["configVersion"]
        traffic = Traffic(self.mesh.at["client"], "app")
        try:
            self.mesh.file.save(broken)
            errors = eventually(lambda: self.mesh.status()["configErrors"], "glia status tells")
            self.assertTrue(any(f"mesh.yaml:{line}:" in error and "weight" in error
                                for error in errors), errors)
            self.assertEqual(self.mesh.status()["configVersion"], in_force)
            checked = subprocess.run([GLIA, "config", "validate", self.mesh.file.path],
                                     capture_output=True, text=True)
            self.assertNotEqual(checked.returncode, 0)
            self.assertIn(f"mesh.yaml:{line}:", checked.stdout + checked.stderr)
            self.assertNotEqual(subprocess.run(
                [GLIA, "status", "--state-dir", self.mesh.state], capture_output=True).returncode, 0)
            traffic.counts_of_next(50)
            self.mesh.file.save(good)
            eventually(lambda: not self.mesh.status()["configErrors"], "the mended file is used")
        finally:
            failures = traffic.stop()
        self.assertEqual(failures, [])

    def test_an_edit_is_pushed_within_200_ms(self):
        took = []
        for weight in (11, 12, 13, 14, 15):
            eventually(self.is_accepted, "all is accepted")
            pushed = len(log_times(self.mesh.control_log(), "pushed routes"))
            saved = self.mesh.file.save(self.mesh.objects(100 - weight, weight))
            # All four sidecars hold the route.
            times = eventually(lambda: len(found := log_times(
                self.mesh.control_log(), "pushed routes")) >= pushed + 4 and found, "a push")
            took.append((times[pushed + 3] - saved).total_seconds())
        if not SANITIZED:
            self.assertLess(statistics.median(took), PUSH_MOST_S, took)

    def test_glia_status_and_routes_show_the_mesh(self):
        eventually(self.is_accepted, "all is accepted")
        text = subprocess.run([GLIA, "status", "--state-dir", self.mesh.state],
                              capture_output=True, text=True)
        self.assertEqual(text.returncode, 0, text.stderr)
        for name in ("default/client", "default/app-v1", spiffe("app")):
            self.assertIn(name, text.stdout)
        routes = subprocess.run([GLIA, "routes", "--state-dir", self.mesh.state],
                                capture_output=True, text=True)
        self.assertEqual(routes.returncode, 0, routes.stderr)
        self.assertIn("app-v2", routes.stdout)

    def test_losing_the_control_plane_harms_no_request_and_it_comes_back(self):
        before = eventually(lambda: self.mesh.process_of("glia-control"), "glia-control runs")
        traffic = Traffic(self.mesh.at["client"], "app")
        try:
            os.kill(before, signal.SIGKILL)
            eventually(lambda: self.mesh.process_of("glia-control") not in (None, before),
                       "glia run starts it again")
            traffic.counts_of_next(50)
            self.mesh.file.save(self.mesh.objects(0, 100))
            eventually(lambda: set(traffic.counts_of_next(20)) and
                       not traffic.counts_of_next(20).get("app-v1"), "the edit arrives",
                       within_s=60)
        finally:
            failures = traffic.stop()
        self.assertEqual(failures, [])


@unittest.skipUnless(os.environ.get("GLIA_LONG"), "takes a minute; ./dev test --long")
class Renewal(Scene):
    def test_certificates_are_renewed_at_half_of_their_life_and_no_request_fails(self):
        small = SmallMesh(tempfile.mkdtemp(dir=self.directory))
        objects = small.objects(50, 50)
        objects[0]["spec"]["certificateLifetime"] = "1m"
        small.file.save(objects)
        running = small.run()
        self.addCleanup(small.end, running)

        def serials():
            shown = fetch(meshes.ADMIN_PORT, "/certs", host=small.at["client"]).json["certificates"]
            return {chain["serial_number"] for row in shown for chain in row.get("cert_chain", [])}
        first = serials()
        traffic = Traffic(small.at["client"], "app")
        try:
            eventually(lambda: small.control_log().count("renewed its certificate") >= 8,
                       "each of four sidecars renews twice", within_s=120)
            traffic.counts_of_next(50)
        finally:
            failures = traffic.stop()
        self.assertEqual(failures, [])
        self.assertEqual(first & serials(), set())
        # Twice, and not again and again.
        self.assertLess(small.control_log().count("renewed its certificate"), 16)


class Ending(Scene):
    def test_ending_one_of_two_sidecars_harms_no_request(self):
        small = SmallMesh(tempfile.mkdtemp(dir=self.directory))
        small.file.save([one for one in small.objects(50, 50) if one["kind"] != "HTTPRoute"])
        running = small.run()
        self.addCleanup(small.end, running)
        traffic = [Traffic(small.at["client"], "app") for _ in range(3)]
        try:
            self.assertEqual(set(traffic[0].counts_of_next(60)), {"app-v1", "app-v2"})
            os.kill(small.process_of("glia-proxy", "app-v2"), signal.SIGTERM)
            eventually(lambda: not small.process_of("glia-proxy", "app-v2"), "it ends")
            traffic[0].counts_of_next(4)  # Those that were under way.
            self.assertFalse(traffic[0].counts_of_next(60).get("app-v2"))
        finally:
            failures = [failure for one in traffic for failure in one.stop()]
        self.assertEqual(failures, [])

    def test_ctrl_c_ends_everything(self):
        small = SmallMesh(tempfile.mkdtemp(dir=self.directory))
        running = small.run()
        self.addCleanup(small.end, running)
        self.assertGreaterEqual(len(small.processes()), 1 + 1 + 4 + 2)
        running.process.send_signal(signal.SIGINT)
        self.assertEqual(running.ended(), 0)
        self.assertEqual(small.processes(), [])

    def test_a_mistaken_mesh_is_not_started(self):
        small = SmallMesh(tempfile.mkdtemp(dir=self.directory))
        small.file.save(small.file.text().replace("selector:", "selektor:", 1))
        ran = subprocess.run([GLIA, "run", small.file.path, "--state-dir", small.state],
                             capture_output=True, text=True, timeout=WITHIN_S)
        self.assertNotEqual(ran.returncode, 0)
        self.assertRegex(ran.stdout + ran.stderr, r"mesh\.yaml:\d+:\d+: .*selector")
        self.assertEqual(small.processes(), [])


if __name__ == "__main__":
    unittest.main()
