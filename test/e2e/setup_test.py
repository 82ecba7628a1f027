"""tools/setup.sh on machines that are not ours: a stand-in for apt-cache says what Debian offers."""

import os
import pathlib
import subprocess
import unittest

from harness import ROOT, Scene

# Answers as apt-cache does. `madison` lists every version that the sources know; `policy` names the
# one that would be installed; `show` ends with 0 also for a version that nobody offers.
APT_CACHE = """#!/bin/bash
case $1 in
  madison) for version in $OFFERED; do echo "   $2 | $version | http://debian bookworm/main amd64 Packages"; done ;;
  policy)
    printf '%s:\\n  Installed: (none)\\n' "$2"
    [ -z "$OFFERED" ] || printf '  Candidate: %s\\n' "${OFFERED%% *}" ;;
  show) exit 0 ;;
esac
"""


class ChooseVersion(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stand_in = cls.directory / "apt-cache"
        stand_in.write_text(APT_CACHE)
        stand_in.chmod(0o755)

    def choose(self, package, pinned, rule, offered="", **environment):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", 'source tools/setup.sh; choose_version "$@"', "setup",
             package, pinned, rule],
            cwd=ROOT, capture_output=True, text=True, env={
                **{key: value for key, value in os.environ.items() if key != "GLIA_ANY_VERSION"},
                "PATH": f"{self.directory}:{os.environ['PATH']}", "OFFERED": offered,
                **environment})

    def test_the_pinned_version_is_taken_also_when_a_newer_one_is_offered(self):
        chosen = self.choose("libfoo", "1.2-3", "exact", "1.2-4 1.2-3")
        self.assertEqual((chosen.returncode, chosen.stdout, chosen.stderr), (0, "1.2-3\n", ""))

    def test_another_revision_of_the_same_version_is_taken_and_told(self):
        chosen = self.choose("libfoo", "1:1.2-3", "exact", "1:1.2-3+deb12u1")
        self.assertEqual((chosen.returncode, chosen.stdout), (0, "1:1.2-3+deb12u1\n"))
        self.assertIn("libfoo: found 1:1.2-3+deb12u1 instead of the pinned 1:1.2-3", chosen.stderr)

    def test_another_version_is_an_error_that_says_what_to_do(self):
        chosen = self.choose("libfoo", "1.2-3", "exact", "1.3-1")
        self.assertEqual((chosen.returncode, chosen.stdout), (1, ""))
        self.assertIn("Glia is pinned to 1.2-3, this machine offers 1.3-1", chosen.stderr)
        self.assertIn("GLIA_ANY_VERSION=1", chosen.stderr)

    def test_another_version_is_taken_by_those_who_insist(self):
        chosen = self.choose("libfoo", "1.2-3", "exact", "1.3-1", GLIA_ANY_VERSION="1")
        self.assertEqual((chosen.returncode, chosen.stdout), (0, "1.3-1\n"))

    def test_a_package_without_a_pin_takes_what_is_offered(self):
        chosen = self.choose("jq", "1.6-2", "any", "1.7-1")
        self.assertEqual((chosen.returncode, chosen.stdout), (0, "1.7-1\n"))

    def test_a_dot_in_the_pinned_version_stands_for_itself(self):
        chosen = self.choose("libfoo", "1.2-3", "exact", "1x2-3")
        self.assertEqual((chosen.returncode, chosen.stdout), (1, ""))

    def test_a_package_that_debian_does_not_have_is_named(self):
        chosen = self.choose("libfoo", "1.2-3", "exact")
        self.assertEqual((chosen.returncode, chosen.stdout), (1, ""))
        self.assertIn("Debian offers no package libfoo", chosen.stderr)


class Door(unittest.TestCase):
    """./dev itself, as far as it needs no set-up."""

    def dev(self, *arguments):
        return subprocess.run([ROOT / "dev", *arguments], cwd=pathlib.Path("/"), capture_output=True,
                              text=True)

    def test_alone_it_lists_its_commands(self):
        for ran in (self.dev(), self.dev("help")):
            self.assertEqual((ran.returncode, ran.stderr), (0, ""))
            for command in ("demo", "test", "bench", "build", "fmt", "lint", "shell"):
                self.assertRegex(ran.stdout, rf"(?m)^  {command}\b")

    def test_a_command_that_does_not_exist_is_an_error_with_the_list(self):
        ran = self.dev("nonsense")
        self.assertEqual((ran.returncode, ran.stdout), (1, ""))
        self.assertIn("usage: ./dev COMMAND", ran.stderr)
        self.assertIn("there is no command 'nonsense'", ran.stderr)


if __name__ == "__main__":
    unittest.main()
