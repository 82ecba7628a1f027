"""A machine joins a mesh by a token: what is written is what really runs, and goes as it came."""

import re
import shlex
import shutil
import signal
import subprocess
import time
import unittest

import harness
import meshes
from small_server import Answering, SmallServer


class Joining(harness.Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.address = f"{meshes.free_network()}.1"
        file = meshes.MeshFile(cls.directory, [
            meshes.mesh(), meshes.workload("machine", cls.address, harness.free_port()),
            {**(service := meshes.service("machine")),
             "spec": {**service["spec"], "clusterIP": "10.9.8.7"}}])
        cls.control = cls.enterClassContext(meshes.ControlPlane(cls.directory, file))

    def setUp(self):
        self.root = self.directory / self.id()
        self.root.mkdir()

    def glia(self, *words, status=0, text=None):
        ran = subprocess.run([harness.GLIA, "vm", *map(str, words)], capture_output=True, text=True,
                             input=text, timeout=harness.WITHIN_S)
        self.assertEqual(ran.returncode, status, ran.stdout + ran.stderr)
        return ran.stdout + ran.stderr

    def token(self):
        return self.glia("token", "machine", "--state-dir", self.control.state)

    def test_the_sidecar_of_the_written_unit_joins(self):
        programs = harness.GLIA_PROXY.parent
        said = self.glia("join", "-", "--root", self.root, "--programs", programs, text=self.token())
        self.assertIn("systemctl enable --now glia-proxy.service", said)
        unit = (self.root / "etc/systemd/system/glia-proxy.service").read_text()
        facts = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
        credential, _, source = facts["LoadCredential"].partition(":")
        # As systemd would do it.
        command = facts["ExecStart"].replace(
            "${CREDENTIALS_DIRECTORY}/" + credential, f"{self.root}{source}").replace(
            "/var/lib/glia", f"{self.root}/var/lib/glia")
        (self.root / "var/lib/glia").mkdir(mode=0o700, parents=True)
        self.enterContext(harness.Program("sidecar", shlex.split(command), self.directory))
        harness.eventually(lambda: meshes.settled(self.control.status(), "machine"),
                           "the machine is a workload of the mesh")
        self.assertTrue((self.root / "var/lib/glia/identity.pem").exists())
        names = dict(line.split("=", 1) for line in (
            self.root / "etc/systemd/system/glia-names.service").read_text().splitlines() if "=" in line)
        # As systemd would do it: the sidecar's admin pages and the hosts file are where they are here.
        hosts = self.root / "etc/hosts"
        hosts.write_text("127.0.0.1 localhost")
        follow = shlex.split(names["ExecStart"]) + [
            "--admin", f"{self.address}:{meshes.ADMIN_PORT}", "--hosts", hosts]
        with harness.Program("names", [harness.GLIA, *follow[1:]], self.directory) as program:
            harness.eventually(lambda: program.check_alive() or "10.9.8.7 machine " in hosts.read_text(),
                               "the Service has a name here")
            program.terminate()
            self.assertEqual(program.ended(), 0)
        self.assertIn("machine.default.svc.cluster.local", hosts.read_text())
        self.assertIn(f"names of the mesh in {hosts}", self.glia("leave", "--root", self.root))
        self.assertEqual(hosts.read_text(), "127.0.0.1 localhost")
        hosts.unlink()
        self.assertEqual([path for path in self.root.rglob("*") if path.is_file()], [])
        self.assertIn("nothing to do", self.glia("leave", "--root", self.root))

    def test_a_token_that_is_none_changes_nothing(self):
        said = self.glia("join", "glia-vm-bm90aGluZw==", "--root", self.root, status=1)
        self.assertIn("glia vm token WORKLOAD", said)
        self.assertEqual(list(self.root.iterdir()), [])

    def test_a_workload_that_nobody_knows_gets_no_token(self):
        self.assertIn("there is no workload", self.glia(
            "token", "nobody", "--state-dir", self.control.state, status=1))

    def test_systemd_understands_the_units(self):
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            self.skipTest("this machine has no systemd-analyze, which knows what a unit may say")
        self.glia("join", "-", "--root", self.root, text=self.token())
        units = sorted((self.root / "etc/systemd/system").glob("*.service"))
        text = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True,
                              timeout=harness.WITHIN_S).stderr
        wrong = [line for line in text.splitlines() if ".service:" in line
                 and "is not executable" not in line and "No such file" not in line]
        self.assertEqual(wrong, [])


class Application(Answering):
    """Answers with the name of its server, as long as that is well; notes when it was looked at."""

    def do_GET(self):
        if self.path == "/healthz":
            self.server.looks.append(time.monotonic())
        self.answer(self.server.name.encode(), 200 if self.server.well else 503, "text/plain")


class Health(harness.Scene):
    """Two machines behind one Service, of which one gets into trouble; and who calls them."""

    INTERVAL_S, TIMEOUT_S = 0.4, 0.2
    # Three looks that are not told of and the time of one; how often the control plane looks: docs/limits.md.
    SILENCE_S, LOOK_S = 3 * INTERVAL_S + TIMEOUT_S, 0.25

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        network = meshes.free_network()
        cls.addresses = {name: f"{network}.{number}" for number, name in
                         enumerate(("one", "two", "caller"), 1)}
        cls.applications = {name: cls.enterClassContext(
            SmallServer(Application, name=name, well=True, looks=[])) for name in ("one", "two")}
        health = {"path": "/healthz", "interval": f"{int(1000 * cls.INTERVAL_S)}ms",
                  "timeout": f"{int(1000 * cls.TIMEOUT_S)}ms"}
        cls.file = meshes.MeshFile(cls.directory, [
            meshes.mesh(), meshes.service("machines"),
            meshes.workload("caller", cls.addresses["caller"]),
            *[meshes.workload(name, cls.addresses[name], application.port, app="machines", health=health)
              for name, application in cls.applications.items()]])
        cls.control = cls.enterClassContext(meshes.ControlPlane(cls.directory, cls.file))
        cls.sidecars = {name: cls.enterClassContext(
            meshes.Sidecar(cls.directory, cls.control, name, cls.addresses[name]))
            for name in ("one", "two", "caller")}

    def away(self, name):
        """Why it is no endpoint, or "" if it is one."""
        proxies = {one["workload"]: one for one in self.control.status()["proxies"]}
        return proxies[f"default/{name}"].get("away", "")

    def endpoints(self):
        """Those that the caller's sidecar holds."""
        text = harness.fetch(meshes.ADMIN_PORT, "/clusters", host=self.addresses["caller"]).text
        return {name for name, address in self.addresses.items()
                if re.search(rf"^outbound:80:machines\.default::{re.escape(address)}:", text, re.M)}

    def until(self, names, within_s=harness.WITHIN_S):
        start = time.monotonic()
        harness.eventually(lambda: self.endpoints() == set(names), f"the endpoints are {names}", within_s)
        return time.monotonic() - start

    def answers(self, count=20):
        return {(answer.status, answer.text) for answer in (
            meshes.ask(self.addresses["caller"], "machines") for _ in range(count))}

    def test_who_is_not_well_is_called_no_more_and_comes_back(self):
        self.until(("one", "two"))
        self.applications["one"].well = False
        # Two looks in a row that fail.
        self.until(("two",))
        self.assertEqual(self.answers(), {(200, "two")})
        self.assertIn(f"its application is not well: it answers 503 at 127.0.0.1:"
                      f"{self.applications['one'].port}/healthz", self.away("one"))
        said = subprocess.run([harness.GLIA, "status", "--state-dir", self.control.state],
                              capture_output=True, text=True, timeout=harness.WITHIN_S).stdout
        self.assertIn("no endpoint: its application is not well", said)
        self.applications["one"].well = True
        self.until(("one", "two"))
        self.assertEqual(self.away("one"), "")

    def test_a_silent_machine_leaves_in_the_time_that_is_said_and_comes_back(self):
        self.until(("one", "two"))
        sidecar = self.sidecars["one"].process
        self.addCleanup(sidecar.send_signal, signal.SIGCONT)
        looks = self.applications["one"].looks
        before = len(looks)
        harness.eventually(lambda: len(looks) > before + 1, "it looks, and tells of the look before")
        sidecar.send_signal(signal.SIGSTOP)
        took = self.until(("two",))
        gone = time.monotonic()
        promised = self.SILENCE_S + self.LOOK_S
        # Not before it can be known: the last look may be untold, and was told of later than it was if not.
        self.assertGreater(gone - looks[-2], self.SILENCE_S)
        # Not much later than is promised: the machine that tests may be busy.
        self.assertLess(took, promised + 5)
        print(f"silent: gone after {took:.2f} s, {promised:.2f} s are promised without the push")
        self.assertIn("nothing was heard of it for 1400 ms", self.away("one"))
        self.assertEqual(self.answers(), {(200, "two")})
        sidecar.send_signal(signal.SIGCONT)
        print(f"heard again: back after {self.until(('one', 'two')):.2f} s")

    def test_the_control_plane_that_is_started_again_takes_nobody_out(self):
        self.until(("one", "two"))
        port = self.control.port
        type(self).control.__exit__()
        type(self).control = self.enterClassContext(
            meshes.ControlPlane(self.directory, self.file, port))
        harness.eventually(lambda: meshes.settled(self.control.status(), "caller", "one", "two"),
                           "all have found the new control plane")
        self.assertEqual(self.endpoints(), {"one", "two"})
        self.assertEqual((self.away("one"), self.away("two")), ("", ""))
        for name, other in (("one", "two"), ("two", "one")):  # It hears both of them.
            self.applications[name].well = False
            self.until((other,))
            self.applications[name].well = True
            self.until(("one", "two"))

    def test_who_ends_in_order_is_gone_at_once_and_finishes(self):
        self.until(("one", "two"))
        # A workload of its own, so that the others keep their machines.
        sidecar = self.sidecars["two"]
        sidecar.terminate()
        took = self.until(("one",))
        self.assertEqual(sidecar.ended(), 0)
        print(f"ended: gone after {took:.2f} s")
        self.assertEqual(self.away("two"), "its sidecar has ended")
        self.assertEqual(self.answers(), {(200, "one")})
        type(self).sidecars["two"] = self.enterClassContext(
            meshes.Sidecar(self.directory, self.control, "two", self.addresses["two"]))
        self.until(("one", "two"))


if __name__ == "__main__":
    unittest.main()
