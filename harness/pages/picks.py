"""What the first screen of the page says: for each choice of its reader one sentence and the best as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.pages.blocks import Block
from harness.pages.sections.choice import contender_name, shifts_text
from harness.show.text import counted

if TYPE_CHECKING:
    from harness.choice.contenders import Answer, Contender

BARS = 5
"""Contenders that are drawn; the best without adaptation comes besides."""
HAVE = {
    "inductive": "no test images",
    "stream": "a stream of unlabelled test images",
    "transductive": "unlabelled test images, all at once",
}
"""Test access -> what its reader has."""


@dataclass(frozen=True)
class Bar:
    """A contender: mean accuracy and the ends of its interval in percent; best: it cannot be told from the best."""

    name: str
    mean: float
    low: float
    high: float
    best: bool


@dataclass(frozen=True)
class Pick:
    """What to use over some shifts for a reader with this test access, `source`: who has labelled source images too."""

    setting: str
    over: str
    test: str
    source: bool
    sentence: str
    bars: tuple[Bar, ...]

    @property
    def scale(self) -> tuple[int, int]:
        """Where the axis of the bars begins and ends, in percent: multiples of five."""
        low, high = min(bar.low for bar in self.bars), max(bar.high for bar in self.bars)
        return 5 * int(low // 5), max(5 * int(-(-high // 5)), 5 * int(low // 5) + 5)


def picks(block: Block) -> list[Pick]:
    """Return what to use for every choice that the rows of a block allow: over whole sets of shifts, then on each."""
    from harness.choice.answers import by_situation
    from harness.choice.entrants import contests

    rows = [row for row in block.rows if row.task == "single_label"]
    found = contests(rows)
    found.sort(key=lambda contest: shifts_text(contest.shifts) != "published")
    by_shift = {shift: [row for row in rows if row.shift == shift] for shift in block.shifts}
    whole = {contest.shifts for contest in found}
    found += [
        contest
        for shift, own in by_shift.items()
        if own and (shift,) not in whole
        for contest in contests(own, [shift])
    ]
    return [_pick(block.title, answer) for contest in found for answer in by_situation(contest)]


def first(found: Sequence[Pick]) -> Pick | None:
    """Return the pick that is shown before anything is chosen: with unlabelled test images alone, where there are."""
    usual = [pick for pick in found if pick.test == "transductive" and not pick.source]
    return next(iter([pick for pick in usual if pick.setting == found[0].setting] or found), None)


def packed(found: Sequence[Pick]) -> dict[str, Any]:
    """Return picks as compact data for the page: texts that come again are places in lists."""
    settings, overs, names = (
        list(dict.fromkeys(texts))
        for texts in (
            (pick.setting for pick in found),
            (pick.over for pick in found),
            (bar.name for pick in found for bar in pick.bars),
        )
    )
    lines = [
        [
            settings.index(pick.setting),
            overs.index(pick.over),
            pick.test,
            int(pick.source),
            pick.sentence,
            pick.scale,
            [[names.index(bar.name), bar.mean, bar.low, bar.high, int(bar.best)] for bar in pick.bars],
        ]
        for pick in found
    ]
    return {"settings": settings, "overs": overs, "names": names, "picks": lines}


def _pick(setting: str, answer: "Answer") -> Pick:
    shifts = answer.shifts
    over = shifts[0] if len(shifts) == 1 else f"the {len(shifts)} {shifts_text(shifts)} shifts, mean"
    drawn = list(answer.contenders[:BARS])
    plain = next((one for one in answer.contenders if one.adapter == "mean"), None)
    if plain is not None and plain not in drawn:
        drawn.append(plain)
    return Pick(
        setting,
        over,
        answer.access.test,
        answer.access.labels == "source",
        _sentence(answer),
        tuple(map(_bar, drawn)),
    )


def _sentence(answer: "Answer") -> str:
    best, others = answer.best_mean, len(answer.contenders) - 1
    alike = sum(one.best_group for one in answer.contenders) - 1
    shifts = answer.shifts
    over = f"on {shifts[0]}" if len(shifts) == 1 else f"over the {len(shifts)} {shifts_text(shifts)} shifts"
    interval = ""
    if best.mean_low is not None and best.mean_high is not None:
        interval = f" (95 % interval {100 * best.mean_low:.1f} to {100 * best.mean_high:.1f})"
    if not others:
        sure = "nothing else was measured"
    elif alike:
        sure = f"{alike} of {counted(others, 'other')} cannot be told apart from it"
    else:
        sure = f"it is ahead of {'all ' if others > 1 else ''}{counted(others, 'other')}"
    return f"{answer.situation}, {over}: {_name(best)} is right on {100 * best.mean:.1f} %{interval}; {sure}."


def _bar(one: "Contender") -> Bar:
    low, high = (one.mean if end is None else end for end in (one.mean_low, one.mean_high))
    return Bar(_name(one), round(100 * one.mean, 1), round(100 * low, 1), round(100 * high, 1), one.best_group)


def _name(one: "Contender") -> str:
    return contender_name(one) + (", no adaptation" if one.adapter == "mean" else "")
