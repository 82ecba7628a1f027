"""The benchmark itself: every row starts, counts and finds no errors, bars are judged, and with --long
the instructions a request takes are within their budget. No figure of time is judged here."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("GLIA_BIN", ROOT / "bazel-bin"))
BENCH = ROOT / "test" / "bench"
sys.path.insert(0, str(BENCH))

import instructions  # noqa: E402
import models_rows  # noqa: E402
import plot  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402


def bench(*arguments):
    return subprocess.run([sys.executable, BENCH / "run.py", "--rounds", "1", "--requests", "small",
                           "--bin", BIN, *arguments], cwd=ROOT, capture_output=True, text=True)


class EveryRow(unittest.TestCase):
    def test_starts_counts_and_finds_no_errors(self):
        with tempfile.TemporaryDirectory() as scratch:
            report = pathlib.Path(scratch, "report.json")
            done = bench("--only", "glia-proxy,relay", "--json", report)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            result = json.loads(report.read_text())
        self.assertEqual(result["unmeasured"], [])
        seen = {(block["row"], block["label"]): block for block in result["blocks"]}
        for row in rows.ROWS.values():
            for label, (proxy, _) in row.contestants.items():
                if proxy not in ("glia-proxy", "relay"):
                    continue
                block = seen[row.name, label]
                self.assertEqual(block["errors"], 0, block)
                self.assertEqual(set(block["figures"]), {figure.name for figure in row.figures})
                self.assertNotIn(None, block["figures"].values(), block)
                if row.kind != "resident":
                    self.assertGreater(block["requests"], 0, block)

    def test_a_proxy_that_does_not_start_is_named_and_the_others_are_measured(self):
        with tempfile.TemporaryDirectory() as scratch:
            broken = pathlib.Path(scratch, "broken-proxy")
            broken.write_text("#!/bin/sh\necho it has no wheels >&2\nexit 1\n")
            broken.chmod(0o755)
            report = pathlib.Path(scratch, "report.json")
            done = bench("--only", "glia-proxy,relay", "--rows", "http1-64", "--proxy", broken,
                         "--json", report)
            self.assertEqual(done.returncode, 1)
            self.assertIn("http1-64 with glia-proxy was not measured: glia-proxy did not start: it has "
                          "no wheels", done.stderr)
            result = json.loads(report.read_text())
        self.assertEqual([block["label"] for block in result["blocks"]], ["relay"])


class EveryRowOfModels(unittest.TestCase):
    def test_starts_and_answers_everything(self):
        with tempfile.TemporaryDirectory() as scratch:
            report = pathlib.Path(scratch, "report.json")
            done = subprocess.run(
                [sys.executable, BENCH / "run.py", "models", "--rounds", "1", "--requests", "small",
                 "--bin", BIN, "--only", "glia-proxy", "--json", report],
                cwd=ROOT, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            result = json.loads(report.read_text())
        self.assertEqual(result["unmeasured"], [])
        seen = {block["row"]: block for block in result["blocks"]}
        for row in models_rows.ROWS.values():
            self.assertEqual(set(seen[row.name]["figures"]), {figure.name for figure in row.figures})
            self.assertEqual(seen[row.name]["errors"], 0, seen[row.name])

    def test_plans_are_the_same_for_the_same_seed_and_keep_their_rate(self):
        for row in models_rows.ROWS.values():
            plan = models_rows.plan(row, 1)
            self.assertEqual(plan, models_rows.plan(row, 1))
            self.assertNotEqual(plan, models_rows.plan(row, 2))
            self.assertEqual(len(plan), row.requests)
            if not row.rate:
                tokens = sum(request.shared + request.unique for request in plan)
                use = tokens / plan[-1].due_s / row.servers / models_rows.PREFILL_RATE
                self.assertAlmostEqual(use / row.use, 1, delta=0.1)

    def test_an_oracle_finds_what_was_asked_before(self):
        asked = [models_rows.Request(0, 0, group, 6000, 10, 1) for group in (1, 2, 1, 1)]
        self.assertEqual(models_rows.oracle_hits(asked), 2 * 6000)
        self.assertEqual(models_rows.oracle_hits(models_rows.plan(models_rows.ROWS["tails-85"], 1)), 0)


def result_of(costs):
    """A comparison of one row whose bars are 0.5 x envoy and 10, with these costs by round."""
    row = rows.Row("row", "A row", "closed", (rows.Figure("cpu", "us", (
        rows.Bar(0.5, "envoy"), rows.Bar(10))),), rows.on("http1-clear", "glia-proxy", "envoy"))
    blocks = [{"row": "row", "label": label, "round": number, "requests": 1, "errors": 0,
               "first_error": "", "others": 0, "figures": {"cpu": cost}}
              for label, values in costs.items() for number, cost in enumerate(values)]
    return table.Result([row], ["glia-proxy", "envoy"], blocks, 3, {},
                        {"date": "", "commit": "", "cpus": 2, "cpu": "", "kernel": ""}, {}, (0, 0))


class Judgement(unittest.TestCase):
    def test_a_bar_is_met_by_the_median_of_the_ratios_within_rounds(self):
        result = result_of({"glia-proxy": [4, 5, 9], "envoy": [10, 10, 10]})
        self.assertEqual(table.missed(result), [])
        self.assertIn("| A row | 0.5 x envoy | **0.50** (0.40-0.90) | yes |", table.render(result))

    def test_a_bar_is_missed_by_a_little(self):
        result = result_of({"glia-proxy": [4, 5.1, 9], "envoy": [10, 10, 10]})
        self.assertEqual(table.missed(result),
                         ["A row: the bar is 0.5 x envoy, measured 0.51"])
        self.assertIn("**no**", table.render(result))

    def test_what_was_not_measured_is_not_met(self):
        result = result_of({"glia-proxy": [11, 11, 11], "envoy": [None]})
        self.assertEqual(table.missed(result), ["A row: the bar is 0.5 x envoy, measured nothing",
                                                "A row: the bar is 10 us, measured 11.00"])

    def test_requests_that_failed_are_told(self):
        result = result_of({"glia-proxy": [1], "envoy": [10]})
        result.blocks[1].update(errors=3, first_error="the answer's status is 503")
        self.assertEqual(table.failures(result),
                         ["envoy on row: 3 requests failed: the answer's status is 503"])

    def test_the_plot_has_a_line_for_each_bar(self):
        picture = plot.draw(result_of({"glia-proxy": [4], "envoy": [None]}).verdicts())
        self.assertIn("row: at most 0.5 x envoy", picture)
        self.assertIn("not measured", picture)
        self.assertEqual(picture.count("<circle"), 1)


class Instructions(unittest.TestCase):
    def test_a_change_beyond_the_budget_is_told_with_its_figure(self):
        budget = {"a": 1000, "b": 1000, "c": 1000}
        self.assertEqual(instructions.complaints({"a": 1030, "b": 970, "c": 1000}, budget), [])
        found = instructions.complaints({"a": 1031, "b": 960}, budget)
        self.assertEqual(len(found), 3)
        self.assertIn("c is in", found[0])
        self.assertIn("a takes 1031 instructions a request, +3.1% against the budget of 1000", found[1])
        self.assertIn("b takes 960 instructions a request, -4.0%", found[2])

    def test_are_within_their_budget(self):
        if not os.environ.get("GLIA_LONG"):
            self.skipTest("takes a minute; ./dev test --long")
        if not instructions.available():
            self.skipTest("valgrind is not on this machine; ./dev test --long installs it")
        binary = BIN / "test" / "bench" / "instructions"
        self.assertEqual(instructions.complaints(instructions.measure(binary),
                                                 instructions.read_budget()), [])


if __name__ == "__main__":
    unittest.main()
