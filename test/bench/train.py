"""Makes the profile by which the compiler lays out the released programs; called by ./dev profile.

Builds glia-proxy with counters in its code, sends it some of the comparison's workloads (rows.py), and
merges what was counted into a file in PROFILES, which --config=release (.bazelrc) gives to the compiler.
It says how often each branch is taken and each function called, by name and shape; a function that has
changed since is compiled without, so an old profile costs speed and nothing else. Make it anew when the
request path has changed much, or when `./dev bench` says that a bar is missed.

The file is named by its content, so that a build sees by the name when it is another one.
"""

import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import measure
import peers
import rows
import run
import stage

PROFILES = run.ROOT / "proxy" / "profile"
BAZELRC = run.ROOT / ".bazelrc"
LARGEST = 400_000  # bytes: it is kept in the tree
COUNTED = ["-c", "opt", "--config=counted"]

# How many requests of each row. What counts is the part that each has in all that is executed: about
# as much for handshakes as for requests, so that neither looks rare beside the other.
REQUESTS = {
    "http1-64": 20_000,
    "http1-tls": 5_000,
    "http2-8x32": 20_000,
    "http2-8x1": 10_000,
    "grpc-8x32": 10_000,
    "http2-tls-8x32": 5_000,
    "handshake-full": 200,
    "handshake-resumed": 200,
    "tcp-1k": 5_000,
    "body-http1": 8,
    "body-http1-up": 8,
    "body-http2": 8,
    "body-http2-up": 8,
    "sse": 0,  # As many events as in the comparison.
    "sidecar-http1": 10_000,
    "sidecar-http2": 10_000,
}


def train(scene):
    for name, count in REQUESTS.items():
        row = dataclasses.replace(rows.ROWS[name], count=count)
        run.say(f"{count} requests of {name}")
        block = measure.KINDS[row.kind](scene, row, row.contestants[rows.OURS])
        if block.errors:
            raise peers.BenchError(f"{name}: {block.first_error}")


def main():
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="glia-profile-") as scratch:
        scratch = pathlib.Path(scratch)
        run.build([run.PROGRAMS["load"]])
        shutil.copy(run.built(run.PROGRAMS["load"]), scratch / "load")
        run.build([run.PROGRAMS["glia-proxy"]], COUNTED)
        shutil.copy(run.built(run.PROGRAMS["glia-proxy"]), scratch / "glia-proxy")
        peers.Glia.binary = str(scratch / "glia-proxy")
        os.environ["LLVM_PROFILE_FILE"] = f"{scratch}/%p.profraw"
        scene = stage.Stage(str(scratch / "load"), [cpus[0], cpus[-1]])
        try:
            train(scene)
        finally:
            scene.close()  # The proxies write what they counted when they end.
        counted = sorted(scratch.glob("*.profraw"))
        if not counted:
            raise peers.BenchError("the proxies ended without writing what they counted")
        merged = scratch / "merged.profdata"
        subprocess.run(["llvm-profdata-19", "merge", "-sparse", "-o", merged, *counted], check=True)
        keep(merged.read_bytes())


def keep(profile):
    """In the place of the one before."""
    if len(profile) > LARGEST:
        raise peers.BenchError(f"the profile has {len(profile)} bytes, more than {LARGEST}")
    for old in PROFILES.glob("*.profdata"):
        old.unlink()
    path = PROFILES / f"{hashlib.sha256(profile).hexdigest()[:12]}.profdata"
    path.write_bytes(profile)
    text, found = re.subn(r"proxy/profile/\w+\.profdata", f"proxy/profile/{path.name}",
                          BAZELRC.read_text())
    if found == 0:
        raise peers.BenchError(f"{BAZELRC.name} names no profile")
    BAZELRC.write_text(text)
    run.say(f"{path.relative_to(run.ROOT)}: {len(profile)} bytes")


if __name__ == "__main__":
    try:
        main()
    except (peers.BenchError, subprocess.CalledProcessError) as error:
        run.say(f"profile: {error}")
        sys.exit(1)
