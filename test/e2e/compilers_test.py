"""The day-one test of coroutines with both compilers, at every optimisation level and under
AddressSanitizer: awaiting a million tasks that finish at once must not use up the stack."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCES = ["proxy/base/task_test.cc", "proxy/base/pool.cc", "proxy/base/check.cc"]
ASAN = ["-O1", "-fsanitize=address", "-DGLIA_MALLOC_POOLS"]
SETTINGS = [["-O0"], ["-O1"], ["-O2"], ["-O3"], ASAN]


class Coroutines(unittest.TestCase):
    def check(self, compiler):
        if not shutil.which(compiler):
            self.skipTest(f"there is no {compiler} on this machine")
        with tempfile.TemporaryDirectory() as scratch:
            for flags in SETTINGS:
                with self.subTest(compiler=compiler, flags=" ".join(flags)):
                    program = pathlib.Path(scratch, "task_test")
                    subprocess.run(
                        [compiler, "-std=c++20", *flags, "-I.", *SOURCES, "-lgtest", "-lgtest_main",
                         "-lpthread", "-o", program], cwd=ROOT, check=True)
                    done = subprocess.run([program, "--gtest_brief=1"], capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_gcc(self):
        self.check("g++")

    def test_clang(self):
        self.check("clang++-19")


if __name__ == "__main__":
    unittest.main()
