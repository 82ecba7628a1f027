"""The rules of the house that a compiler does not check: floors, absences, sizes, and that the
documents name what exists. ARCHITECTURE.md and STYLE.md say why."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Each floor may include itself and what is listed.
BASE = ["proxy/base"]
TELEMETRY = BASE + ["proxy/telemetry"]
NET = BASE + ["proxy/net"]
HTTP = NET + ["proxy/http"]
MODEL = HTTP + ["proxy/model"]
ADMISSION = NET + TELEMETRY + ["proxy/admission"]
MESH = MODEL + TELEMETRY + ["proxy/admission", "proxy/mesh"]
FLOW = MESH + ["proxy/flow"]
FLOORS = {
    "proxy/base": BASE,
    "proxy/telemetry": TELEMETRY,
    "proxy/net": NET,
    "proxy/http": HTTP,
    "proxy/model": MODEL,
    "proxy/admission": ADMISSION,
    "proxy/mesh": MESH,
    "proxy/flow": FLOW,
    "filters": FLOW + ["filters"],
    "proxy/xds": MESH + ["proxy/xds", "api"],
    "proxy/server": FLOW + ["filters", "proxy/xds", "proxy/server", "control_plane/standalone"],
}
FILE_MOST = 600  # lines


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\n")
    return [name for name in listed if name and (ROOT / name).exists()]


def sources(*folders):
    return [name for name in tracked("*.h", "*.cc")
            if any(name.startswith(folder + "/") for folder in folders)]


def code(name):
    """The text of a file without comments and string literals."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*", "", text)


def includes(name):
    return re.findall(r'^#include "([^"]+)"', (ROOT / name).read_text(encoding="utf-8"), re.M)


def is_test(name):
    return name.endswith("_test.cc") or "test_support" in name or name.startswith("test/")


class Floors(unittest.TestCase):
    def test_each_floor_includes_only_downward(self):
        wrong = []
        for floor, below in FLOORS.items():
            for name in sources(floor):
                if is_test(name):
                    continue
                for include in includes(name):
                    if "/" not in include or include.startswith(("envoy/", "google/", "glia/")):
                        continue
                    if not any(include.startswith(room + "/") for room in below):
                        wrong.append(f"{name} includes {include}")
        self.assertEqual(wrong, [])

    def test_nothing_outside_tests_includes_test(self):
        wrong = [f"{name} includes {include}" for name in tracked("*.h", "*.cc")
                 if not is_test(name) for include in includes(name) if include.startswith("test/")]
        self.assertEqual(wrong, [])

    def test_no_filter_includes_another(self):
        wrong = []
        for name in sources("filters"):
            stem = pathlib.Path(name).name.split(".")[0].split("_")[0]
            if stem == "all" or is_test(name):
                continue
            wrong += [f"{name} includes {include}" for include in includes(name)
                      if include.startswith("filters/") and not include.startswith(f"filters/{stem}")]
        self.assertEqual(wrong, [])


class Absences(unittest.TestCase):
    def refuse(self, pattern, folders, allowed=()):
        found = []
        for name in sources(*folders):
            if is_test(name) or any(name.startswith(place) for place in allowed):
                continue
            for number, line in enumerate(code(name).split("\n"), 1):
                if re.search(pattern, line):
                    found.append(f"{name}:{number}: {line.strip()}")
        self.assertEqual(found, [])

    def test_no_protobuf_on_the_request_path(self):
        self.refuse(r"\bprotobuf\b|\.pb\.h", ["proxy", "filters"],
                    ["proxy/xds/schema/", "proxy/xds/identity"])
        wrong = [name for name in sources("proxy", "filters") if not is_test(name)
                 and not name.startswith(("proxy/xds/schema/", "proxy/xds/identity"))
                 for include in re.findall(r"#include [<\"]([^>\"]+)", (ROOT / name).read_text())
                 if include.startswith("google/protobuf") or include.endswith(".pb.h")]
        self.assertEqual(wrong, [])

    def test_no_socket_above_net(self):
        self.refuse(r"\b(socket|accept4?|connect|bind|listen|recv|send|getsockopt)\s*\(\s*(AF_|fd)",
                    ["proxy", "filters"], ["proxy/net/"])
        self.refuse(r"(?<!\w)::(socket|accept4?|connect|bind|listen|recv|send|setsockopt)\(",
                    ["proxy", "filters"], ["proxy/net/"])

    def test_locks_and_atomics_only_at_the_bottom(self):
        self.refuse(r"std::(mutex|atomic|shared_mutex|condition_variable|call_once)|\bthread_local\b",
                    ["proxy", "filters"], ["proxy/base/", "proxy/net/", "proxy/telemetry/"])

    def test_time_only_through_clock(self):
        self.refuse(r"(steady_clock|system_clock)::now|clock_gettime|gettimeofday|\btime\(nullptr\)",
                    ["proxy", "filters", "control_plane"], ["proxy/base/time"])

    def test_no_exceptions_thrown(self):
        # yaml-cpp's event parser can be stopped by an exception only.
        self.refuse(r"\bthrow\b(?!;)", ["proxy", "filters", "control_plane", "cli"],
                    ["control_plane/objects/yaml.cc"])

    def test_no_capturing_lambda_coroutine(self):
        wrong = []
        for name in sources("proxy", "filters", "control_plane", "cli"):
            if is_test(name):
                continue
            for match in re.finditer(r"\[[^\]\n]+\]\s*\([^)]*\)\s*(?:mutable\s*)?->\s*Task<", code(name)):
                wrong.append(f"{name}: {match.group(0)}")
        self.assertEqual(wrong, [])

    def test_shared_ptr_only_to_const(self):
        self.refuse(r"std::shared_ptr<(?!const\b)(?!spdlog|class|T\b|.*\bgrpc\b)",
                    ["proxy/base", "proxy/net", "proxy/http", "proxy/mesh", "proxy/flow", "filters"])


class Shape(unittest.TestCase):
    def test_no_file_outgrows_its_job(self):
        long = [f"{name}: {count} lines" for name in tracked("*.h", "*.cc", "*.py", "*.bzl", "*.sh")
                if (count := len((ROOT / name).read_text(encoding="utf-8").split("\n"))) > FILE_MOST]
        self.assertEqual(long, [])

    def test_each_file_says_what_it_is(self):
        silent = [name for name in tracked("*.h") if not
                  (ROOT / name).read_text(encoding="utf-8").startswith("// ")]
        self.assertEqual(silent, [])

    def test_no_test_waits_by_sleeping(self):
        found = []
        for name in tracked("test/*", "demo/*", "*_test.cc", "*_test.py"):
            if not name.endswith((".cc", ".h", ".py")) or name.endswith("tidy_test.py"):
                continue
            # sleep_for(loop, ...) is virtual time.
            pattern = r"std::this_thread::sleep|\busleep\(|\bnanosleep\("
            if re.search(pattern, (ROOT / name).read_text(encoding="utf-8")):
                found.append(name)
        self.assertEqual(found, [])

    def test_nothing_is_left_undone_silently(self):
        found = []
        for name in tracked("*.h", "*.cc", "*.py", "*.sh", "*.proto", "dev"):
            if name.endswith("tidy_test.py"):
                continue
            for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").split("\n"), 1):
                if re.search(r"\b(TODO|FIXME|XXX)\b", line):
                    found.append(f"{name}:{number}")
        self.assertEqual(found, [])

    def test_the_tree_names_no_machine(self):
        pattern = re.compile(r"(?<![\w.])/(work|root|farm|tmp/glia)/[a-z]")
        found = [f"{name}:{number}" for name in tracked()
                 if not name.endswith((".lock", ".png", "tidy_test.py"))
                 for number, line in enumerate(
                     (ROOT / name).read_text(encoding="utf-8", errors="replace").split("\n"), 1)
                 if pattern.search(line)]
        self.assertEqual(found, [])


class Documents(unittest.TestCase):
    def test_what_architecture_names_exists(self):
        text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
        named = re.findall(r"`([\w/]+(?:\.[\w/]+)*\.(?:h|cc|py|proto)):([\w:~]+)`", text)
        self.assertGreater(len(named), 20)
        missing = []
        for path, symbol in named:
            file = ROOT / path
            last = symbol.split("::")[-1]
            if not file.exists():
                missing.append(f"{path} does not exist")
            elif not re.search(rf"\b{re.escape(last)}\b", file.read_text(encoding="utf-8")):
                missing.append(f"{path} has no {symbol}")
        self.assertEqual(missing, [])

    def test_links_between_documents_lead_somewhere(self):
        broken = []
        for name in tracked("*.md"):
            text = (ROOT / name).read_text(encoding="utf-8")
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
                if "://" not in target and not (ROOT / name).parent.joinpath(target).exists():
                    broken.append(f"{name}: {target}")
        self.assertEqual(broken, [])


if __name__ == "__main__":
    unittest.main()
