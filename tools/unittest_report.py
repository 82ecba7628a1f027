"""Runs one file of unittest cases and writes what happened as JSON: file.py report.json."""

import importlib.util
import json
import pathlib
import sys
import unittest


class Report(unittest.TextTestResult):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.names_passed = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.names_passed.append(test.id())

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.failures.append((test, "passed, but is marked as an expected failure"))


def main(path, report):
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(pathlib.Path(path).parent))
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Report).run(suite)
    failed = {test.id() for test, _ in result.failures + result.errors}
    pathlib.Path(report).write_text(json.dumps({
        "passed": len([name for name in result.names_passed if name not in failed]),
        "failed": sorted(failed),
        "skipped": [(test.id(), why) for test, why in result.skipped],
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
