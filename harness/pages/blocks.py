"""Stored rows in the order of the report: blocks that are never mixed, with one line for each method and adapter."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.board import build as leaderboard
from harness.board.entries import chosen
from harness.board.schema import Entry
from harness.evidence.access import Access
from harness.records.fields import DATA
from harness.records.rows import Row
from harness.show.access import SITUATIONS, situation
from harness.show.settings import imbalance_words, named_recipe
from harness.show.shifts import shift_order
from harness.show.text import numbered

BLOCK = ("task", *DATA, "recipe", "recipe_sha256", "selection")
"""Row fields that must agree before two rows are compared: data, training set and recipe."""


@dataclass(frozen=True, eq=False)
class Line:
    """One method with one adapter: its leaderboard entry (over train seeds) on each shift.

    `method` and `adapter` are labels. They also tell what sets two such lines of a block apart (backbone, views, ...).
    """

    method: str
    adapter: str
    situation: str
    entries: dict[str, Entry]

    @property
    def name(self) -> str:
        """Method and adapter in one text; the method alone without adaptation."""
        return self.method if self.adapter == "mean" else f"{self.method} + {self.adapter}"

    @property
    def mean(self) -> float:
        """Mean top-1 over the line's shifts."""
        return sum(entry["top1"]["mean"] for entry in self.entries.values()) / len(self.entries)

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorting key: most shifts first, then the highest mean."""
        return -len(self.entries), -self.mean


@dataclass(frozen=True, eq=False)
class Block:
    """Everything measured on one dataset with one training set and recipe."""

    title: str
    slug: str
    rows: tuple[Row, ...]
    shifts: tuple[str, ...]
    lines: tuple[Line, ...]
    seeds: int

    def of(self, *situations: str) -> list[Line]:
        """Return the lines of some situations, in the order of their rank."""
        return [line for line in self.lines if line.situation in situations]

    @property
    def plain(self) -> dict[str, Line]:
        """The line without adaptation of each method."""
        return {line.method: line for line in self.lines if line.adapter == "mean"}

    @property
    def methods(self) -> list[str]:
        """Methods, best mean without adaptation first; those that lack shifts after the others."""
        heads = {line.method: line for line in reversed(self.lines)} | self.plain
        return sorted(heads, key=lambda method: (*heads[method].rank, method))

    @property
    def measure(self) -> str:
        """The name of the rows' main number, for an axis or a heading."""
        return "top-1" if self.rows[0].task == "single_label" else "score"


def blocks(rows: Iterable[Row]) -> list[Block]:
    """Group rows into blocks by dataset, training set and recipe. Rows of superseded program versions are left out."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(getattr(row, name) for name in BLOCK)].append(row)
    ordered = sorted(groups.values(), key=lambda group: tuple(str(getattr(group[0], name)) for name in BLOCK))
    titles = _apart([_title(group[0]) for group in ordered], [group[0] for group in ordered])
    slugs = numbered([_slug(title) for title in titles])
    return [_block(title, slug, group) for title, slug, group in zip(titles, slugs, ordered, strict=True)]


def _block(title: str, slug: str, group: Sequence[Row]) -> Block:
    entries = leaderboard.build(group)["entries"]
    kept = {row_id for entry in entries for row_id in entry["row_ids"]}
    rows = tuple(row for row in group if row.row_id in kept)
    lines: dict[tuple[Any, ...], dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        key = tuple(chosen(entry, leaderboard.SETTING).values())
        # A shift read from a file keeps its name when the file changes; both draws are shown.
        name = entry["shift"]
        lines[key][name if name not in lines[key] else f"{name} {entry['indices_sha256'][:6]}"] = entry
    labels = _labels([next(iter(line.values())) for line in lines.values()])
    ranked = [
        Line(
            method,
            adapter,
            situation(Access.of(entry)),
            {shift: line[shift] for shift in sorted(line, key=shift_order)},
        )
        for (method, adapter), line in zip(labels, lines.values(), strict=True)
        for entry in [next(iter(line.values()))]
    ]
    ranked.sort(key=lambda line: (list(SITUATIONS).index(line.situation), *line.rank, line.method, line.adapter))
    seeds = max(len(entry["train_seeds"]) for entry in entries)
    shifts = tuple(sorted({shift for line in ranked for shift in line.entries}, key=shift_order))
    return Block(title, slug, rows, shifts, tuple(ranked), seeds)


_OF_METHOD = {"backbone": "{}", "epochs": "{} epochs", "parameters": "{} parameters"}


_OF_ADAPTER = {
    "views": "{} views",
    "evidence_precision": "{} evidence",
    "source_n": "{} source labels",
    "source_seen": "{} seen",
    "target_prior_kind": "{} priors",
    "prior_access": "prior {}",
    "label_access": "labels {}",
    "test_access": "{}",
}


def _labels(heads: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return labels of method and adapter for each line, with what else differs among lines of the same names."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for head in heads:
        groups[head["method"], head["adapter"]].append(head)

    def label(head: Mapping[str, Any], name: str, fields: dict[str, str]) -> str:
        group = groups[head["method"], head["adapter"]]
        parts = [
            text.format(head[field]) for field, text in fields.items() if len({other[field] for other in group}) > 1
        ]
        return str(head[name]) + (f" ({', '.join(parts)})" if parts else "")

    return [(label(head, "method", _OF_METHOD), label(head, "adapter", _OF_ADAPTER)) for head in heads]


def _title(row: Row) -> str:
    # Of somebody else's model the profile is not known.
    usual = row.train_imbalance is None or row.train_profile in (None, "exp")
    train = ("" if usual else f"{row.train_profile} ") + imbalance_words(row.train_imbalance)
    return ", ".join([row.dataset, train, *([named_recipe(row.recipe)] if row.recipe else [])])


def _apart(titles: Sequence[str], heads: Sequence[Row]) -> list[str]:
    """Return titles, with what else differs among blocks of the same title."""
    fields = {
        "task": "{}",
        "train_subset_seed": "training draw {}",
        "train_rule": "{}",
        "test_split": "split {}",
        "train_n": "{} training images",
        "train_fingerprint": "training data {:.6}",
        "test_fingerprint": "test data {:.6}",
        "train_counts_sha256": "train counts {:.6}",
        "recipe_sha256": "recipe version {:.6}",
        "selection": "checkpoints chosen {}",
    }
    apart = []
    for title, head in zip(titles, heads, strict=True):
        same = [other for name, other in zip(titles, heads, strict=True) if name == title]
        parts = [
            text.format(getattr(head, field) if getattr(head, field) is not None else "none")
            for field, text in fields.items()
            if len({getattr(other, field) for other in same}) > 1
        ]
        apart.append(", ".join([title, *parts]))
    return apart


def _slug(title: str) -> str:
    short = title.replace("train imbalance ", "if").replace("recipe ", "").replace("natural train counts", "natural")
    return re.sub(r"[^a-z0-9.]+", "-", short.lower()).strip("-.")[:60] or "data"
