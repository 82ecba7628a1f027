"""The rules that every room uses: rules_cc with our warnings switched on."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
]

def glia_library(name, copts = [], **kwargs):
    cc_library(name = name, copts = WARNINGS + copts, linkstatic = True, **kwargs)

def glia_binary(name, copts = [], **kwargs):
    cc_binary(name = name, copts = WARNINGS + copts, **kwargs)

def glia_test(name, copts = [], deps = [], size = "small", **kwargs):
    cc_test(
        name = name,
        copts = WARNINGS + copts,
        size = size,
        deps = deps + ["//third_party/system:gtest_main"],
        **kwargs
    )
