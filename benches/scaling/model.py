#!/usr/bin/env python3
"""A model of logins that wait for hashing, beside what was measured, and the plots of docs/scaling.md.

model.py MEASURED: a file with the lines that `cargo bench --bench limits -- queueing` printed. Writes
docs/scaling/queueing.svg and prints the table of docs/scaling.md.

The model is a queue M/D/c with batches. Logins come by chance (Poisson). There are c hashing threads. One that is free takes
as many as wait, up to its lanes, and computes them together; a batch of k takes the time S(k), and no chance. S is a straight
line through what was measured. One login alone waits for nobody. One that would wait longer than the deadline for its turn is
refused. Everything but the hash is left out.
"""

import heapq
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOADS = [number / 40 for number in range(4, 39)]
ARRIVALS = 40_000
# `--login-deadline`: how long a login may wait for its turn.
DEADLINE = 3.0


def read(path):
    """The threads, the lanes, S(k) by k, and what was measured."""
    numbers, batches, waits = {}, {}, []
    for line in Path(path).read_text().splitlines():
        kind, *rest = line.removeprefix("queueing,").split(",")
        if not line.startswith("queueing,"):
            continue
        if kind == "batch":
            batches[int(rest[0])] = float(rest[1])
        elif kind == "wait":
            waits.append([float(value) for value in rest])
        else:
            numbers[kind] = int(rest[0])
    return numbers["threads"], numbers["lanes"], batches, waits


def line(batches):
    """The straight line that is nearest to the measured S(k)."""
    sizes, times = list(batches), list(batches.values())
    middle, mean = sum(sizes) / len(sizes), sum(times) / len(times)
    slope = sum((size - middle) * (time - mean) for size, time in batches.items())
    slope /= sum((size - middle) ** 2 for size in sizes)
    return {size: mean + slope * (size - middle) for size in sizes}


def simulate(rate, threads, lanes, batches, seed=1):
    """What those wait until they are hashed that are not refused, in seconds, sorted."""
    chance = random.Random(seed)
    arrivals, now = [], 0.0
    for _ in range(ARRIVALS):
        now += chance.expovariate(rate)
        arrivals.append(now)
    free = [0.0] * threads
    waits, first = [], 0
    while first < len(arrivals):
        begun = max(heapq.heappop(free), arrivals[first])
        batch = []
        while first < len(arrivals) and len(batch) < lanes and arrivals[first] <= begun:
            if begun - arrivals[first] <= DEADLINE:
                batch.append(arrivals[first])
            first += 1
        ended = begun + batches[len(batch)] if batch else begun
        waits += [ended - arrival for arrival in batch]
        heapq.heappush(free, ended)
    return sorted(waits)


def share(waits, at):
    return waits[int((len(waits) - 1) * at)]


STYLE = (
    "text{font:13px sans-serif;fill:#1f2328}.title{font-weight:bold}.ground{fill:#fff}.grid{stroke:#d1d9e0}"
    ".line{fill:none;stroke-width:2}.a{stroke:#0969da}.b{stroke:#bc4c00}.p{stroke:none}.pa{fill:#0969da}.pb{fill:#bc4c00}"
    "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.ground{fill:#0d1117}.grid{stroke:#3d444d}"
    ".a{stroke:#4493f8}.b{stroke:#f0883e}.pa{fill:#4493f8}.pb{fill:#f0883e}}"
)


def plot(curves, points, most):
    """An SVG: two curves of the model by load, and the points that were measured."""
    left, right, top, bottom = 70, 560, 50, 300
    x = lambda load: left + load * (right - left)
    y = lambda wait: bottom - min(wait / most, 1.0) * (bottom - top)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="360" viewBox="0 0 720 360">',
        f"<style>{STYLE}</style>",
        '<rect class="ground" width="720" height="360"/>',
        '<text class="title" x="70" y="30">What logins wait, by how many of those come that can be hashed</text>',
    ]
    for tick in range(6):
        wait = most * tick / 5
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(wait):.1f}" y2="{y(wait):.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(wait) + 4:.1f}" text-anchor="end">{wait:.1f} s</text>')
        parts.append(f'<text x="{x(tick / 5):.1f}" y="{bottom + 20}" text-anchor="middle">{tick * 20} %</text>')
    for name, kind, at in (("p50", "a", 120), ("p99", "b", 150)):
        path = " ".join(f"{x(load):.1f},{y(wait):.1f}" for load, wait in curves[name])
        parts.append(f'<polyline class="line {kind}" points="{path}"/>')
        parts += [f'<circle class="p p{kind}" cx="{x(load):.1f}" cy="{y(wait):.1f}" r="4"/>' for load, wait in points[name]]
        parts.append(f'<line class="line {kind}" x1="580" x2="600" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="608" y="{at + 4}">{name}</text>')
    parts += ['<text x="580" y="184">lines: the model</text>', '<text x="580" y="204">points: measured</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def main():
    threads, lanes, batches, measured = read(sys.argv[1])
    batches = line(batches)
    capacity = threads * lanes / batches[lanes]
    print(f"{threads} threads, {lanes} lanes; S(1) = {batches[1]:.3f} s, S({lanes}) = {batches[lanes]:.3f} s; {capacity:.1f} a second")
    print("\n| of what can be hashed | logins a second | counted | 503 | p50: measured / model | ratio | p99: measured / model | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    points = {"p50": [], "p99": []}
    for load, rate, count, refused, _, median, p99 in measured:
        waits = simulate(rate, threads, lanes, batches)
        cells = []
        for name, value, at in (("p50", median, 0.5), ("p99", p99, 0.99)):
            points[name].append((load, value))
            model = share(waits, at)
            cells.append(f"{value:.2f} s / {model:.2f} s | {value / model:.2f}")
        print(f"| {load:.0%} | {rate:.1f} | {count:.0f} | {refused:.0f} | " + " | ".join(cells) + " |")
    curves = {"p50": [], "p99": []}
    for load in LOADS:
        waits = simulate(load * capacity, threads, lanes, batches)
        curves["p50"].append((load, share(waits, 0.5)))
        curves["p99"].append((load, share(waits, 0.99)))
    most = max(value for name in points for _, value in points[name] + curves[name])
    folder = ROOT / "docs" / "scaling"
    folder.mkdir(exist_ok=True)
    (folder / "queueing.svg").write_text(plot(curves, points, round(most + 0.25, 1)))


if __name__ == "__main__":
    main()
