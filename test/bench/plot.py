"""The bars of the comparison as one picture: how far each is met or missed.

Plain SVG without a library. The scale is the measured value divided by its bar, logarithmic: 1 is the
bar, left of it is met. A dot is the median, a line the range over the rounds.
"""

import math
from xml.sax.saxutils import escape

LEFT, WIDTH, LINE, TOP = 330, 420, 20, 46
LEAST, MOST = 0.1, 4.0  # of the scale; what is beyond is drawn at its edge
TICKS = (0.1, 0.25, 0.5, 1, 2, 4)
MET, MISSED, GREY = "#2a7d4f", "#c0392b", "#8a8a8a"


def x_of(value):
    value = min(max(value, LEAST), MOST)
    return LEFT + WIDTH * math.log(value / LEAST) / math.log(MOST / LEAST)


def text(x, y, words, anchor="start", color="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">'
            f"{escape(words)}</text>\n")


def segment(x1, y1, x2, y2, color, width=1, dash=""):
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
            f'stroke-width="{width}"{dashes}/>\n')


def label_of(verdict):
    name = verdict.row.name + (f" {verdict.figure.title}" if verdict.figure.title else "")
    what = f"x {verdict.bar.of}" if verdict.bar.of else verdict.figure.unit
    return f"{name}: at most {verdict.bar.most:,g} {what}"


def entry(verdict, y):
    label = text(LEFT - 12, y + 4, label_of(verdict), "end")
    if verdict.value is None:
        return label + text(x_of(1) + 6, y + 4, "not measured", color=GREY)
    color = MET if verdict.met else MISSED
    median, least, most = (value / verdict.bar.most for value in verdict.value)
    digits = 2 if verdict.bar.of else verdict.figure.digits
    return (label + segment(x_of(least), y, x_of(most), y, color, 2) +
            f'<circle cx="{x_of(median):.1f}" cy="{y:.1f}" r="4" fill="{color}"/>\n' +
            text(LEFT + WIDTH + 12, y + 4, f"{verdict.value[0]:,.{digits}f}", color=color))


def draw(verdicts):
    bottom = TOP + LINE * len(verdicts)
    width, height = LEFT + WIDTH + 90, bottom + 20
    out = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           f'font-family="sans-serif" font-size="12">\n'
           f'<rect width="{width}" height="{height}" fill="#fff"/>\n')
    out += text(LEFT, 16, "measured / bar (logarithmic); left of 1 the bar is met", color="#555")
    for tick in TICKS:
        x = x_of(tick)
        out += segment(x, TOP - 12, x, bottom, "#222" if tick == 1 else "#ddd",
                       dash="" if tick == 1 else "3,3")
        out += text(x, TOP - 16, f"{tick:g}", "middle", "#555")
    for number, verdict in enumerate(verdicts):
        out += entry(verdict, TOP + LINE * number + LINE / 2)
    return out + "</svg>\n"
