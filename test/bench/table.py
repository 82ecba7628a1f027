"""What run.py measured, as tables for people, and what of it is not as it must be."""

import collections
import dataclasses
import statistics

from rows import OURS

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"

# A bar and what was measured of it: `value` is (median, least, most), or None.
Verdict = collections.namedtuple("Verdict", "row figure bar value met")


@dataclasses.dataclass
class Result:
    rows: list
    only: list
    blocks: list
    rounds: int
    unmeasured: dict
    machine: dict
    versions: dict
    load_average: tuple

    def values(self, row, figure, label):
        """Of each round in which it was measured."""
        return {block["round"]: block["figures"][figure.name] for block in self.blocks
                if block["row"] == row.name and block["label"] == label
                and block["figures"].get(figure.name) is not None}

    def figure(self, row, figure, label):
        return spread(self.values(row, figure, label).values())

    def ratio(self, row, figure, label):
        """Ours as a part of theirs, within each round. Delays that were added can be 0 or less on a
        noisy machine; there is no ratio to those."""
        ours, theirs = (self.values(row, figure, name) for name in (OURS, label))
        return spread([ours[number] / theirs[number] for number in ours
                       if theirs.get(number, 0) > 0])

    def verdicts(self):
        """Of every bar between contestants that were asked for."""
        found = []
        for row in self.rows:
            for figure in row.figures:
                for bar in figure.bars:
                    if not {OURS, (row.contestants[bar.of or OURS])[0]} <= set(self.only):
                        continue
                    value = (self.ratio(row, figure, bar.of) if bar.of else
                             self.figure(row, figure, OURS))
                    met = value is not None and value[0] <= bar.most
                    found.append(Verdict(row, figure, bar, value, met))
        return found

    def as_json(self):
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["rows"] = [dataclasses.asdict(row) for row in self.rows]
        fields["unmeasured"] = [[*key, why] for key, why in self.unmeasured.items()]
        fields["bars"] = [[verdict.row.name, verdict.figure.name, verdict.bar.of, verdict.bar.most,
                           verdict.value, verdict.met] for verdict in self.verdicts()]
        return fields


def spread(values):
    """Median, least and most."""
    values = list(values)
    return (statistics.median(values), min(values), max(values)) if values else None


def triple(values, digits):
    if values is None:
        return "-"
    median, least, most = (f"{value:,.{digits}f}" for value in values)
    return f"**{median}** ({least}-{most})"


def line(cells):
    return "| " + " | ".join(cells) + " |\n"


def head(cells):
    return line(cells) + line(["---"] + ["---:"] * (len(cells) - 1))


def title_of(row, figure):
    return row.title + (f", {figure.title}" if figure.title else "")


def bar_text(verdict):
    bar = verdict.bar
    return f"{bar.most:,g} x {bar.of}" if bar.of else f"{bar.most:,g} {verdict.figure.unit}"


def render(result):
    return "\n".join([bars(result), figures(result), ratios(result), circumstances(result)])


def bars(result):
    text = head(["workload", "bar: at most", "measured", "met"])
    for verdict in result.verdicts():
        digits = 2 if verdict.bar.of else verdict.figure.digits
        met = "not measured" if verdict.value is None else "yes" if verdict.met else "**no**"
        text += line([title_of(verdict.row, verdict.figure), bar_text(verdict),
                      triple(verdict.value, digits), met])
    return text


def columns(result):
    """Every name that a contestant has in some row, ours first."""
    labels = {}
    for row in result.rows:
        for label, contestant in row.contestants.items():
            if contestant[0] in result.only:
                labels.setdefault(label, contestant[0])
    return list(labels)


def figures(result):
    labels = columns(result)
    text = head(["workload", "unit", *labels])
    for row in result.rows:
        for figure in row.figures:
            text += line([title_of(row, figure), figure.unit] +
                         [triple(result.figure(row, figure, label), figure.digits)
                          for label in labels])
    return text


def ratios(result):
    labels = [label for label in columns(result) if label != OURS]
    if OURS not in result.only or not labels:
        return ""
    text = head([f"{OURS} as a part of", *labels])
    for row in result.rows:
        for figure in row.figures:
            text += line([title_of(row, figure)] +
                         [triple(result.ratio(row, figure, label), 2) for label in labels])
    return text


def circumstances(result):
    machine = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    errors = sum(block["errors"] for block in result.blocks)
    requests = sum(block["requests"] for block in result.blocks)
    others = sorted(block["others"] for block in result.blocks) or [0]
    text = (
        f"{versions}. {machine['date']}, commit {machine['commit']}, {machine['cpus']} x "
        f"{machine['cpu']}, Linux {machine['kernel']}. Median (range) of {result.rounds} rounds; "
        f"{requests:,} requests, {errors} errors. Load average {result.load_average[0]:.1f} before "
        f"and {result.load_average[1]:.1f} after; other processes took "
        f"{others[len(others) // 2] * 100:.0f} % (at most {others[-1] * 100:.0f} %) of the machine "
        "during a measurement.\n")
    for (row, label), why in result.unmeasured.items():
        text += f"\nNot measured: {row} with {label}: {why}\n"
    return text


def failures(result):
    """Sentences about requests that failed and rows that could not be measured."""
    found = [f"{block['label']} on {block['row']}: {block['errors']} requests failed: "
             f"{block['first_error']}" for block in result.blocks if block["errors"]]
    return found + [f"{row} with {label} was not measured: {why}"
                    for (row, label), why in result.unmeasured.items()]


def missed(result):
    """Sentences about bars that are not met."""
    return [f"{title_of(verdict.row, verdict.figure)}: the bar is {bar_text(verdict)}, measured " +
            ("nothing" if verdict.value is None else f"{verdict.value[0]:.2f}")
            for verdict in result.verdicts() if not verdict.met]


def write(page, text, marks=(BEGIN, END)):
    """Replaces what stands between the marks of the page."""
    begin, end = marks
    old = page.read_text(encoding="utf-8")
    before, rest = old.split(begin)
    after = rest.split(end)[1]
    page.write_text(before + begin + text + end + after, encoding="utf-8")
