#!/usr/bin/env python3
"""Draws what bench/compare wrote: how many times as good aioipc is as each of the others, as SVG. plot.py bench.json >bench.svg

A row is a work, a mark one of the others; right of the line aioipc is better, left of it the other one is. Nothing but Python is needed.
"""

import json
import math
import sys
from xml.sax.saxutils import escape

# Who they are, how they are told by their names in the table, their marks, and colours that show on white and on black.
KINDS = [
    ("by hand", ("by hand", "raw ", "mutex", "_setjmp"), "circle", "#8b949e"),
    ("libevent bufferevents", ("bufferevents",), "square", "#2f81f7"),
    ("libuv", ("libuv",), "diamond", "#bf5af2"),
    ("libzmq", ("libzmq",), "up", "#e5534b"),
    ("nng", ("nng",), "down", "#d4881c"),
    ("libqb", ("libqb",), "cross", "#00a3a3"),
    ("POSIX message queue", ("POSIX",), "plus", "#1f9d4d"),
    ("Python", ("Python",), "star", "#a07800"),
]

LABELS, PLOT, FIGURES = 268, 470, 100
LINE, TOP = 19, 92
LEAST, MOST = 1 / 4, 1024

STYLE = """text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e }
.title { font-size: 14px; font-weight: 600 }
.grid { stroke: #8b949e; stroke-opacity: .3 }
.even { stroke: #8b949e; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } }"""


def kind_of(who):
    for kind in KINDS:
        if any(word in who for word in kind[1]):
            return kind
    return None


def rows_of(bench):
    """Each work that has others: its name, our figure, and (kind, factor) of each."""
    for work in bench["works"]:
        ours, others = work["results"][0], []
        for other in work["results"][1:]:
            kind = kind_of(other["who"])
            if kind and other.get("ratio"):
                better = other["ratio"] if work["unit"] in ("M/s", "GB/s") else 1 / other["ratio"]
                others.append((kind, better))
        if others:
            yield work["work"], "%.3g %s" % (ours["median"], work["unit"]), others


def x_of(factor):
    factor = min(max(factor, LEAST), MOST)
    return LABELS + PLOT * math.log(factor / LEAST) / math.log(MOST / LEAST)


def mark(kind, x, y, what):
    """@what is told when the pointer is over it."""
    _, _, shape, colour = kind
    r = 4.5
    points = {
        "diamond": ((0, -r - 1), (r + 1, 0), (0, r + 1), (-r - 1, 0)),
        "up": ((0, -r - 0.5), (r + 0.5, r - 0.5), (-r - 0.5, r - 0.5)),
        "down": ((0, r + 0.5), (r + 0.5, -r + 0.5), (-r - 0.5, -r + 0.5)),
        "star": [((r + 1.5 if i % 2 else r / 2) * math.sin(math.pi * i / 5), (r + 1.5 if i % 2 else r / 2) * math.cos(math.pi * i / 5)) for i in range(10)],
    }
    lines = {"cross": "M-4,-4L4,4M-4,4L4,-4", "plus": "M0,-5L0,5M-5,0L5,0"}
    if shape == "circle":
        body = '<circle r="%g" fill="%s"/>' % (r, colour)
    elif shape == "square":
        body = '<rect x="%g" y="%g" width="%g" height="%g" fill="%s"/>' % (1 - r, 1 - r, 2 * r - 2, 2 * r - 2, colour)
    elif shape in lines:
        body = '<path d="%s" fill="none" stroke="%s" stroke-width="2.4"/>' % (lines[shape], colour)
    else:
        body = '<polygon points="%s" fill="%s"/>' % (" ".join("%.1f,%.1f" % p for p in points[shape]), colour)
    return '<g transform="translate(%.1f,%.1f)"><title>%s</title>%s</g>' % (x, y, escape(what), body)


def text(x, y, what, anchor="start", style=""):
    return '<text x="%g" y="%g" text-anchor="%s"%s>%s</text>' % (x, y, anchor, ' class="%s"' % style if style else "", escape(what))


def legend(kinds):
    x, y = 12, 46
    for kind in kinds:
        width = 30 + 7 * len(kind[0])
        if x + width > LABELS + PLOT + FIGURES:
            x, y = 12, y + 17
        yield mark(kind, x + 4, y - 4, kind[0])
        yield text(x + 14, y, kind[0])
        x += width


def axis(bottom):
    for i in range(-2, 11, 1):
        factor = 2.0**i
        x = x_of(factor)
        yield '<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="%s"/>' % (x, x, TOP - 8, bottom, "even" if i == 0 else "grid")
        if i % 2 == 0 or i in (-1, 1):
            yield text(x, TOP - 13, "1/%d" % (1 / factor) if i < 0 else "%d" % factor, "middle", "small")


def draw(bench):
    rows = list(rows_of(bench))
    used = [kind for kind in KINDS if any(kind is other for _, _, others in rows for other, _ in others)]
    width, bottom = LABELS + PLOT + FIGURES + 12, TOP + LINE * len(rows)
    yield '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">' % (width, bottom + 12, width, bottom + 12)
    yield "<title>How many times as good aioipc is as others</title><style>%s</style>" % STYLE
    yield text(12, 22, "aioipc is so many times as good as", style="title")
    yield from legend(used)
    yield from axis(bottom)
    yield text(LABELS + PLOT + FIGURES + 4, TOP - 13, "aioipc itself", "end", "small")
    for i, (name, figure, others) in enumerate(rows):
        y = TOP + LINE * i + 10
        yield text(LABELS - 12, y + 4, name, "end")
        yield '<line x1="%d" x2="%d" y1="%g" y2="%g" class="grid"/>' % (LABELS, LABELS + PLOT, y, y)
        for kind, factor in others:
            yield mark(kind, x_of(factor), y, "%s: %.3g" % (kind[0], factor))
        yield text(LABELS + PLOT + FIGURES + 4, y + 4, figure, "end", "small")
    yield "</svg>"


def main():
    try:
        with open(sys.argv[1]) as f:
            bench = json.load(f)
        lines = list(draw(bench))
    except (IndexError, OSError, ValueError, KeyError) as why:
        sys.exit("plot.py: %s: it takes the JSON of make bench" % why)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
