"""Tables of the multi-label task for a terminal, made from leaderboard entries alone."""

from collections.abc import Sequence

from harness.board.schema import LabelEntry
from harness.show.shifts import short
from harness.show.text import aligned, counted, interval, mean_percent, percent

LEGEND = """\
mAP: mean average precision over labels; head, medium, tail: over labels with >= 100, 20-99, < 20 training images (- =
none in the draw); interval: 95% bootstrap over test images for one train seed, ± standard deviation over several; F1
of "logit > 0" over all labels (micro) and as a mean over labels that occur (macro). A label that is rarer in the draw
is harder to rank: compare methods on one shift, not shifts with one another."""


def render(entries: Sequence[LabelEntry], shifts: Sequence[str]) -> str:
    """Return each shift in detail, best method first, then several shifts side by side."""
    if not entries:
        return "no rows"
    blocks = [_title(entries)]
    blocks += [_detailed([entry for entry in entries if entry["shift"] == shift]) for shift in shifts]
    if len(shifts) > 1:
        blocks.append(_side_by_side(entries, shifts))
    return "\n\n".join([*blocks, LEGEND])


def _title(entries: Sequence[LabelEntry]) -> str:
    first = entries[0]
    seeds = max(len(entry["train_seeds"]) for entry in entries)
    recipes = ", ".join(sorted({str(entry["recipe"]) for entry in entries}))
    precision = f", evidence in {first['evidence_precision']}" if "evidence_precision" in first else ""
    return (
        f"{first['dataset']} (label sets, {first['train_labels_per_image']:.2f} labels a training image), "
        f"recipe {recipes}, {counted(seeds, 'train seed')}, adapter mean{precision}"
    )


def _detailed(entries: Sequence[LabelEntry]) -> str:
    first = entries[0]
    wanted = "" if first["tv_wanted"] is None else f", TV(reached, wanted) = {first['tv_wanted']:.3f}"
    title = (
        f"test {first['shift']}: n = {first['n']:,}, {first['labels_per_image']:.2f} labels an image, "
        f"TV(train, test) = {first['tv_train_test']:.3f}{wanted}"
    )
    paper = any(entry["reported"] for entry in entries)
    heading = ["method", "mAP %", "interval", "head", "medium", "tail", "F1 micro", "macro"]
    heading += ["paper"] if paper else []
    body = [
        [
            entry["method"],
            mean_percent(entry["map"]),
            interval(entry, "map"),
            *(mean_percent(entry[name]) for name in ("head", "medium", "tail", "f1_micro", "f1_macro")),
            *(([percent(entry["reported"]["value"]) if entry["reported"] else ""]) if paper else []),
        ]
        for entry in sorted(entries, key=_rank)
    ]
    chance = ["(random ranking)", percent(random_map(first)), *[""] * (len(heading) - 2)]
    return "\n".join([title, *aligned(heading, [*body, chance])])


def _side_by_side(entries: Sequence[LabelEntry], shifts: Sequence[str]) -> str:
    lines: dict[str, dict[str, LabelEntry]] = {}
    for entry in entries:
        lines.setdefault(entry["method"], {})[entry["shift"]] = entry
    means = {
        method: sum(line[shift]["map"]["mean"] for shift in shifts) / len(shifts)
        for method, line in lines.items()
        if all(shift in line for shift in shifts)
    }
    body = [
        [method, *(mean_percent(lines[method][shift]["map"]) for shift in shifts), percent(means[method])]
        for method in sorted(means, key=lambda method: -means[method])
    ]
    return "\n".join(["mAP % side by side", *aligned(["method", *map(short, shifts), "mean"], body)])


def random_map(entry: LabelEntry) -> float:
    """Return the mAP of a random ranking in a draw: a label's average precision is then its share of the images."""
    shares = [positives / entry["n"] for positives in entry["per_class_positives"] if positives]
    return sum(shares) / len(shares)


def _rank(entry: LabelEntry) -> float:
    return -float(entry["map"]["mean"])
