"""The documents against the tree: every pinned dependency stands on its page, the supported fields of
Envoy's messages are those that are read, and every command line that a newcomer is told to type names a
program, a command and flags that exist."""

import json
import math
import os
import pathlib
import re
import shlex
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("GLIA_BIN", ROOT / "bazel-bin"))
PINS = ROOT / "third_party"
PROGRAMS = {
    "glia": BIN / "cli" / "glia",
    "glia-control": BIN / "control_plane" / "glia-control",
    "glia-proxy": BIN / "proxy" / "server" / "glia-proxy",
}
TYPED = ["README.md", "docs/run-on-one-machine.md"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def pinned_debian():
    for line in (PINS / "apt-packages.txt").read_text().splitlines():
        words = line.partition("#")[0].split()
        if words:
            yield words[1], words[2]


def pinned_crates():
    lock = (PINS / "crates" / "Cargo.lock").read_text()
    for name, version in re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', lock):
        if name != "glia-c-sources":  # Our own.
            yield name, version


def pinned_python():
    for path in sorted((PINS / "python").glob("requirements*.txt")):
        yield from re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.M)


def pinned_go():
    return re.findall(r"^(?:require )?\s*(\S+\.\S+/\S+) (v\S+)", (PINS / "go" / "go.mod").read_text(), re.M)


def pinned_node():
    packages = json.loads((PINS / "node" / "package-lock.json").read_text())["packages"]
    return {(path.rpartition("node_modules/")[2], package["version"])
            for path, package in packages.items() if path}


class Dependencies(unittest.TestCase):
    page = read("docs/DEPENDENCIES.md")

    def lacking(self, pins):
        """The pins whose name and version do not stand together: in one cell, or side by side."""
        pins = list(pins)
        self.assertGreater(len(pins), 0)
        return [f"{name} {version}" for name, version in pins if not re.search(
            rf"(?<![\w.-]){re.escape(name)}`?(?: \| | ){re.escape(version)}(?![\w+~-]|\.\d)", self.page)]

    def test_every_debian_package_is_explained(self):
        self.assertEqual(self.lacking(pinned_debian()), [])

    def test_every_crate_is_named(self):
        self.assertEqual(self.lacking(pinned_crates()), [])

    def test_every_python_package_is_named(self):
        self.assertEqual(self.lacking(pinned_python()), [])

    def test_every_go_module_is_named_and_has_a_checksum(self):
        self.assertEqual(self.lacking(pinned_go()), [])
        sums = (PINS / "go" / "go.sum").read_text()
        self.assertEqual([f"{name} {version}" for name, version in pinned_go()
                          if f"{name} {version} h1:" not in sums], [])

    def test_every_node_package_is_named_and_has_a_checksum(self):
        self.assertEqual(self.lacking(sorted(pinned_node())), [])
        packages = json.loads((PINS / "node" / "package-lock.json").read_text())["packages"]
        self.assertEqual([path for path, package in packages.items()
                          if path and not package.get("integrity", "").startswith("sha512-")], [])

    def test_what_the_workspace_pins_is_explained(self):
        workspace = read("WORKSPACE")
        artifact = re.search(r'artifact = "([^"]+):jar"', workspace).group(1)
        nghttp2 = re.search(r'nghttp2_version = "([^"]+)"', workspace).group(1)
        self.assertIn(artifact, self.page)
        self.assertIn(f"| nghttp2 | {nghttp2}", self.page)


class EnvoyFields(unittest.TestCase):
    """docs/envoy-bootstrap.md lists the fields that the decoders read, all of them and no others."""

    PARTS = {"fields", "string_value"}  # Of google.protobuf.Struct, which a reader writes as a map.
    BY_DIRECTION = {"request_headers_to_add", "request_headers_to_remove",
                    "response_headers_to_add", "response_headers_to_remove"}

    def setUp(self):
        self.named = set(re.findall(r"`([a-z_0-9]+)`", read("docs/envoy-bootstrap.md")))
        decoders = [*sorted((ROOT / "proxy" / "xds").glob("decode_*.cc")), ROOT / "proxy/xds/file.cc"]
        self.code = "".join(path.read_text() for path in decoders)

    def test_every_field_that_is_read_is_listed(self):
        verbs = ("text|texts|flag|number|numbers|signed_number|real|message|choice|each|each_in_map|duration|"
                 "accept|only|has")
        fields = set(re.findall(rf'\.(?:{verbs})\(\s*"([a-z_0-9]+)"', self.code))
        self.assertGreater(len(fields), 100)
        self.assertEqual(sorted(fields - self.named - self.PARTS), [])

    def test_every_listed_field_is_read(self):
        literals = set(re.findall(r'"([a-z_0-9]+)"', self.code))
        self.assertEqual(sorted(self.named - literals - self.BY_DIRECTION), [])


class Reasons(unittest.TestCase):
    def test_every_reason_for_an_answer_of_ours_is_explained(self):
        given = set(re.findall(r'"([a-z_]+)"', read("proxy/flow/rescue.cc")))
        self.assertGreater(len(given), 15)
        explained = set(re.findall(r"^\| `(\w+)` \|", read("docs/read-a-503.md"), re.M))
        self.assertEqual(sorted(given - explained), [])

    def test_every_flag_is_explained(self):
        letters = re.search(r"kLetters = \{([^}]*)\}", read("proxy/flow/flags.cc"))[1]
        explained = set(re.findall(r"^\| `(\w+)` \|", read("docs/access-log.md"), re.M))
        self.assertEqual(sorted(set(re.findall(r'"(\w+)"', letters)) - explained), [])


def constant(path, name):
    """What stands behind `name =` in a file of the code; "" if it is not there."""
    found = re.search(rf"\b{name} = ([^;]+);", read(path))
    if not found:
        return ""
    value = found[1].replace("'", "")
    return value[:value.index("}") + 1] if value.startswith("{") else value.partition(",")[0]


def written_forms(value):
    """How a constant may stand in a table: "64 * 1024" as 65536 or 64 KiB, "10s" as 10 s."""
    if value.startswith("{"):  # A rate and its burst.
        return {"{} ({} at once)".format(*re.findall(r"= (\d+)", value))}
    if duration := re.fullmatch(r"(\d+)(ms|s|min|h)", value):
        return {f"{duration[1]} {duration[2]}"}
    factors = [int(factor.rstrip("u")) for factor in re.split(r" (?:\*|<<) ", value)]
    number = factors[0] << factors[1] if "<<" in value else math.prod(factors)
    forms = {f"{number}{unit}" for unit in ("", " bytes", " bits", " s", " %", " (none)")}
    forms |= {f"{number >> 10} KiB" if number % 1024 == 0 else "",
              f"{number >> 20} MiB" if number % (1 << 20) == 0 else ""}
    return forms


class Limits(unittest.TestCase):
    def test_the_defaults_are_those_of_the_code(self):
        rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|(?:.*\|)? `([\w/.]+):(\w+)` \|$",
                          read("docs/limits.md"), re.M)
        self.assertGreater(len(rows), 80)
        for default, path, name in rows:
            with self.subTest(limit=f"{path}:{name}"):
                value = constant(path, name)
                self.assertTrue(value, "the code has no such constant")
                self.assertIn(default, written_forms(value))


def typed_lines(text):
    """What a reader would type: the lines of ```sh blocks, continued ones joined."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"\w+=\S*", words[0]):
                words = words[1:]
            if words:
                yield words


def help_of(*command):
    ended = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=20)
    return ended.returncode, ended.stdout + ended.stderr


def flags(words):
    return [word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)]


class Commands(unittest.TestCase):
    def complaint(self, words):
        """What is wrong with this command line; "" if nothing is."""
        name = pathlib.PurePath(words[0]).name
        if words[0] == "./dev":
            if len(words) < 2:
                return ""
            known = re.findall(r"^  (\w+)\)$", read("dev"), re.M)
            return "" if words[1] in known else f"./dev has no command {words[1]}"
        if name not in PROGRAMS:
            return ""  # curl, cd and other people's programs.
        program = str(PROGRAMS[name])
        commands = []
        for word in words[1:3]:
            if not re.fullmatch(r"[a-z]+", word):
                break
            listed = help_of(program, *commands)[1].partition("Subcommands:")[2]
            if not re.search(rf"^ +{word}\b", listed, re.M):
                if not listed:
                    break  # An argument of a command that has no commands below it.
                return f"{name} has no command {' '.join([*commands, word])}"
            commands.append(word)
        code, text = help_of(program, *commands)
        if code != 0:
            return f"{' '.join([name, *commands])} --help ends with {code}"
        missing = [flag for flag in flags(words[1:])
                   if not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text)]
        return f"{' '.join([name, *commands])} has no {', '.join(missing)}" if missing else ""

    def setUp(self):
        for name, path in PROGRAMS.items():
            if not path.exists():
                self.skipTest(f"{name} is not built: ./dev build")

    def test_every_command_line_of_the_first_pages_exists(self):
        for page in TYPED:
            lines = list(typed_lines(read(page)))
            self.assertGreater(len(lines), 0, page)
            for words in lines:
                with self.subTest(page=page, line=shlex.join(words)):
                    self.assertEqual(self.complaint(words), "")

    def test_what_does_not_exist_is_noticed(self):
        for line in ("glia fly", "glia run --fast mesh.yaml", "glia config improve", "./dev cook",
                     "glia-proxy --joined FILE"):
            with self.subTest(line=line):
                self.assertNotEqual(self.complaint(shlex.split(line)), "")


if __name__ == "__main__":
    unittest.main()
