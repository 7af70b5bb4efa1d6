"""Draw what the check ``weak_signal`` found: ``python -m benchmarks.checks.community_pictures``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from benchmarks.record import RESULTS

PICTURE = RESULTS.parent / "images" / "weak_signal.png"
ROW = re.compile(r"signal ([\d.]+) of the limit: NMI, (.*)")
NAMES = {"ours": "block model", "Leiden (scikit-network), edges alone": "Leiden, edges alone"}


def curves(rows: list[Mapping[str, object]]) -> dict[str, list[tuple[float, float, float, float]]]:
    """Signal, mean, lowest and highest NMI by method."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        signal, name = ROW.search(str(row["compared"])).groups()  # type: ignore[union-attr]
        low, high = row["interval"]  # type: ignore[misc]
        found.setdefault(name, []).append((float(signal), float(row["number"]), low, high))  # type: ignore[arg-type]
    return found


def draw() -> None:
    """Write the picture from the stored rows."""
    import matplotlib as mpl

    mpl.use("Agg")
    from neurotools.plot import style

    rows = json.loads((RESULTS / "weak_signal.json").read_text(encoding="utf-8"))["rows"]
    with style.context():
        ax = style.panel(None, (5.6, 3.4))
        for place, (name, points) in enumerate(curves(rows).items()):
            signal, mean, low, high = zip(*points, strict=True)
            ax.fill_between(signal, low, high, color=style.colour(place), alpha=0.15, linewidth=0)
            ax.plot(
                signal,
                mean,
                color=style.colour(place),
                marker="os"[place % 2],
                markersize=4,
                label=NAMES[name],
            )
        ax.axvline(1.0, color=style.MUTED, linewidth=0.9, linestyle="--")
        ax.annotate("limit of\nlarge graphs", (1.0, 0.8), (-6, 0), textcoords="offset points", ha="right",
                    fontsize=8, color=style.MUTED)  # fmt: skip
        ax.set_xscale("log", base=2)
        ticks = [point[0] for point in next(iter(curves(rows).values()))]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set(
            xlabel="signal over the limit of detection",
            ylabel="NMI with the planted blocks",
            ylim=(-0.02, 1.02),
        )
        ax.set_title("Two blocks of 150 units, mean degree 12: mean and range of six graphs")
        ax.legend(loc="upper left")
        style.root_of(ax).savefig(PICTURE, dpi=160)


if __name__ == "__main__":
    draw()
