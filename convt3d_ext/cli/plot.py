# SPDX-License-Identifier: BSD-3-Clause
"""The plot of ``bench --plot``: ours and torch's best, as fractions of the floor."""

from __future__ import annotations

from convt3d_ext.cli.summary import Row


def plot(path: str, rows: list[Row], facts: dict[str, object]) -> None:
    """Write a PNG with a panel per precision and direction."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display needed
    from matplotlib import pyplot

    precisions = list(dict.fromkeys(row.precision for row in rows))
    directions = list(dict.fromkeys(row.case.direction for row in rows))
    names = list(dict.fromkeys(row.case.name for row in rows))
    size = (2 + 0.5 * len(names) * len(directions), 2 + 2.2 * len(precisions))
    figure, panels = pyplot.subplots(
        len(precisions), len(directions), figsize=size, squeeze=False, sharex=True, sharey=True
    )
    for panel_row, precision in zip(panels, precisions, strict=True):
        for panel, direction in zip(panel_row, directions, strict=True):
            chosen = [r for r in rows if (r.precision, r.case.direction) == (precision, direction)]
            at = [names.index(row.case.name) for row in chosen]
            torchs = [
                row.floor_ms / row.torch_best_ms if row.torch_best_ms else 0 for row in chosen
            ]
            panel.bar(at, torchs, color="lightgray", label="torch, best layout")
            for layout, marker in (("ncdhw", "o"), ("ndhwc", "s")):
                points = [r for r in chosen if r.case.layout == layout]
                panel.plot(
                    [names.index(r.case.name) for r in points],
                    [r.roofline_fraction for r in points],
                    marker,
                    label=f"convt3d_ext, {layout}",
                )
            panel.set_title(f"{direction}, {precision}", fontsize=9)
            panel.set_ylim(0, 1)
            panel.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    panels[0][0].set_ylabel("fraction of the floor", fontsize=8)
    panels[0][0].legend(fontsize=6)
    title = f"{facts['device']}, torch {facts['torch']}, {facts['date']}"
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
