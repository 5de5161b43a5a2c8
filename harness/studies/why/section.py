"""The section "Why": bias and variance, view stability beside learned weights, and the risk bound's ranking."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.show.section import Picture, Section
from harness.studies.why import findings
from harness.studies.why.bound import choice, correlate
from harness.studies.why.tables import Reasons, gather, ordered_shifts, tables

COMPARED = ("ride", "ldam_drw")
"""RIDE and the single network trained with its loss: what several experts change, all else nearly alike."""


def section(results: Path) -> Section | None:
    """Show from what is stored why methods differ; None if nothing is stored. Raises WorkFailed."""
    stored = gather(results)
    if not stored:
        return None
    return Section(
        key="why",
        title="Why: bias and variance, view stability, and a risk bound",
        lead=lead(stored),
        tables=tuple(table for reasons in stored for table in tables(reasons)),
        pictures=tuple(picture for number, reasons in enumerate(stored) for picture in _pictures(reasons, number)),
    )


def _pictures(reasons: Reasons, number: int) -> list[Picture]:
    """Draw a setting; nothing where there is only one shift, which tables show as well."""
    if not reasons.findings and len({one.shift for part in (reasons.trusts, reasons.points) for one in part}) < 2:
        return []
    from harness.studies.why.figures import pictures

    return pictures(reasons, f"-{number + 1}" if number else "")


def lead(stored: list[Reasons]) -> str:
    """Say what the analyses show, with numbers; each setting by name if there are several."""
    said = []
    parts: tuple[Callable[[Reasons], str], ...] = (_variance, _experts, _hardest, _premise, _ranking)
    for reasons in stored:
        sentences = [text for part in parts if (text := part(reasons))]
        name = f"[{reasons.words}] " if len(stored) > 1 else ""
        said.append(name + " ".join(sentences))
    return " ".join(said)


def _variance(reasons: Reasons) -> str:
    """Say where bias and variance lie, and which method has least."""
    if not reasons.findings:
        return ""
    extremes = {}
    for measure in ("bias", "variance"):
        values = {method: reasons.of[method, "mean", "all", measure].value for method in reasons.methods}
        extremes[measure] = min(values, key=values.__getitem__), max(values, key=values.__getitem__), values
    numbers = sorted({one.models for one in reasons.findings})
    counts = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    texts = []
    for measure, (least, most, values) in extremes.items():
        texts.append(f"{measure} runs from {values[least]:.3f} ({least}) to {values[most]:.3f} ({most})")
    text = f"Over {counts} models a method, on the uniform test set, {' and '.join(texts)}."
    if reasons.short_of_models:
        text += f" (Left out, with too few training draws: {', '.join(reasons.short_of_models)}.)"
    known = []
    for method in reasons.methods:
        ends = [reasons.of.get((method, "mean", group, "variance")) for group in ("few", "many")]
        known += [[one.value for one in ends if one is not None]] if None not in ends else []
    if known:
        few, many = np.mean(known, axis=0)
        text += f" Variance is {few:.3f} on few-shot and {many:.3f} on many-shot classes (mean over methods)."
    return text


def _experts(reasons: Reasons) -> str:
    """Judge RIDE's claim that several experts reduce the variance."""
    texts = []
    if all((name, "mean", "all", "variance") in reasons.of for name in COMPARED):
        for measure in ("variance", "bias"):
            several, single = (reasons.of[name, "mean", "all", measure] for name in COMPARED)
            texts.append(
                f"{measure} {several.value:.3f} against {single.value:.3f} of {COMPARED[1]} "
                f"({_change(findings.difference([several], [single]))})"
            )
        texts = [f"{COMPARED[0]} has {' and '.join(texts)}."]
    lowered = []
    for method in reasons.several:
        change, interval = findings.difference(
            [reasons.of[method, "mean", "all", "variance"]], reasons.alone(method, "all", "variance")
        )
        lowered.append((change, interval is not None and interval[1] < 0))
    if lowered:
        texts.append(
            f"Within the same networks the mean of all experts has less variance than one of them alone in "
            f"{sum(change < 0 for change, _ in lowered)} of {len(lowered)} methods (interval below zero in "
            f"{sum(sure for _, sure in lowered)}; mean change {np.mean([change for change, _ in lowered]):+.3f})."
        )
    return " ".join(["RIDE's claim is that more experts reduce variance.", *texts]) if texts else ""


def _hardest(reasons: Reasons) -> str:
    """Judge RIDE's claim of less confidence in the hardest negative of tail classes."""
    if not all((name, "mean", "few", "hardest_negative") in reasons.of for name in COMPARED):
        return ""
    several, single = (reasons.of[name, "mean", "few", "hardest_negative"] for name in COMPARED)
    change = _change(findings.difference([several], [single]))
    return (
        f"{COMPARED[0]}'s hardest negative on few-shot classes has probability {several.value:.3f} against "
        f"{single.value:.3f} ({change})."
    )


def _premise(reasons: Reasons) -> str:
    """Judge SADE's premise that the most stable expert is the most accurate one, and gets the weight."""
    judged = [trust for trust in reasons.trusts if trust.stable_best is not None]
    if not judged:
        return ""
    mine = [trust for trust in judged if trust.method.partition(":")[0] == "sade"]
    texts = []
    for name, part in (("sade", mine), ("all multi-expert methods", judged)):
        if part:
            models = sum(trust.models for trust in part)
            stable, able, trusted = (
                sum((getattr(trust, what) or 0) * trust.models for trust in part) / models
                for what in ("trusted_stable", "stable_best", "trusted_best")
            )
            chance = sum(trust.models / len(trust.weights) for trust in part) / models
            texts.append(
                f"for {name} the heaviest expert is the most stable one in {stable:.0%} of {models} cases, but the "
                f"most stable one is the most accurate in {able:.0%} (chance {chance:.0%}), and the heaviest in "
                f"{trusted:.0%}"
            )
    text = f"SADE's premise, an expert is most stable where it is skilled: {'; '.join(texts)}."
    if mine:
        gains = [trust.gain for trust in mine]
        text += (
            f" sade's adaptation gains accuracy on {sum(gain > 0 for gain in gains)} of {len(gains)} shifts "
            f"(from {min(gains):+.3f} to {max(gains):+.3f})."
        )
    return text + _skill(reasons)


def _skill(reasons: Reasons) -> str:
    """Judge the premise by shot group, if the accuracy of each expert alone is stored."""
    right = total = 0
    for trust in reasons.trusts:
        experts = len(trust.weights)
        if trust.shift != "uniform" or (trust.method, f"expert-{experts}", "all", "error") not in reasons.of:
            continue
        for group in ("many", "medium", "few"):
            if group in trust.stability and (trust.method, "mean", group, "error") in reasons.of:
                errors = [one.value for one in reasons.alone(trust.method, group, "error")]
                right += int(np.argmin(errors)) == int(np.argmax(trust.stability[group]))
                total += 1
    if not total:
        return ""
    return f" By shot group the most stable expert is the most accurate one in {right} of {total} cases."


def _ranking(reasons: Reasons) -> str:
    """Say whether the distances of the bound rank methods."""
    if not reasons.points:
        return ""
    values, regrets, right = [], [], 0
    shifts = ordered_shifts(point.shift for point in reasons.points)
    for shift in shifts:
        here = [point for point in reasons.points if point.shift == shift]
        one = correlate(here, "bound").value
        values += [] if one is None else [one]
        regrets.append(choice(here, "bound")[1])
        right += regrets[-1] < 1e-9
    if not values:
        return ""
    text = (
        f"The risk bound's distances against accuracy across {len({p.method for p in reasons.points})} methods: rank "
        f"correlation from {min(values):+.2f} to {max(values):+.2f} over {len(values)} shifts (-1 = the bound ranks "
        f"them; its other term, the experts' own risks, is not measured); choosing the method with the least "
        f"distance costs {np.mean(regrets):.3f} accuracy on average and is right on {right} of {len(shifts)} shifts"
    )
    diverse = [correlate([p for p in reasons.points if p.shift == shift], "etvd").value for shift in shifts]
    wrong = sum(value > 0 for value in diverse if value is not None)
    single = {point.method for point in reasons.points if point.etvd == 0}
    text += (
        f". The more its experts' environments differ (ETVD), the more accurate a method is on {wrong} of "
        f"{len(shifts)} shifts, against the bound; ETVD is 0 for {len(single)} methods, whose experts all answer "
        "for one prior"
    )
    if reasons.twins:
        text += "; " + ", ".join(f"{twin} makes the same networks as {first}" for twin, first in reasons.twins.items())
        text += " and is left out"
    return text + "."


def _change(found: tuple[float, tuple[float, float] | None]) -> str:
    value, interval = found
    return f"{value:+.3f}" + ("" if interval is None else f", interval {interval[0]:+.3f} to {interval[1]:+.3f}")
