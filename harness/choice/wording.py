"""An answer as a sentence: the scope, the choice, how sure it is."""

from collections.abc import Hashable, Mapping, Sequence

from harness.choice.contenders import Contender, Standing
from harness.show.text import counted

NAMED = 3
"""Contenders of a rank group that a sentence names."""


def sentence(
    scope: str,
    contenders: Sequence[Contender],
    best_worst: Contender,
    least_regret: Contender,
    shifts: int,
) -> str:
    """Return what to choose, or that the best are not distinguishable. contenders: by mean, best first."""
    over = f"{scope}, over {counted(shifts, 'shift')}"
    return f"{over}: {_choice(contenders)}. {_further(contenders[0], best_worst, least_regret)}. {_seeds(contenders)}"


def stability(
    families: Sequence[str],
    others: Sequence[str],
    on_axis: bool,
    standings: Mapping[Hashable, Standing],
    choice: Hashable,
    elsewhere: Standing | None,
    rival: tuple[str, Standing] | None,
) -> str:
    """Return how firmly a choice holds over families of shifts.

    others: the families that the choice was not made on; on_axis: whether it was made on the axis. standings: of all
    contenders that have all families, over these; elsewhere: of the choice over the others, None where it lacks rows.
    rival: who is first there most often, if not the choice.
    """
    mine = [name for name in families if name not in others]
    hangs = f"The choice hangs on {_and(mine)} alone"
    if not others:
        return f"{hangs}: no other family of shifts was measured."
    if choice not in standings or elsewhere is None:
        return f"{hangs}: it was not measured on {_and(others)}."
    if len(standings) == 1:
        return ""
    place = f"rank {_ranks(standings[choice])} of {len(standings)} and is first in {_share(standings[choice])}"
    said = f"Over families of shifts ({_and(families)}) it has {place}."
    if elsewhere.low > 1:
        beaten = "" if rival is None else f", and {rival[0]} is first in {_share(rival[1])}"
        alone = f"{hangs}: on {_and(others)} it" if on_axis else "It does not hold on the axis, where it"
        said += f" {alone} has rank {_ranks(elsewhere)}{beaten}."
    return said


def _ranks(standing: Standing) -> str:
    return str(standing.low) if standing.low == standing.high else f"{standing.low} to {standing.high}"


def _share(standing: Standing) -> str:
    return f"{100 * standing.first:.0f}% of resamples"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def name(one: Contender) -> str:
    """Return method and adapter in one text."""
    return f"{one.method} + {one.adapter}"


def _choice(contenders: Sequence[Contender]) -> str:
    best, others = contenders[0], contenders[1:]
    group = [one for one in contenders if one.best_group]
    if not others:
        return f"the only contender is {_with_mean(best)}"
    if len(group) == 1:
        gap = 100 * (best.mean - others[0].mean)
        worst_p = max(one.p_adjusted for one in others)
        p = "< .001" if worst_p < 0.001 else f"<= {worst_p:.3f}".replace("0.", ".")
        return (
            f"the choice is {_with_mean(best)}, {gap:.1f} points ahead of {name(others[0])} "
            f"(adjusted p {p} against each of {len(others)})"
        )
    named = ", ".join(f"{name(one)} {100 * one.mean:.1f}" for one in group[1:NAMED])
    more = f" and {len(group) - NAMED} more" if len(group) > NAMED else ""
    how_many = f"the best {len(group)} of" if len(group) < len(contenders) else "all"
    return (
        f"{how_many} {len(contenders)} are not distinguishable (adjusted p >= .05); "
        f"highest is {_with_mean(best)}, then {named}{more}"
    )


def _further(best: Contender, best_worst: Contender, least_regret: Contender) -> str:
    worst = f"worst shift ({100 * best_worst.worst:.1f}% on {best_worst.worst_shift})"
    regret = f"largest regret ({100 * least_regret.regret:.1f} points on {least_regret.regret_shift})"
    if best_worst == least_regret:
        also = " also" if best == best_worst else ""
        return f"{name(best_worst)}{also} has the best {worst} and the smallest {regret}"
    return f"{name(best_worst)} has the best {worst}, {name(least_regret)} the smallest {regret}"


def _seeds(contenders: Sequence[Contender]) -> str:
    if len({one.train_seeds for one in contenders}) > 1:
        return "Train seeds differ between contenders; the spread of a single seed is not known."
    seeds = len(contenders[0].train_seeds)
    return f"{seeds} train seeds." if seeds > 1 else "One train seed: intervals and p tell of test images only."


def _with_mean(one: Contender) -> str:
    mean = f"{name(one)} with a mean of {100 * one.mean:.1f}%"
    if one.mean_low is None or one.mean_high is None:
        return mean
    return f"{mean} (95% interval {100 * one.mean_low:.1f} to {100 * one.mean_high:.1f})"
