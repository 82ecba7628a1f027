"""A fuzz target: one function that takes any bytes, used in two ways."""

load("//bazel:glia.bzl", "glia_binary", "glia_test")

def glia_fuzz(name, deps):
    """NAME.cc as a libFuzzer program NAME, and as the test NAME_corpus, part of every test run,
    which replays corpus/NAME. tools/fuzz.py runs all programs and grows the corpus."""
    glia_binary(
        name = name,
        testonly = True,
        srcs = [name + ".cc"],
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["fuzz", "manual"],
        deps = deps,
    )
    glia_test(
        name = name + "_corpus",
        srcs = [
            name + ".cc",
            "replay_test.cc",
        ],
        copts = ["-DGLIA_CORPUS=\\\"test/fuzz/corpus/%s\\\"" % name],
        data = native.glob(["corpus/%s/*" % name]),
        deps = deps + ["//proxy/base"],
    )
