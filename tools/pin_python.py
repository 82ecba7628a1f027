"""Writes third_party/python/requirements*.txt: every package, its version and its hash.

Run by hand after a change to a requirements*.in file, inside any Python 3.11 venv whose pip can
resolve (23 or newer): python tools/pin_python.py
The set-up then installs with --require-hashes --no-deps, so nothing is resolved on a user's machine.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent / "third_party" / "python"
NO_DEPS = "# no-deps"


def resolve(lines, *options):
    """The packages that pip would install for these requirement lines: name -> (version, hash)."""
    if not lines:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        wanted = pathlib.Path(scratch, "wanted.txt")
        report = pathlib.Path(scratch, "report.json")
        wanted.write_text("\n".join(lines) + "\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
             "--only-binary", ":all:", "--report", report, "-r", wanted, *options],
            check=True)
        installs = json.loads(report.read_text())["install"]
    return {
        entry["metadata"]["name"]: (entry["metadata"]["version"],
                                    entry["download_info"]["archive_info"]["hashes"]["sha256"])
        for entry in installs
    }


def pin(source, taken):
    """Writes the pins of `source`; all files go into one environment, so what others have `taken`
    is used as it is, and not pinned again."""
    lines = [line for line in source.read_text().splitlines() if line.partition("#")[0].strip()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("".join(f"{name}=={version}\n" for name, (version, _) in taken.items()))
        constraints.flush()
        pins = resolve([line for line in lines if NO_DEPS not in line], "-c", constraints.name)
    pins |= resolve([line.partition("#")[0] for line in lines if NO_DEPS in line], "--no-deps")
    pins = {name: pin for name, pin in pins.items() if name not in taken}
    text = f"# Written by tools/pin_python.py from {source.name} for CPython 3.11 on x86-64.\n"
    for name, (version, digest) in sorted(pins.items(), key=lambda pin: pin[0].lower()):
        text += f"{name}=={version} --hash=sha256:{digest}\n"
    source.with_suffix(".txt").write_text(text)
    print(f"{source.with_suffix('.txt').name}: {len(pins)} packages")
    taken.update(pins)


if __name__ == "__main__":
    everything = {}
    # The one that every environment has comes first.
    for requirements in sorted(ROOT.glob("requirements*.in"), key=lambda path: path.stem):
        pin(requirements, everything)
