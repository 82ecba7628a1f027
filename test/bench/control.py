"""./dev bench control: what a change of a mesh costs glia-control, and how long it takes.

control_edits.cc measures the work of one edit alone, control_fleet.cc the real program with simulated
sidecars; both print a line of JSON a mesh. This runs them and makes tables of that.
"""

import json
import os
import platform
import subprocess
import sys

EDITS, FLEET = "//test/bench:control_edits", "//test/bench:control_fleet"
CONTROL = "//control_plane:glia-control"

BEGIN, END = "<!-- control: begin -->\n", "<!-- control: end -->\n"
# A canary that every sidecar may call is aborted: from the command to the last ACK.
ROLLBACK = (1_000, 2_000, "delta", 10, 10, "rollback")
KINDS = ("endpoint", "weight", "policy", "rollback")
BAR_MS = 1000  # To the last ACK of a change, 99 of 100.

SIZES = (100, 1_000, 10_000)
# Services, sidecars, variant, Services that each may call (0: all), changes of each kind.
# Those that may call everything are fewer: each holds the whole mesh, some 2 MB in a thousand Services, and
# two thousand at once keep two cores busy for longer than a push may wait to be read.
FLEETS = (
    (1_000, 2_000, "delta", 10, 10),
    (1_000, 2_000, "world", 10, 10),
    (1_000, 200, "delta", 0, 5),
)


def measured(program, *arguments):
    result = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                            check=True)
    return json.loads(result.stdout)


def edits_table(rows):
    lines = ["| services | endpoint | weight | policy | its file read | everything anew |",
             "|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row['services']:,} | {row['endpoint_ms']:.2f} ms | {row['weight_ms']:.2f} ms "
                     f"| {row['policy_ms']:.2f} ms | {row['parse_ms']:.2f} ms "
                     f"| {row['parse_all_ms'] + row['whole_ms']:.0f} ms |")
    return "\n".join(lines) + "\n"


def fleet_table(rows):
    lines = ["| services, sidecars | each may call | variant | one change of | reaches | to ACK p50 / p99 "
             "| last ACK p50 / p99 | CPU | sent |", "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        calls = row["egress"] or "all"
        for kind in KINDS:
            if kind not in row:
                continue
            one = row[kind]
            lines.append(
                f"| {row['services']:,}, {row['sidecars']:,} | {calls} | {row['variant']} | {kind} "
                f"| {one['reached']:,.0f} | {one['p50_ms']:.0f} / {one['p99_ms']:.0f} ms "
                f"| {one['last_p50_ms']:.0f} / {one['last_p99_ms']:.0f} ms "
                f"| {one['cpu_ms']:.0f} ms | {one['mb']:.2f} MB |")
    return "\n".join(lines) + "\n"


def start_table(rows):
    lines = ["| services, sidecars | each may call | variant | all connect | after a restart | peak memory |",
             "|---|---|---|---|---|---|"]
    for row in rows:
        if "resync" not in row:
            continue

        def told(what, row=row):
            one = row[what]
            return f"{one['ms'] / 1000:.1f} s, {one['cpu_ms'] / 1000:.1f} s of CPU, {one['mb']:,.0f} MB"
        lines.append(f"| {row['services']:,}, {row['sidecars']:,} | {row['egress'] or 'all'} "
                     f"| {row['variant']} | {told('connect')} | {told('resync')} "
                     f"| {row['peak_mb']:,.0f} MB |")
    return "\n".join(lines) + "\n"


def missed(rows):
    for row in rows:
        for kind in KINDS:
            if kind not in row:
                continue
            late = row[kind]["last_p99_ms"]
            if late >= BAR_MS:
                yield (f"{row['services']} services, {row['sidecars']} sidecars that may call "
                       f"{row['egress'] or 'all'}, {row['variant']}: the last ACK of one {kind} takes "
                       f"{late:.0f} ms, the bar is {BAR_MS} ms")


def render(edits, fleets):
    complaints = "".join(f"- {sentence}\n" for sentence in missed(fleets))
    return (f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.\n\n"
            f"{edits_table(edits)}\n{fleet_table(fleets)}\n{start_table(fleets)}\n"
            f"The bar is {BAR_MS} ms to the last ACK, 99 of 100. "
            + (f"Missed:\n\n{complaints}" if complaints else "It is met.\n"))


def run(arguments, build, built, page):
    unknown = [word for word in arguments if word != "--write"]
    if unknown:
        print(f"bench: control: {' '.join(unknown)} is not --write", file=sys.stderr)
        return 2
    build([EDITS, FLEET, CONTROL], [])
    edits = [measured(built(EDITS), size) for size in SIZES]
    print(edits_table(edits), flush=True)
    fleets = []
    for services, sidecars, variant, egress, changes in FLEETS:
        fleets.append(measured(built(FLEET), built(CONTROL), services, sidecars, variant, egress,
                               changes))
        print(fleet_table(fleets[-1:]) + start_table(fleets[-1:]), flush=True)
    fleets.append(measured(built(FLEET), built(CONTROL), *ROLLBACK))
    print(fleet_table(fleets[-1:]), flush=True)
    text = render(edits, fleets)
    if "--write" in arguments:
        old = page.read_text(encoding="utf-8")
        before, rest = old.split(BEGIN)
        page.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")
    return 1 if list(missed(fleets)) else 0
