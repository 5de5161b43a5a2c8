"""The user's question: which method and adapter, for what one has at hand."""

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board import build as leaderboard
from harness.choice import text as answer
from harness.choice.answers import answers, situations
from harness.choice.contenders import Answer
from harness.choice.entrants import PUBLISHED
from harness.choice.text import render
from harness.records import rows
from harness.records.rows import Row
from shifts.labels.draw import draw
from shifts.labels.shift import Shift, class_counts
from tests.harness.choice.test_pairs import row_of
from tests.harness.small import command, one_line

LABELS = np.arange(240) % 4
RANK = np.arange(4)
POOL = np.bincount(LABELS)
SADE = {"adapter": "sade", "test_access": "transductive", "views": 3}
EM = {"adapter": "em", "test_access": "transductive", "prior_access": "estimated"}
SOURCE = {"adapter": "bbse", "test_access": "transductive", "prior_access": "estimated", "label_access": "source"}
STREAM = {"adapter": "stream_em", "test_access": "stream", "prior_access": "estimated"}
ORACLE = {"adapter": "oracle_prior", "prior_access": "oracle"}
TOLD = {"adapter": "best_expert", "label_access": "test", "test_access": "transductive"}


@cache
def drawn(shift: str) -> np.ndarray:
    """Indices of a shift into the pool."""
    return draw(LABELS, class_counts(Shift.parse(shift), POOL, RANK), "seeded-shuffle", 0)


def setting(
    skill: float,
    method: str = "sade",
    seeds: tuple[int | None, ...] = (0,),
    shifts: tuple[str, ...] = PUBLISHED,
    **changes: Any,
) -> list[Row]:
    """Rows of one method and adapter; a share `skill` of the images is right, whichever it is."""
    made = []
    for seed in seeds:
        rng = np.random.default_rng(int(1000 * skill) + (seed or 0))
        right = rng.permutation(len(LABELS)) < skill * len(LABELS)
        for text in shifts:
            shift = Shift.parse(text)
            where = {"shift": text, "shift_kind": shift.kind, "shift_ratio": shift.ratio, "shift_seed": shift.seed}
            who = {"method": method, "train_seed": seed, "checkpoint_sha256": f"{method}{seed}"}
            made.append(row_of(right, LABELS, drawn(text), **(where | who | changes)))
    return made


def several() -> list[Row]:
    """Two methods without adaptation, and one adapter of each access class."""
    return [
        *setting(0.8, "balpoe"),
        *setting(0.6),
        *setting(0.7, **SADE),
        *setting(0.75, **EM),
        *setting(0.5, **SOURCE),
        *setting(0.4, **STREAM),
        *setting(0.9, **ORACLE),
        *setting(0.95, **TOLD),
    ]


def names(one: Answer) -> list[str]:
    return [f"{contender.method} + {contender.adapter}" for contender in one.contenders]


def test_contenders_are_ranked_with_worst_shift_and_regret() -> None:
    (one,) = answers([*setting(0.8, "balpoe"), *setting(0.6)])
    assert (one.dataset, one.train) == ("embedded", "imbalance 100 (exp, seeded-shuffle, subset seed 0)")
    assert (one.recipe_note, one.access, one.shifts) == ("recipe quick", ("none", "none", "inductive"), PUBLISHED)
    assert names(one) == ["balpoe + mean", "sade + mean"]
    assert one.best_mean == one.contenders[0]
    first, second = one.contenders
    for contender in one.contenders:
        assert contender.mean == pytest.approx(np.mean(list(contender.by_shift.values())))
        assert contender.worst == contender.by_shift[contender.worst_shift] == min(contender.by_shift.values())
        assert contender.mean_low is not None
        assert contender.mean_high is not None
        assert contender.mean_low < contender.mean < contender.mean_high
        best = {shift: max(first.by_shift[shift], second.by_shift[shift]) for shift in PUBLISHED}
        short = {shift: best[shift] - contender.by_shift[shift] for shift in PUBLISHED}
        assert contender.regret == short[contender.regret_shift] == max(short.values())
    assert first.p_adjusted == 1
    assert first.best_group
    assert not second.best_group
    assert one.sentence.startswith("One image at a time, no test prior, over 11 shifts: ")
    assert f"the choice is balpoe + mean with a mean of {100 * first.mean:.1f}%" in one.sentence
    assert f"{100 * (first.mean - second.mean):.1f} points ahead of sade + mean" in one.sentence
    assert one.sentence.endswith("One train seed: intervals and p tell of test images only.")


def test_what_cannot_be_told_apart_is_said() -> None:
    found = [*setting(0.70, "a"), *setting(0.71, "b"), *setting(0.72, "c"), *setting(0.73, "d"), *setting(0.2, "e")]
    (one,) = answers(found)
    assert [contender.best_group for contender in one.contenders] == [True] * 4 + [False]
    assert "the best 4 of 5 are not distinguishable (adjusted p >= .05); highest is " in one.sentence
    assert "and 1 more. " in one.sentence
    (pair,) = answers([*setting(0.72, "c"), *setting(0.73, "d")])
    assert "all 2 are not distinguishable" in pair.sentence
    (alone,) = answers(setting(0.7))
    assert "the only contender is sade + mean with a mean of " in alone.sentence
    assert (alone.best_worst, alone.least_regret) == (alone.best_mean, alone.best_mean)
    assert alone.best_mean.regret == 0


def test_each_access_class_is_ranked_by_itself_upper_references_last() -> None:
    made = answers(several())
    assert [(one.access, names(one)) for one in made] == [
        (("none", "none", "inductive"), ["balpoe + mean", "sade + mean"]),
        (("estimated", "none", "stream"), ["sade + stream_em"]),
        (("none", "none", "transductive"), ["sade + sade"]),
        (("estimated", "none", "transductive"), ["sade + em"]),
        (("estimated", "source", "transductive"), ["sade + bbse"]),
        (("oracle", "none", "inductive"), ["sade + oracle_prior"]),
        (("none", "test", "transductive"), ["sade + best_expert"]),
    ]
    assert all(one.situation == "" for one in made)
    assert [one.sentence.split(",")[0] for one in made[-2:]] == ["Upper reference"] * 2
    assert not any("Upper" in one.sentence for one in made[:-2])


def test_a_situation_admits_whatever_needs_no_more() -> None:
    made = situations(several())
    inductive, stream, transductive = ["sade + mean"], ["sade + stream_em"], ["sade + em", "sade + sade"]
    assert [(one.situation, names(one)) for one in made] == [
        ("With no test data at hand", ["balpoe + mean", *inductive]),
        ("With a stream of unlabelled test images at hand", ["balpoe + mean", *inductive, *stream]),
        ("With the unlabelled test set at hand", ["balpoe + mean", *transductive, *inductive, *stream]),
        (
            "With the unlabelled test set at hand and labelled source images",
            ["balpoe + mean", *transductive, *inductive, "sade + bbse", *stream],
        ),
    ]
    assert [one.access for one in made][::3] == [("none", "none", "inductive"), ("estimated", "source", "transductive")]
    assert all(one.sentence.startswith(one.situation) for one in made)


def test_regret_is_within_the_answer() -> None:
    for one in [*answers(several()), *situations(several())]:
        for shift in one.shifts:
            gaps = [one.least_regret.by_shift[shift] - contender.by_shift[shift] for contender in one.contenders]
            assert one.least_regret.regret >= max(-gap for gap in gaps) - 1e-12
        assert all(contender.regret >= 0 for contender in one.contenders)
        assert one.best_mean.mean == max(contender.mean for contender in one.contenders)
        assert one.best_worst.worst == max(contender.worst for contender in one.contenders)
        assert one.least_regret.regret == min(contender.regret for contender in one.contenders)


def test_incomplete_contenders_are_left_out_and_counted() -> None:
    lacking = setting(0.9, "balpoe")[1:]
    mixed = [*setting(0.9, "ride", seeds=(0, 1))][1:]
    (one,) = answers([*setting(0.6), *lacking, *mixed])
    assert (names(one), one.left_out) == (["sade + mean"], 2)
    assert situations([*setting(0.6), *lacking])[0].left_out == 1
    assert answers(lacking) == situations(lacking) == []
    assert answers([]) == []


def test_recipes_data_and_selections_are_never_mixed() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"recipe": "published"},
        {"train_imbalance": 10.0},
        {"train_rule": "first-n"},
        {"dataset": "cifar10"},
        {"selection": "best-on-test"},
        {"train_subset_seed": 1},
        {"evidence_precision": "bf16"},
    ]
    made = answers([row for change in changes for row in setting(0.6, **change)])
    assert len(made) == len(changes)
    assert all(len(one.contenders) == 1 for one in made)
    notes = {one.recipe_note for one in made}
    assert {"recipe quick, checkpoints chosen best-on-test", "recipe quick, evidence in bf16"} < notes


def test_somebody_elses_model() -> None:
    unknown = dict.fromkeys(["train_profile", "train_rule", "train_subset_seed", "recipe", "recipe_sha256"])
    (one,) = answers(setting(0.6, "mine", seeds=(None,), **unknown))
    assert (one.train, one.recipe_note) == ("imbalance 100", "somebody else's model")
    assert one.best_mean.train_seeds == ()
    assert "One train seed" in one.sentence


def test_several_seeds() -> None:
    found = [*setting(0.8, "a", seeds=(0, 1, 2)), *setting(0.6, "b", seeds=(0, 1, 2))]
    (one,) = answers(found)
    assert one.best_mean.train_seeds == (0, 1, 2)
    assert one.sentence.endswith(" 3 train seeds.")
    by_seed = [np.mean([row.top1 for row in found if row.method == "a" and row.train_seed == s]) for s in range(3)]
    assert one.best_mean.mean == pytest.approx(np.mean(by_seed))
    (differ,) = answers([*found, *setting(0.7, "c")])
    assert "Train seeds differ" in differ.sentence


def test_order_free_shifts_have_an_answer_of_their_own() -> None:
    free = ("shuffled_lt-50-s1", "shuffled_lt-50-s2", "dirichlet-1-s3")
    more = (*free, "shuffled_lt-50-s4")
    found = [
        *setting(0.6),
        *setting(0.6, shifts=free, shift_ratio=50.0),
        *setting(0.7, "balpoe", shifts=more),
        *setting(0.8, "ride", shifts=free),
        *setting(0.9, "prl", shifts=free[:1]),
    ]
    first, second = answers(found)
    assert (first.shifts, names(first)) == (PUBLISHED, ["sade + mean"])
    assert (set(second.shifts), names(second)) == (set(free), ["ride + mean", "balpoe + mean", "sade + mean"])
    assert second.left_out == 1
    assert "over 3 shifts" in second.sentence


def test_older_versions_and_other_draws_do_not_count() -> None:
    old = [replace(row, row_id=f"old {row.row_id}") for row in setting(0.9)]
    new = setting(0.6, adapter_version=2)
    assert answers([*new, *old]) == answers(new)
    other = [replace(row, row_id=f"z{row.row_id}", indices_sha256="f" * 64) for row in setting(0.9, "ride")]
    (one,) = answers([*setting(0.6), *setting(0.5, "balpoe"), *other])
    assert names(one) == ["sade + mean", "balpoe + mean"]


def test_order_of_rows_and_names_do_not_matter() -> None:
    found = [*several(), *setting(0.7, "ride", seeds=(0, 1, 2)), *setting(0.65, "prl", seeds=(0, 1, 2))]
    expected = answers(found), situations(found)
    random.Random(0).shuffle(found)
    assert (answers(found), situations(found)) == expected

    names = {"sade": "z", "balpoe": "y", "ride": "x", "prl": "w"}
    renamed = answers([replace(row, method=names[row.method]) for row in found])
    for before, after in zip(expected[0], renamed, strict=True):
        assert [names[one.method] for one in before.contenders] == [one.method for one in after.contenders]
        for one, other in zip(before.contenders, after.contenders, strict=True):
            assert (other.by_shift, other.regret, other.best_group) == (one.by_shift, one.regret, one.best_group)
            assert [other.p_adjusted, other.mean_low] == pytest.approx([one.p_adjusted, one.mean_low], abs=1e-5)


def test_shared_images_are_found() -> None:
    """The same rows without the uniform draw's proof of the pool have a wider interval, never a narrower one."""
    found = setting(0.6)
    hidden = [replace(row, indices_sha256="0" * 64) if row.shift == "uniform" else row for row in found]
    (known,), (unknown,) = answers(found), answers(hidden)
    widths = [one.best_mean.mean_high - one.best_mean.mean_low for one in (known, unknown)]  # type: ignore[operator]
    assert widths[0] < widths[1]


def test_the_text_fits_a_terminal() -> None:
    text = render(several(), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "over the eleven published shifts" in text
    assert "* With no test data at hand" in text
    assert "-- Upper reference, told the true test prior (no choice in practice)" in text
    left_out = render([*several(), *setting(0.9, "ride")[1:]])
    assert "1 left out" in left_out
    assert render(setting(0.9)[1:]) == answer.NOTHING


def test_command(tmp_path: Path) -> None:
    rows.pack([*setting(0.8, "balpoe"), *setting(0.6)], tmp_path)
    done = command("--results", tmp_path, module="harness.answer")
    assert (done.status, done.err) == (0, "")
    assert "the choice is balpoe + mean" in " ".join(done.out.split())
    assert [path.name for path in tmp_path.iterdir()] == ["rows-embedded.parquet"]


@pytest.mark.parametrize("arguments", [["--results", "none"], ["--results", "."], ["--unknown"]])
def test_bad_input_is_one_line(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(*arguments, module="harness.answer")
    assert (done.status, done.out) == (2, "")
    assert one_line(done.err).startswith("error: ")


@pytest.mark.exhaustive
def test_the_reference_is_answered() -> None:
    reference = Path(__file__).parents[3] / "results" / "reference"
    stored = rows.load_all(reference)
    listed = leaderboard.build(stored)["means"]
    made = [one for one in situations(stored) if one.shifts == PUBLISHED]
    assert made
    for contender in (contender for one in made for contender in one.contenders):
        means = [
            (mean["top1"], mean["worst_top1"])
            for mean in listed
            if mean["prior_access"] != "oracle" and mean["label_access"] != "test"
            if all(mean[name] == getattr(contender, name) for name in ("method", "adapter", "recipe", "views"))
        ]
        assert any(pytest.approx(mean) == (contender.mean, contender.worst) for mean in means)
