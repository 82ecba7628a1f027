"""What `./dev package` makes: it needs nothing beyond libc, is the same twice, names all that is in it, and
goes as it came. With --long, in a bare Debian 12."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import unittest

import yaml

import harness
import meshes
import origins
from harness import ROOT, run

sys.path.insert(0, str(ROOT / "tools"))
import package  # noqa: E402  (from tools/)

EXTERNAL = ROOT / f"bazel-{ROOT.name}" / "external"
# Of packages that are made already, of programs with all in them; ./dev test --long makes them.
PACKAGES = os.environ.get("GLIA_PACKAGES")


def programs():
    return {name: harness.BIN / path for name, path in package.PROGRAMS.items()}


class Pages(harness.Scene):
    """Of programs as developers build them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made = [package.make(programs(), EXTERNAL, cls.directory / which) for which in ("one", "two")]
        cls.tree = cls.directory / "tree"
        run("dpkg-deb", "-x", cls.made[0][0], cls.tree, timeout=120)
        cls.share = cls.tree / "usr/share"

    def test_the_same_commit_makes_the_same_bytes(self):
        for one, two in zip(*self.made):
            self.assertEqual(one.name, two.name)
            self.assertEqual(one.read_bytes(), two.read_bytes(), one.name)

    def test_deb_and_tarball_hold_the_same(self):
        with tarfile.open(self.made[0][1]) as archive:
            packed = {name.partition("/")[2]: archive.extractfile(name).read()
                      for name in archive.getnames() if archive.getmember(name).isfile()}
            owners = {(entry.uid, entry.gid, entry.mode & 0o022) for entry in archive.getmembers()}
        installed = {str(path.relative_to(self.tree / "usr")): path.read_bytes()
                     for path in self.tree.rglob("*") if path.is_file()}
        self.assertEqual(packed.keys(), installed.keys())
        self.assertEqual([name for name in packed if packed[name] != installed[name]], [])
        self.assertEqual(owners, {(0, 0, 0)})

    def test_the_bill_of_materials_names_all_that_is_linked(self):
        bill = json.loads((self.share / "doc/glia/glia.spdx.json").read_text())
        named = {one["name"]: one for one in bill["packages"]}
        for name in ("BoringSSL", "nghttp2", "libevent", "gRPC", "Abseil", "GCC's runtime", "SQLite"):
            self.assertIn(name, named)
            self.assertTrue((self.share / "doc/glia/licences" / re.sub(r"[^A-Za-z0-9.+]+", "-", name)
                             ).read_text())
        self.assertEqual([one for one in named.values() if not one["versionInfo"]], [])
        ids = {one["SPDXID"] for one in bill["packages"] + bill["files"]} | {"SPDXRef-DOCUMENT"}
        for relation in bill["relationships"]:
            self.assertIn(relation["spdxElementId"], ids)
            self.assertIn(relation["relatedSpdxElement"], ids)
        debian = {package.run("dpkg-query", "-W", "-f", "${source:Package}", part["debian"])
                  for part in package.linked_parts() if part["debian"]}
        archives = set(re.findall(r'-l:(lib[\w+.-]+\.a)', (ROOT / ".bazelrc").read_text()
                                  + (ROOT / "third_party/system/BUILD.bazel").read_text()))
        archives |= {f"lib{name}.a" for name in re.findall(
            r'"([\w+]+)"', re.search(r"^GRPC = \[(.*)\]", (
                ROOT / "third_party/system/BUILD.bazel").read_text(), re.M)[1])}
        archives -= {"lib%s.a"}
        self.assertGreater(len(archives), 8)
        for archive in sorted(archives):
            owner = package.run("dpkg", "-S", f"*/{archive}").split(":")[0]
            source = package.run("dpkg-query", "-W", "-f", "${source:Package}", owner)
            self.assertIn(source, debian, f"{archive} is of {owner}, which docs/DEPENDENCIES.md must name")

    def test_every_command_has_a_page(self):
        page = run("zcat", self.share / "man/man1/glia.1.gz").stdout
        for command in ("glia run", "glia vm join", "glia canary promote", "glia capture install"):
            self.assertIn('.SH "' + command + '"', page)
        self.assertIn("\\-\\-state\\-dir", page)
        for name in package.PROGRAMS:
            self.assertTrue((self.share / f"man/man1/{name}.1.gz").exists(), name)

    def test_bash_completes_commands_and_flags(self):
        script = self.share / "bash-completion/completions/glia"

        def completed(*words):
            ask = ("source $0; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _glia; "
                   "printf '%s\\n' \"${COMPREPLY[@]}\"")
            return run("bash", "-c", ask, script, "glia", *words).stdout.split()
        self.assertIn("capture", completed("ca"))
        self.assertIn("canary", completed("ca"))
        self.assertEqual(completed("vm", "j"), ["join"])
        self.assertIn("--exclude-outbound-ports", completed("vm", "join", "--excl"))
        self.assertEqual(completed("vm", "join", "--nothing-such"), [])

    def test_zsh_finds_its_completion(self):
        script = (self.share / "zsh/vendor-completions/_glia").read_text()
        self.assertTrue(script.startswith("#compdef glia\n"))
        self.assertIn("'join:", script)

    def test_systemd_understands_the_units(self):
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            self.skipTest("this machine has no systemd-analyze, which knows what a unit may say")
        units = sorted((self.tree / "usr/lib/systemd/system").glob("*.service"))
        self.assertEqual([unit.name for unit in units],
                         ["glia-control.service", "glia-standalone@.service"])
        text = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True,
                              timeout=harness.WITHIN_S).stderr
        wrong = [line for line in text.splitlines() if ".service:" in line
                 and "is not executable" not in line and "No such file" not in line]
        self.assertEqual(wrong, [])

    def test_programs_that_need_more_than_libc_are_refused(self):
        if not any(set(package.needs_of(path)) - package.LIBC for path in programs().values()):
            self.skipTest("the programs here are packaged ones")
        with self.assertRaisesRegex(package.PackageError, "needs lib.*which a machine may not have"):
            package.check_programs(programs())

    def test_a_program_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(package.PackageError, "nowhere is not there: build it with"):
            package.check_programs({"glia": pathlib.Path("nowhere")})


@unittest.skipUnless(PACKAGES, "with all linked in they take a build of their own: ./dev test --long")
class Installed(harness.Scene):
    """In a bare Debian 12, which has libc and little else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if os.geteuid() != 0:
            raise AssertionError("chroot and debootstrap are for root")
        cls.deb = next(pathlib.Path(PACKAGES).glob("*.deb"))
        cls.root = cls.directory / "root"
        mirror = [os.environ["DEBIAN_MIRROR"]] if "DEBIAN_MIRROR" in os.environ else []
        done = subprocess.run([harness.peer("debootstrap"), "--variant=minbase", "bookworm", cls.root,
                               *mirror], capture_output=True, text=True, timeout=280)
        if done.returncode != 0:
            raise AssertionError(f"debootstrap: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        shutil.copy(cls.deb, cls.root / "tmp/glia.deb")

    def inside(self, *command):
        return run("chroot", self.root, *command, timeout=120,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}).stdout

    def files(self):
        """What is there, but for what dpkg keeps about itself."""
        own = ("var/lib/dpkg/", "var/log/", "var/cache/", "tmp/", "proc/", "sys/", "dev/")
        return {name for path in self.root.rglob("*")
                if not (name := str(path.relative_to(self.root))).startswith(own)}

    def test_it_comes_works_and_goes(self):
        before = self.files()
        self.inside("dpkg", "-i", "/tmp/glia.deb")
        self.assertIn("usr/bin/glia-proxy", self.files())
        for name in package.PROGRAMS:
            with self.subTest(name):
                listed = self.inside("ldd", f"/usr/bin/{name}")
                self.assertNotIn("not found", listed)
        self.assertEqual(self.inside("glia", "version"), f"glia {package.version()}\n")
        self.runs_standalone()
        self.inside("dpkg", "-r", "glia")
        self.inside("dpkg", "--purge", "glia")
        self.assertEqual(sorted(self.files() - before), [])
        self.assertEqual(sorted(before - self.files()), [])

    def runs_standalone(self):
        """glia-proxy, and glia-translate beside it, with nothing around them."""
        address = f"{meshes.free_network()}.1"
        mesh = self.root / "tmp/mesh.yaml"
        with origins.HttpOrigin() as origin:
            mesh.write_text(yaml.safe_dump_all([
                meshes.mesh(), meshes.workload("alone", address, origin.port), meshes.service("alone")]))
            with harness.Program("standalone", [
                    shutil.which("chroot"), self.root, "/usr/bin/glia-proxy", "--mesh", "/tmp/mesh.yaml",
                    "--workload", "alone", "--concurrency", "1"], self.directory) as proxy:
                harness.eventually(lambda: proxy.check_alive() or meshes.is_ready(address),
                                   "the sidecar in the bare root is ready")
                answer = meshes.ask(address, "alone")
                self.assertEqual(answer.status, 200, answer)
                proxy.terminate()
                self.assertEqual(proxy.ended(), 0, proxy.text())
        mesh.unlink()

    def test_only_libc_is_needed(self):
        tree = self.directory / "tree"
        run("dpkg-deb", "-x", self.deb, tree, timeout=120)
        for name in package.PROGRAMS:
            path = tree / "usr/bin" / name
            self.assertEqual(set(package.needs_of(path)) - package.LIBC, set(), name)
            # Stripped: no table of symbols beyond what the loader needs.
            self.assertNotIn(".symtab", package.run("readelf", "--wide", "-S", path))


if __name__ == "__main__":
    unittest.main()
