#!/usr/bin/env python3
"""Draws docs/scaling/walls.svg: the cores that a number of logins a second needs, of the service and of the database.

The three numbers are those of docs/scaling.md; whoever measures others changes them there and here.
"""

import math

from model import ROOT, STYLE

LOGINS_PER_CORE = 18.7
LOAD = 0.7
DATABASE_SECONDS = 0.0028
# From 10 to 10,000 logins a second, and from a tenth of a core to 1,000.
LEFT, RIGHT, TOP, BOTTOM = 80, 570, 50, 300


def x(logins):
    return LEFT + (math.log10(logins) - 1) / 3 * (RIGHT - LEFT)


def y(cores):
    return BOTTOM - (math.log10(cores) + 2) / 5 * (BOTTOM - TOP)


def main():
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="360" viewBox="0 0 760 360">',
        f"<style>{STYLE}</style>",
        '<rect class="ground" width="760" height="360"/>',
        f'<text class="title" x="{LEFT}" y="30">Cores by logins a second</text>',
    ]
    for power in range(-2, 4):
        cores = 10.0**power
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y(cores):.1f}" y2="{y(cores):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(cores) + 4:.1f}" text-anchor="end">{cores:g}</text>')
    for power in range(1, 5):
        parts.append(f'<text x="{x(10**power):.1f}" y="{BOTTOM + 20}" text-anchor="middle">{10**power:,}</text>')
    for kind, name, cores_of in (
        ("a", "of the service, for hashing", lambda logins: logins / LOGINS_PER_CORE / LOAD),
        ("b", "of the database", lambda logins: logins * DATABASE_SECONDS),
    ):
        ends = [(x(logins), y(cores_of(logins))) for logins in (10, 10_000)]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in ends)
        parts.append(f'<polyline class="line {kind}" points="{path}"/>')
        parts.append(f'<text x="{RIGHT + 8}" y="{ends[1][1] + 4:.1f}">{name}</text>')
    (ROOT / "docs" / "scaling" / "walls.svg").write_text("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
