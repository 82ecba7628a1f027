"""A machine joins a mesh by a token: what is written is what really runs, and goes as it came."""

import shlex
import shutil
import subprocess
import unittest

import harness
import meshes


class Joining(harness.Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.address = f"{meshes.free_network()}.1"
        file = meshes.MeshFile(cls.directory, [
            meshes.mesh(), meshes.workload("machine", cls.address, harness.free_port()),
            meshes.service("machine")])
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
        self.glia("leave", "--root", self.root)
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


if __name__ == "__main__":
    unittest.main()
