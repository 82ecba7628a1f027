"""Makes what people install: a .deb and a tarball of the four programs, and what belongs to them.

Called by ./dev package, which has built the programs with --config=package, so that they need nothing
beyond libc; that is looked at here again. The same commit makes the same bytes: files carry the commit's
time ($SOURCE_DATE_EPOCH if it is set), are sorted, and belong to root.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ROOT / "tools" / "packaging"  # Units and the package's scripts.
PROGRAMS = {"glia": "cli/glia", "glia-proxy": "proxy/server/glia-proxy",
            "glia-control": "control_plane/glia-control",
            "glia-translate": "control_plane/standalone/glia-translate"}
# libc and what is libc in other files.
LIBC = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# Licences as documents name them, and as SPDX does.
SPDX = {"MIT (X11)": "MIT", "public domain": "blessing",
        "GPL-3+ with runtime exception": "GPL-3.0-or-later WITH GCC-exception-3.1"}
CRATES = {"BoringSSL": "boringssl/LICENSE", "nghttp2": "nghttp2/COPYING"}


class PackageError(Exception):
    """A sentence for whoever runs ./dev package."""


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise PackageError(f"{' '.join(map(str, command))}: status {done.returncode}: "
                           f"{done.stdout}{done.stderr}".strip())
    return done.stdout


# --- what the programs are ----------------------------------------------------------------------

def version():
    return re.search(r'kGliaVersion = "([^"]+)"', (ROOT / "proxy/base/version.h").read_text())[1]


def commit():
    return run("git", "-C", ROOT, "rev-parse", "HEAD").strip()


def commit_time():
    chosen = os.environ.get("SOURCE_DATE_EPOCH")
    return int(chosen or run("git", "-C", ROOT, "log", "-1", "--format=%ct"))


def needs_of(program):
    """The shared objects that this program asks for."""
    return re.findall(r"\(NEEDED\).*\[([^\]]+)\]", run("readelf", "--wide", "-d", program))


def oldest_libc(programs):
    """The version of glibc that has all the symbols that these programs use."""
    seen = {tuple(map(int, found.split("."))) for program in programs
            for found in re.findall(r"GLIBC_(\d+(?:\.\d+)+)", run("readelf", "--wide", "-V", program))}
    return ".".join(map(str, max(seen)))


def check_programs(programs):
    for name, path in programs.items():
        if not path.exists():
            raise PackageError(f"{path} is not there: build it with `./dev package`")
        beyond = sorted(set(needs_of(path)) - LIBC)
        if beyond:
            raise PackageError(f"{name} needs {', '.join(beyond)}, which a machine may not have: build it with "
                               "`./dev package` (bazel's --config=package)")


# --- what is in them ----------------------------------------------------------------------------

def linked_parts():
    """What is linked in, from the table of docs/DEPENDENCIES.md: name, version, licence, Debian package."""
    text = (ROOT / "docs" / "DEPENDENCIES.md").read_text()
    table = text[text.index("## In the programs"):text.index("## Tools of the build")]
    parts = []
    for row in re.findall(r"^\| (?!what|-)(.+) \|$", table, re.M):
        name, versions, licence, source = row.split(" | ")[:4]
        debian = re.match(r"`([\w+.-]+)` (\S+)", versions) if source.startswith("Debian") else None
        parts.append({"name": name, "licence": SPDX.get(licence, licence),
                      "debian": debian and debian[1],
                      "version": debian[2] if debian else versions.replace("`", "")})
    for part in parts:
        if part["debian"]:  # What was linked is what is installed, whatever the table says.
            part["version"] = run("dpkg-query", "-W", "-f", "${Version}", part["debian"])
    return parts


def licence_text(part, external):
    if part["debian"]:
        return pathlib.Path("/usr/share/doc", part["debian"], "copyright").read_text(errors="replace")
    if part["name"] in CRATES:
        return (external / "crates" / CRATES[part["name"]]).read_text(errors="replace")
    return f"{part['name']} {part['version']}\n\n{(ROOT / 'LICENSE').read_text()}"  # Apache-2.0, as ours.


def spdx_id(name):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", name)


def bill_of_materials(programs, parts, when):
    """SPDX 2.3, the JSON form."""
    number, revision = version(), commit()
    packages = [{"name": "glia", "SPDXID": "SPDXRef-glia", "versionInfo": number,
                 "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
                 "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0",
                 "copyrightText": "NOASSERTION", "sourceInfo": f"commit {revision}"}]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-glia")]
    for part in parts:
        package = {"name": part["name"], "SPDXID": spdx_id(part["name"]),
                   "versionInfo": part["version"], "downloadLocation": "NOASSERTION",
                   "filesAnalyzed": False, "licenseConcluded": part["licence"],
                   "licenseDeclared": part["licence"], "copyrightText": "NOASSERTION"}
        if part["debian"]:
            locator = f"pkg:deb/debian/{part['debian']}@{part['version']}"
            package["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                        "referenceLocator": locator.replace("+", "%2B")}]
        packages.append(package)
        relations.append(("SPDXRef-glia", "STATIC_LINK", package["SPDXID"]))
    files = []
    for name, path in programs.items():
        files.append({"fileName": f"./bin/{name}", "SPDXID": spdx_id(f"file-{name}"),
                      "checksums": [{"algorithm": kind.upper(),
                                     "checksumValue": hashlib.new(kind, path.read_bytes()).hexdigest()}
                                    for kind in ("sha1", "sha256")],
                      "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
                      "fileTypes": ["BINARY"]})
        relations.append(("SPDXRef-glia", "CONTAINS", files[-1]["SPDXID"]))
    created = run("date", "-u", "-d", f"@{when}", "+%Y-%m-%dT%H:%M:%SZ").strip()
    return {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
            "name": f"glia-{number}",
            "documentNamespace": f"https://glia.dev/spdx/glia-{number}-{revision}",
            "creationInfo": {"created": created, "creators": ["Tool: glia ./dev package"]},
            "packages": packages, "files": files,
            "relationships": [{"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
                              for one, kind, other in relations]}


# --- pages --------------------------------------------------------------------------------------

def roff(text):
    """As it stands: a line that begins like a request, and backslashes, are no requests."""
    lines = (line.replace("\\", "\\e").replace("-", "\\-") for line in text.splitlines())
    return "\n".join("\\&" + line if line[:1] in ".'" else line for line in lines)


def commands_of(text):
    """The commands that a page of CLI11's --help lists."""
    found = re.search(r"^Subcommands:\n((?:  .*\n?)+)", text, re.M)
    return re.findall(r"^  ([a-z][\w-]*)", found[1], re.M) if found else []


def help_pages(program, words=()):
    """(words, what --help says) of a program and of all its commands."""
    text = run(program, *words, "--help", env={"PATH": "/usr/bin:/bin", "COLUMNS": "100"})
    yield words, text
    for command in commands_of(text):
        yield from help_pages(program, (*words, command))


def manual(name, program, when):
    pages = list(help_pages(program))
    first = pages[0][1].strip().splitlines()[0].rstrip(".")
    day = run("date", "-u", "-d", f"@{when}", "+%Y-%m-%d").strip()
    out = [f'.TH {name.upper()} 1 {day} "glia {version()}" "Glia"', ".SH NAME",
           f"{roff(name)} \\- {roff(first)}"]
    for words, text in pages:
        title = " ".join((name, *words))
        out += [f'.SH "{roff(title)}"', ".nf", roff(text.strip()), ".fi"]
    out += [".SH SEE ALSO", "/usr/share/doc/glia, glia(1), glia\\-proxy(1), glia\\-control(1)"]
    return "\n".join(out) + "\n"


# --- the tree -----------------------------------------------------------------------------------

class Tree:
    """Files to be installed below /usr, by their path from there."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def put(self, path, content, mode=0o644):
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pathlib.Path):
            shutil.copyfile(content, place)
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)

    def put_zipped(self, path, text, when):
        self.put(path, zipped(text.encode(), when))


def zipped(content, when):
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, out, mtime=when) as file:
        file.write(content)
    return out.getvalue()


def stage(tree, programs, external, when):
    """All files; returns the programs as they are shipped."""
    shipped = {}
    for name, path in programs.items():
        tree.put(f"bin/{name}", path, 0o755)
        shipped[name] = tree.directory / "bin" / name
        run("strip", "--strip-all", "--remove-section=.comment", shipped[name])
        tree.put_zipped(f"share/man/man1/{name}.1.gz", manual(name, shipped[name], when), when)
    for unit in sorted(PARTS.glob("*.service")):
        tree.put(f"lib/systemd/system/{unit.name}", unit)
    complete = {shell: run(shipped["glia"], "completion", shell) for shell in ("bash", "zsh")}
    tree.put("share/bash-completion/completions/glia", complete["bash"])
    tree.put("share/zsh/vendor-completions/_glia", complete["zsh"])
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        tree.put(f"share/doc/glia/examples/{path.name}", path)
    for path in sorted((ROOT / "docs").glob("*.md")):
        tree.put(f"share/doc/glia/{path.name}", path)
    parts = linked_parts()
    for part in parts:
        file = re.sub(r"[^A-Za-z0-9.+]+", "-", part["name"])
        tree.put(f"share/doc/glia/licences/{file}", licence_text(part, external))
    for name in ("GPL-3", "Apache-2.0"):
        tree.put(f"share/doc/glia/licences/common/{name}", pathlib.Path("/usr/share/common-licenses", name))
    names = "".join(f"{part['name']} {part['version']}: {part['licence']}\n" for part in parts)
    tree.put("share/doc/glia/copyright", f"{(ROOT / 'LICENSE').read_text()}\n"
             f"The programs have these parts of others in them, whose licences are in licences/:\n\n{names}")
    bill = bill_of_materials(shipped, parts, when)
    tree.put("share/doc/glia/glia.spdx.json", json.dumps(bill, indent=1, sort_keys=True) + "\n")
    return shipped


def settle(directory, when):
    """What differs from one run to the next: times, and rights that the caller's umask took."""
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (when, when))
    directory.chmod(0o755)
    os.utime(directory, (when, when))


def architecture():
    return run("dpkg", "--print-architecture").strip()


def tarball(usr, target, when):
    """Of the tree, below one directory, to be put into any prefix."""
    def as_root(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = when
        return entry

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in [usr, *sorted(usr.rglob("*"))]:
            inside = pathlib.PurePath(f"glia-{version()}", path.relative_to(usr))
            archive.add(path, arcname=str(inside), recursive=False, filter=as_root)
    target.write_bytes(zipped(out.getvalue(), when))


def debian(top, target, shipped, when):
    """`top` has usr/ in it, and gets DEBIAN/."""
    control = top / "DEBIAN"
    control.mkdir()
    size = sum(path.stat().st_size for path in top.rglob("*") if path.is_file()) // 1024 + 1
    (control / "control").write_text(f"""Package: glia
Version: {version()}
Architecture: {architecture()}
Maintainer: The authors of Glia
Installed-Size: {size}
Depends: libc6 (>= {oldest_libc(shipped.values())})
Recommends: nftables | iptables, systemd
Section: net
Priority: optional
Description: service mesh for model traffic
 glia-proxy stands beside an application and carries its traffic, with mutual TLS and with an eye for
 requests to models. glia-control tells every such sidecar what to do. glia is the command for both;
 with it a machine joins a mesh, or leaves it.
""")
    for name in ("postinst", "prerm", "postrm"):
        shutil.copyfile(PARTS / name, control / name)
        (control / name).chmod(0o755)
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(top)}\n"
                   for path in sorted((top / "usr").rglob("*")) if path.is_file())
    (control / "md5sums").write_text(sums)
    settle(top, when)
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z6", "--threads-max=1", "--build", top, target,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(when)})


def make(programs, external, target):
    """The packages, below `target`; returns their paths."""
    when = commit_time()
    target.mkdir(parents=True, exist_ok=True)
    name = f"glia_{version()}_{architecture()}"
    files = [target / f"{name}.deb", target / f"{name}.tar.gz", target / f"{name}.spdx.json"]
    with tempfile.TemporaryDirectory() as scratch:
        top = pathlib.Path(scratch, "top")
        tree = Tree(top / "usr")
        shipped = stage(tree, programs, external, when)
        settle(top, when)
        tarball(top / "usr", files[1], when)
        shutil.copyfile(top / "usr/share/doc/glia/glia.spdx.json", files[2])
        debian(top, files[0], shipped, when)
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (target / "SHA256SUMS").write_text(sums)
    return files


def main():
    parser = argparse.ArgumentParser(prog="./dev package", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "dist", help="where they go [dist]")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "bazel-bin",
                        help="a bazel-bin with programs to package")
    options = parser.parse_args()
    programs = {name: options.programs / path for name, path in PROGRAMS.items()}
    try:
        check_programs(programs)
        for file in make(programs, ROOT / f"bazel-{ROOT.name}" / "external", options.out):
            print(f"{file.stat().st_size / 1e6:7.2f} MB  {file}")
    except PackageError as error:
        print(f"./dev package: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
