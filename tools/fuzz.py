"""Runs every fuzz target of test/fuzz for a while; part of ./dev test --long.

  tools/fuzz.py [--seconds N] [--keep] [TARGET...]

Each starts from its kept corpus (test/fuzz/corpus/TARGET). An input that makes it fail is put into
the corpus, where the ordinary tests replay it, and named. --keep also adds the inputs that reach
code which the corpus did not reach.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "test" / "fuzz" / "corpus"
BAZEL = "/usr/bin/bazel"
LONGEST_INPUT = 8192  # bytes
LARGEST_CORPUS = 100  # inputs of a target; --keep adds the smallest first, up to
LARGEST_KEPT = 512  # bytes of an input that --keep adds
MEMORY_MB = 2048


def all_targets():
    return sorted(source.stem for source in (ROOT / "test" / "fuzz").glob("*_fuzz.cc"))


def build(targets):
    command = [BAZEL, "build", "--config=fuzz", "--noshow_progress", "--ui_event_filters=-info",
               *(f"//test/fuzz:{target}" for target in targets)]
    return subprocess.run(command, cwd=ROOT).returncode == 0


def run(target, seconds, keep):
    """Fuzzes one target. Returns what is wrong, or None."""
    program = ROOT / "bazel-bin" / "test" / "fuzz" / target
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        grown = pathlib.Path(scratch, "grown")
        grown.mkdir()
        ran = subprocess.run(
            [program, f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", "-timeout=20",
             f"-rss_limit_mb={MEMORY_MB}", "-verbosity=0", f"-artifact_prefix={scratch}/", grown,
             corpus],
            capture_output=True, text=True, errors="replace", cwd=scratch)
        if ran.returncode != 0:
            kept = [shutil.copy(path, corpus) for path in pathlib.Path(scratch).glob("*-*")
                    if path.is_file()]
            tail = "\n".join(ran.stderr.splitlines()[-60:])
            return f"{target}: status {ran.returncode}, input kept as {kept}:\n{tail}"
        if keep:
            merge(program, corpus, grown, scratch)
    return None


def merge(program, corpus, grown, scratch):
    least = pathlib.Path(scratch, "least")
    least.mkdir()
    subprocess.run([program, "-merge=1", "-verbosity=0", least, corpus, grown],
                   capture_output=True, check=True, cwd=scratch)
    named = {path.name for path in corpus.iterdir()}
    smallest = sorted(least.iterdir(), key=lambda path: path.stat().st_size)
    for path in smallest[:max(0, LARGEST_CORPUS - len(named))]:
        if path.stat().st_size <= LARGEST_KEPT:
            shutil.copy(path, corpus / path.name)


def fuzz(targets, seconds, keep=False):
    """What is wrong with these targets, each a text."""
    if not build(targets):
        return ["the fuzz targets do not build, see above"]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [wrong for wrong in pool.map(lambda target: run(target, seconds, keep), targets)
                if wrong]


def main():
    parser = argparse.ArgumentParser(prog="tools/fuzz.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--keep", action="store_true", help="grow the corpus")
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    targets = options.targets or all_targets()
    wrong = fuzz(targets, options.seconds, options.keep)
    print(*wrong, sep="\n\n")
    print(f"{len(targets) - len(wrong)} targets without a fault, {len(wrong)} with one")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
