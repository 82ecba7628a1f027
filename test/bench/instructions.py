"""Instructions a request, counted by callgrind, against a budget that is kept in the tree.

The same on a quiet and on a busy machine, and nearly the same on every machine, so that a change of a
few per cent can be seen that no measurement of time would show. The kernel's work is not counted.
instructions.cc says what the scenarios are; `./dev bench instructions --renew` writes the budget anew.
"""

import pathlib
import re
import shutil
import subprocess

BUDGET = pathlib.Path(__file__).resolve().parent / "instructions.txt"
TARGET = "//test/bench:instructions"
MOST_CHANGE = 0.03  # up or down: an improvement that is not written down could be lost again
FEW, MANY = 80, 480  # requests; divisible by those of one turn
RENEW = "./dev bench instructions --renew"
SCENARIOS = ("http1-codec", "http2-codec-1", "http2-codec-8", "http1-proxy", "http2-proxy",
             "http1-sidecar", "http2-sidecar")


class CountError(Exception):
    """callgrind could not count; one sentence."""


def available():
    return shutil.which("valgrind") is not None


def count(binary, scenario, requests):
    """Instructions of a whole run."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(binary), scenario,
               str(requests)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        raise CountError(f"{' '.join(command)} ended with status {done.returncode}: "
                         f"{done.stderr[-1000:]}")
    return int(found.group(1))


def per_request(binary, scenario):
    """The difference of two lengths, so that what happens once cancels out."""
    difference = count(binary, scenario, MANY) - count(binary, scenario, FEW)
    return round(difference / (MANY - FEW))


def measure(binary):
    return {scenario: per_request(binary, scenario) for scenario in SCENARIOS}


def read_budget():
    lines = (line.partition("#")[0].split() for line in BUDGET.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if words}


def write_budget(measured):
    head = BUDGET.read_text().partition("\n\n")[0] if BUDGET.exists() else "#"
    BUDGET.write_text(head + "\n\n" + "".join(
        f"{scenario:16} {instructions}\n" for scenario, instructions in measured.items()))


def complaints(measured, budget):
    """A sentence for everything that is not as the budget says."""
    found = [f"{scenario} is in {BUDGET.name} but is not measured; {RENEW}"
             for scenario in budget if scenario not in measured]
    for scenario, now in measured.items():
        if scenario not in budget:
            found.append(f"{scenario} takes {now} instructions a request and has no budget; {RENEW}")
            continue
        change = now - budget[scenario]
        if abs(change) > MOST_CHANGE * budget[scenario]:
            found.append(
                f"{scenario} takes {now} instructions a request, "
                f"{change / budget[scenario]:+.1%} against the budget of "
                f"{budget[scenario]} (allowed: {MOST_CHANGE:.0%}); if that is meant, {RENEW} and say "
                "why in the commit")
    return found
