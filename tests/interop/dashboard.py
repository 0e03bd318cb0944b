"""Draws the panels of the dashboard from what Prometheus answers to their queries. It is no picture of Grafana."""

import time

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from monitoring import asked, panels

# An inch for two columns of 24, and for four lines of a panel's height.
WIDTH, HEIGHT = 1 / 1.5, 1 / 3.2


def written(value, unit):
    """A value with its unit, as short as on the dashboard."""
    if unit == "s":
        for size, name in [(86400, "days"), (3600, "h"), (60, "min")]:
            if abs(value) >= size:
                return f"{value / size:.1f} {name}"
        return f"{value:.0f} s"
    return f"{value:g}"


def legend(target, labels):
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def stat(axes, panel, api):
    axes.axis("off")
    [target] = panel["targets"]
    results = asked(api, "query", query=query(target))["result"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    mappings = panel["fieldConfig"]["defaults"].get("mappings", [])
    words = {key: option["text"] for m in mappings for key, option in m["options"].items()}
    texts = []
    for result in results:
        value = words.get(result["value"][1]) or written(float(result["value"][1]), unit)
        texts.append(f"{legend(target, result['metric'])} {value}".strip())
    axes.text(0.5, 0.4, "\n".join(texts), ha="center", va="center", fontsize=17, color="#1a7f37")


def query(target):
    return target["expr"].replace("$__rate_interval", "15s").replace("$instance", ".*")


def lines(axes, panel, api):
    end = time.time()
    for target in panel["targets"]:
        span = {"start": end - 110, "end": end, "step": 2}
        for result in asked(api, "query_range", query=query(target), **span)["result"]:
            points = [(float(at) - end, float(value)) for at, value in result["values"]]
            points = [(at, value) for at, value in points if value == value]
            axes.plot(*zip(*points), label=legend(target, result["metric"]), linewidth=1.2)
    if panel["fieldConfig"]["defaults"].get("min") == 0:
        axes.set_ylim(0, max(axes.get_ylim()[1] * 1.1, 0.01))
    if panel["fieldConfig"]["defaults"]["unit"] == "bytes":
        axes.yaxis.set_major_formatter(lambda octets, _: f"{octets / 2**20:.0f} MiB")
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:.0f} s")
    axes.tick_params(labelsize=6)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=5.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)


def picture(api, path):
    """Draws all panels where the file puts them."""
    own = panels()
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in own)
    figure = pyplot.figure(figsize=(24 * WIDTH, bottom * HEIGHT), dpi=80)
    for panel in own:
        place = panel["gridPos"]
        left, low = place["x"] / 24, 1 - (place["y"] + place["h"]) / bottom
        width, height = place["w"] / 24, place["h"] / bottom
        axes = figure.add_axes(
            [left + 0.03, low + 0.3 * height, width - 0.04, 0.55 * height]
        )
        axes.set_title(panel["title"], fontsize=8, loc="left")
        (stat if panel["type"] == "stat" else lines)(axes, panel, api)
    figure.savefig(path)
