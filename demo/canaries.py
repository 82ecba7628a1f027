"""New versions that prove themselves, or do not: one Canary after the other, judged by the control plane
alone while people ask."""

import json
import re
import time

SERVICE = "classify"
VERDICT_WITHIN_S = 90
SEEN_WITHIN_S = 20
STABLE, GOOD = "v1", "v2"
# Version, what is wrong with it, the metric that finds it.
BAD = (("v3", "fast but wrong", "ShadowDifferences"), ("v4", "slow", "Latency"),
       ("v5", "failing", "Errors"))
# So few requests and such tolerances are for a demonstration: a verdict in seconds, at a few dozen
# questions a second on a busy machine.
CANARY = """
---
apiVersion: glia.dev/v1
kind: Canary
metadata: {name: classify}
spec:
  targetRef: {name: classify}
  stable: {labels: {version: v1}}
  candidate: {labels: {version: v2}}
  shadow: {percent: 100}
  steps:
  - {weight: 10}
  - {weight: 50}
  analysis:
    interval: 1s
    minimumRequests: 30
    metrics:
    - {name: Errors, tolerance: 15}
    - {name: Latency, percentile: 50, tolerance: 200}
"""


def with_canary(mesh, version):
    """The mesh in which all questions go to the Service, and a Canary shares them. Only the version of
    which it is known that it should answer the same gets copies first."""
    routed = re.sub(r"- \{name: classify-v1, port: (\d+), weight: \d+\}\n"
                    r" *- \{name: classify-v2, port: \d+, weight: \d+\}",
                    rf"- {{name: {SERVICE}, port: \1}}", mesh)
    canary = CANARY.replace("version: v2", f"version: {version}")
    if version != "v3":
        canary = canary.replace("  shadow: {percent: 100}\n", "")
    return routed + canary


class Canaries:
    """The scene. `wait(condition, what, within_s)` gives up in time."""

    def __init__(self, mesh, traffic, ledger, wait):
        self._mesh, self._traffic, self._ledger, self._wait = mesh, traffic, ledger, wait

    def play(self, mesh_text):
        self._ledger.heading("New versions, each promoted or taken back by what it does")
        for version, what, metric in BAD:
            self._is_taken_back(mesh_text, version, what, metric)
        self._is_promoted(mesh_text)

    def _shown(self):
        text = self._mesh.canary("show", SERVICE, "-o", "json")
        return json.loads(text) if text else {}

    def _put_up(self, mesh_text, version):
        """Returns when, and a function that shows the canary if it is that one's."""
        saved = self._mesh.save(with_canary(mesh_text, version))

        def shown():
            seen = self._shown()
            return seen if seen.get("versions", "").endswith(f"version={version}") else {}
        self._wait(shown, f"the canary of {version} has begun", SEEN_WITHIN_S)
        return saved, shown

    def _verdict(self, shown, *phases):
        """What is shown once one of these is its phase; says each step on the way."""
        steps = []

        def look():
            seen = shown()
            step = (seen.get("weight"), seen.get("shadow"))
            if seen and step not in steps:
                steps.append(step)
            return seen if seen.get("phase") in phases else None
        seen = self._wait(look, f"{' or '.join(phases)} (glia canary show {SERVICE})",
                          VERDICT_WITHIN_S)
        return seen, [f"copies of {shadow} %" if shadow else f"{weight} %"
                      for weight, shadow in steps]

    def _touched(self, version, since):
        """The answers that people got from this version, or did not get because of it."""
        return [answer for answer in self._traffic.answers(since)
                if answer.failure or answer.version == version]

    def _is_taken_back(self, mesh_text, version, what, metric):
        saved, shown = self._put_up(mesh_text, version)
        seen, steps = self._verdict(shown, "rolled back", "promoted")
        seconds = time.monotonic() - saved
        here_on = time.monotonic()
        self._wait(lambda: len(self._traffic.answers(here_on)) >= 30, "further answers",
                   SEEN_WITHIN_S)
        touched = self._touched(version, saved)
        failed = sum(bool(answer.failure) for answer in touched)
        last = max((answer.started for answer in touched), default=saved)
        # A route that follows the verdict reaches all sidecars in less than a second.
        over = last <= here_on + 1
        asked = len(self._traffic.answers(saved))
        copies = f", {seen['candidate']['requests']} copies" if "copies" in steps[0] else ""
        self._ledger.say(f"{' -> '.join(steps)}: {seen['reason']}")
        self._ledger.check(f"{version}, {what}: {seen['phase']} alone",
                           f"after {seconds:.1f} s; touched {len(touched)} of {asked} requests, "
                           f"{failed} failed{copies}",
                           seen["phase"] == "rolled back" and seen["reason"].startswith(metric)
                           and over and bool(copies) == (not touched))

    def _is_promoted(self, mesh_text):
        saved, shown = self._put_up(mesh_text, GOOD)
        seen, steps = self._verdict(shown, "promoted", "rolled back")
        seconds = time.monotonic() - saved
        self._ledger.say(f"{' -> '.join(steps)}: {seen['reason']}")

        def last_answers():
            last = self._traffic.answers(saved)[-30:]
            return len(last) == 30 and all(answer.version == GOOD for answer in last)
        self._wait(last_answers, f"all answers are of {GOOD}", SEEN_WITHIN_S)
        answers = self._traffic.answers(saved)
        failures = sum(bool(answer.failure) for answer in answers)
        self._ledger.check(f"{GOOD}, good: {seen['phase']} alone",
                           f"{' -> '.join(steps)} after {seconds:.1f} s; {failures} of "
                           f"{len(answers)} requests failed",
                           seen["phase"] == "promoted" and steps == ["10 %", "50 %", "100 %"]
                           and not failures)
