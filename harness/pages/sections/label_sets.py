"""Label sets: mAP by label frequency and shift, and what each part of LTML adds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.board.label_build import F1, GROUPS, build
from harness.board.label_table import random_map
from harness.board.schema import Average, LabelEntry
from harness.measures.statistics import mean_sd
from harness.records.label_rows import LabelRow, load_all
from harness.show.ink import INK, SERIES, WIDTH, styled
from harness.show.plot import key
from harness.show.section import Cell, Picture, Section, Table
from harness.show.shifts import shift_order, short
from harness.show.text import counted, numbered

ABLATION = (
    ("uniform branch alone", "ltml:branches=uniform,compensation=false"),
    ("re-balanced branch alone", "ltml:branches=rebalanced,compensation=false"),
    ("both branches", "ltml:compensation=false,consistency=0"),
    ("+ consistency", "ltml:compensation=false"),
    ("+ compensation", "ltml"),
)
"""The paper's steps (Guo and Wang, CVPR 2021, Table 2) and the methods that they are here."""
PAPER_CONSISTENCY = 0.018
"""What consistency adds to mAP in the paper, on VOC-MLT."""
GROUP_STYLES = {
    "head": {"color": SERIES[0], "marker": "^"},
    "medium": {"color": SERIES[2], "marker": "s"},
    "tail": {"color": SERIES[1], "marker": "v"},
    "map": {"color": INK, "marker": "o"},
}


def section(results: Path) -> Section | None:
    """Make the section on label sets from stored rows; None if there are none."""
    stored = load_all(results)
    if not stored:
        return None
    settings: dict[tuple[str, str], list[LabelRow]] = defaultdict(list)
    for row in stored:
        precision = "" if row.evidence_precision == "fp32" else f", evidence in {row.evidence_precision}"
        settings[row.dataset, f"{row.recipe}{precision}"].append(row)
    leads, tables, pictures = [], [], []
    names = numbered([f"{dataset}-{recipe}-labels" for dataset, recipe in settings])
    for ((dataset, recipe), members), name in zip(settings.items(), names, strict=True):
        entries = build(members)["entries"]
        where = f"{dataset}, recipe {recipe}"
        leads.append(_lead(where, entries, members))
        tables.append(_results(where, entries))
        steps = _ablation(where, members)
        tables += [] if steps is None else [steps]
        pictures.append(_picture(name, where, entries))
    return Section("multi-label", "Label sets", " ".join(leads), tuple(tables), tuple(pictures))


def _results(where: str, entries: Sequence[LabelEntry]) -> Table:
    """Return every method on every shift, best first."""
    seeds = max(len(entry["train_seeds"]) for entry in entries)
    columns = ["shift", "images", "TV to wanted", "random mAP %", "method"]
    columns += [name for group in GROUPS for name in (f"{_heading(group)} %", f"{_heading(group)} sd %")]
    columns += ["F1 micro %", "F1 macro %"]
    rows: list[tuple[Cell, ...]] = []
    for shift in _shifts(entries):
        for entry in sorted((one for one in entries if one["shift"] == shift), key=lambda one: -one["map"]["mean"]):
            cells = [value for group in GROUPS for value in _mean_sd(entry[group])]
            cells += [_mean_sd(entry[name])[0] for name in F1]
            rows.append((shift, entry["n"], entry["tv_wanted"], random_map(entry), entry["method"], *cells))
    caption = (
        f"Mean average precision on {where}: mean and standard deviation over {counted(seeds, 'train seed')}; head, "
        "medium and tail are labels with at least 100, 20 to 99 and fewer than 20 training images. A random ranking "
        "has the mAP of the column before the method's, so methods compare on one shift, not shifts with one another. "
        "F1 of logit > 0."
    )
    return Table(caption, tuple(columns), tuple(rows))


def _ablation(where: str, rows: Sequence[LabelRow]) -> Table | None:
    """Return what each part of LTML adds to mAP, seed by seed; None unless both sides of a step were run."""
    lines: list[tuple[Cell, ...]] = []
    before: dict[int | None, float] = {}
    for label, method in ABLATION:
        by_seed = _by_seed(rows, method)
        if not by_seed:
            continue
        alone = "branches=" in method
        gains = [] if alone else _gains(before, by_seed)
        gain = mean_sd(gains) if gains else None
        summary = mean_sd(list(by_seed.values()))
        shown = (None, None) if gain is None else (gain.mean, gain.sd)
        lines.append((label, method, summary.n, summary.mean, summary.sd, *shown))
        # Two branches are compared with the better one alone, every later line with the one before it.
        if not alone or not before or _mean(by_seed) > _mean(before):
            before = by_seed
    if len(lines) < 2:
        return None
    columns = ("part", "method", "seeds", "mAP %", "mAP sd %", "gain, points", "gain sd %")
    caption = (
        f"What each part of LTML adds on {where}: mAP, mean over shifts; gain over the line before (two branches: over "
        "the better one alone), seed by seed."
    )
    return Table(caption, columns, tuple(lines))


def _lead(where: str, entries: Sequence[LabelEntry], rows: Sequence[LabelRow]) -> str:
    """Name the best method over all shifts, and what consistency adds."""
    shifts = _shifts(entries)
    means: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        means[entry["method"]].append(entry["map"]["mean"])
    complete = {method: sum(values) / len(values) for method, values in means.items() if len(values) == len(shifts)}
    text = f"On {where}"
    if complete:
        best = max(complete, key=lambda method: complete[method])
        text += f", {best} has the highest mAP, {100 * complete[best]:.1f}% over {', '.join(map(short, shifts))}"
    gains = _gains(_by_seed(rows, ABLATION[2][1]), _by_seed(rows, ABLATION[3][1]))
    if gains:
        text += (
            f"; consistency adds {mean_sd(gains).text(100)} points to LTML's two branches "
            f"({counted(len(gains), 'train seed')}; the paper: +{100 * PAPER_CONSISTENCY:.1f} on "
            "VOC-MLT)"
        )
    return text + "."


def _by_seed(rows: Sequence[LabelRow], method: str) -> dict[int | None, float]:
    """Return the mAP of a method by train seed, mean over shifts, of the seeds that have all its shifts."""
    by_shift: dict[int | None, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.method == method:
            by_shift[row.train_seed][row.shift] = row.map
    shifts = {shift for accuracies in by_shift.values() for shift in accuracies}
    return {seed: _mean(accuracies) for seed, accuracies in by_shift.items() if set(accuracies) == shifts}


def _gains(before: dict[int | None, float], after: dict[int | None, float]) -> list[float]:
    return [after[seed] - before[seed] for seed in after if seed in before]


def _mean(values: dict[Any, float]) -> float:
    return sum(values.values()) / len(values)


def _picture(name: str, where: str, entries: Sequence[LabelEntry]) -> Picture:
    """Draw a panel for each shift: methods down, mAP across, a mark for each group of labels."""
    shifts = _shifts(entries)
    methods = sorted({entry["method"] for entry in entries}, key=lambda name: _overall(entries, name))
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, 0.25 * len(methods) + 0.6), layout="constrained")
        axes = figure.subplots(1, len(shifts), sharex=True, sharey=True, squeeze=False)[0]
        for axis, shift in zip(axes, shifts, strict=True):
            axis.set_title(short(shift))
            for entry in entries:
                if entry["shift"] == shift:
                    _marks(axis, methods.index(entry["method"]), entry)
            axis.set_yticks(range(len(methods)), methods)
            axis.set_ylim(-0.6, len(methods) - 0.4)
        key(figure, axes)
        figure.supxlabel("mean average precision %", fontsize=8)
    seeds = max(len(entry["train_seeds"]) for entry in entries)
    spread = "standard deviation over train seeds" if seeds > 1 else "95% bootstrap interval over test images"
    return Picture(
        name,
        figure,
        f"Mean average precision on {where}, by method, shift and label frequency; lines: {spread}.",
        f"Dot plot of mAP for {len(methods)} methods on {', '.join(map(short, shifts))}; the numbers are in the table.",
    )


def _marks(axis: Any, height: int, entry: Mapping[str, Any]) -> None:
    for group, style in GROUP_STYLES.items():
        summary = entry[group]
        if summary is None:
            continue
        low, high = entry[f"{group}_interval"] or [summary["mean"] + sign * (summary["sd"] or 0) for sign in (-1, 1)]
        axis.plot([100 * low, 100 * high], [height, height], color=style["color"], linewidth=1.2, alpha=0.6)
        label = "all labels" if group == "map" else group
        axis.plot(100 * summary["mean"], height, **style, linestyle="none", markersize=4.5, label=label)


def _overall(entries: Sequence[LabelEntry], method: str) -> float:
    values = [entry["map"]["mean"] for entry in entries if entry["method"] == method]
    return sum(values) / len(values)


def _shifts(entries: Sequence[LabelEntry]) -> list[str]:
    return sorted({entry["shift"] for entry in entries}, key=shift_order)


def _heading(group: str) -> str:
    return "mAP" if group == "map" else group


def _mean_sd(summary: Average | None) -> tuple[float | None, float | None]:
    return (None, None) if summary is None else (summary["mean"], summary["sd"])
