"""Keeps Bazel's disk cache below a bound: removes what was used longest ago. Bazel 4 never does."""

import os
import pathlib

CACHE = pathlib.Path.home() / ".cache" / "glia-bazel"  # Named in .bazelrc.
BOUND_BYTES = int(os.environ.get("GLIA_BAZEL_CACHE_BYTES", 10 << 30))


def main():
    files = []
    for directory, _, names in os.walk(CACHE):
        for name in names:
            try:
                stat = os.stat(os.path.join(directory, name))
            except FileNotFoundError:
                continue  # Another build replaced it.
            files.append((max(stat.st_atime, stat.st_mtime), stat.st_size,
                          os.path.join(directory, name)))
    total = sum(size for _, size, _ in files)
    removed = 0
    for _, size, path in sorted(files):
        if total - removed <= BOUND_BYTES:
            break
        pathlib.Path(path).unlink(missing_ok=True)
        removed += size
    if removed:
        print(f"Bazel's disk cache: removed {removed >> 20} MiB of {total >> 20} MiB, the oldest")


if __name__ == "__main__":
    main()
