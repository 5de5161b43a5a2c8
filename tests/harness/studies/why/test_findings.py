"""Answers of checkpoints and the findings made of them."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from harness.studies.why import answers, findings
from harness.studies.why.answers import Answers, Stored, predictors
from harness.studies.why.bias_variance import hardest_negative
from harness.studies.why.findings import MEASURES, Finding
from shifts.common.errors import WorkFailed

COUNTS = [200, 50, 30, 5]
LABELS = np.arange(40) % 4


def about(draw: int = 0, seed: int = 0, method: str = "ride") -> dict[str, object]:
    """What a file of answers knows of its checkpoint."""
    return {
        "dataset": "embedded",
        "test_fingerprint": "e" * 64,
        "train_profile": "exp",
        "train_imbalance": 40.0,
        "train_rule": "seeded-shuffle",
        "train_counts_sha256": "c" * 64,
        "train_counts": COUNTS,
        "train_subset_seed": draw,
        "recipe": "quick",
        "recipe_sha256": "r" * 64,
        "method": method,
        "method_version": 1,
        "train_seed": seed,
        "train_version": 1,
        "checkpoint_sha256": f"{method}{draw}{seed}",
        "indices_sha256": "1" * 64,
    }


def random_answers(draw: int = 0, seed: int = 0, experts: int = 3, method: str = "ride") -> Answers:
    """A model that knows its classes a little."""
    rng = np.random.default_rng([draw, seed, experts])
    logits = rng.normal(size=(40, experts, 4)) + 1.5 * np.eye(4)[LABELS][:, None]
    return answers.answer(logits.astype(np.float32), LABELS, about(draw, seed, method))


def value(found: list[Finding], **wanted: object) -> Finding:
    """The one finding with these fields."""
    same = [one for one in found if all(getattr(one, name) == wanted[name] for name in wanted)]
    assert len(same) == 1, wanted
    return same[0]


def test_predictors_of_one_and_of_several_experts() -> None:
    assert [one.name for one in predictors(1)] == ["mean"]
    assert [(one.name, one.used) for one in predictors(3)] == [
        ("mean", (0, 1, 2)),
        ("expert-1", (0,)),
        ("expert-2", (1,)),
        ("expert-3", (2,)),
        ("first-2", (0, 1)),
    ]


def test_an_answer_holds_the_prediction_of_every_predictor() -> None:
    logits = np.array([[[2.0, 0, 1], [0, 3, 1]], [[0, 0, 1], [4, 0, 0]]], dtype=np.float32)
    made = answers.answer(logits, np.array([1, 2]), about())
    assert made.predicted.tolist() == [[1, 0], [0, 2], [1, 0]]
    np.testing.assert_allclose(made.hardest[0], hardest_negative(logits.mean(axis=1), np.array([1, 2])), atol=1e-3)
    np.testing.assert_allclose(made.hardest[2], hardest_negative(logits[:, 1], np.array([1, 2])), atol=1e-3)


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(WorkFailed, match="ride seed 7"):
        answers.answer(np.full((2, 1, 3), np.nan, np.float32), np.array([0, 1]), about(seed=7))


def test_answers_survive_the_disk(tmp_path: Path) -> None:
    made = random_answers()
    where = answers.folder(tmp_path) / "one.safetensors"
    answers.save(where, made)
    assert answers.stored(where) == Stored(answers.key("ride00", "e" * 64, "1" * 64), "ride00", "r" * 64)
    (read,) = answers.load_all(tmp_path)
    np.testing.assert_array_equal(read.predicted, made.predicted)
    np.testing.assert_array_equal(read.hardest, made.hardest)
    np.testing.assert_array_equal(read.labels, made.labels)
    assert (read.experts, read.about) == (made.experts, made.about)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    where = answers.folder(tmp_path) / "one.safetensors"
    answers.save(where, random_answers())
    where.write_bytes(where.read_bytes()[:100])
    assert answers.stored(where) is None
    with pytest.raises(WorkFailed, match=r"one\.safetensors"):
        list(answers.load_all(tmp_path))


def test_answers_of_another_version_are_not_mixed_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.save(answers.folder(tmp_path) / "new.safetensors", random_answers(0))
    monkeypatch.setattr(answers, "ANSWERS_VERSION", 0)
    answers.save(answers.folder(tmp_path) / "old.safetensors", random_answers(1))
    monkeypatch.undo()
    assert [one.about["train_subset_seed"] for one in answers.load_all(tmp_path)] == [0]


def test_findings_by_hand() -> None:
    """Two models, one right everywhere, the other only on class 0."""
    right, half = np.eye(4)[LABELS][:, None], np.eye(4)[np.zeros(40, int)][:, None]
    made = [
        answers.answer(np.float32(9 * right), LABELS, about(draw=0)),
        answers.answer(np.float32(9 * half), LABELS, about(draw=1)),
    ]
    found = findings.of_answers(made)
    assert len(found) == 4 * len(MEASURES)
    # Classes 1 to 3 are tied between right and wrong: half a bias each; class 0 is right.
    assert value(found, group="all", measure="error").value == pytest.approx(3 / 8)
    assert value(found, group="all", measure="bias").value == pytest.approx(3 / 8)
    assert value(found, group="all", measure="variance").value == pytest.approx(3 / 8)
    assert value(found, group="many", measure="variance").value == 0
    few = value(found, group="few", measure="bias")
    assert (few.value, few.classes, few.models, few.experts) == (0.5, 1, 2, 1)
    # Without draw 0 the wrong model is left, without draw 1 the right one.
    assert few.left_out == [1, 0]
    assert few.tied == 0.75
    for group, wrong in (("many", 0.0), ("medium", 1.0), ("few", 1.0)):
        hardest = value(found, group=group, measure="hardest_negative").value
        near, far = 1 / (np.exp(9) + 3), np.exp(9) / (np.exp(9) + 3)
        assert hardest == pytest.approx((near + (far if wrong else near)) / 2, rel=1e-3)


def test_findings_do_not_depend_on_the_order_of_files() -> None:
    made = [random_answers(draw, seed) for draw in range(3) for seed in range(2)]
    assert findings.of_answers(made) == findings.of_answers(made[::-1])


def test_an_ensemble_of_noisy_alike_experts_has_less_variance_than_one() -> None:
    found = findings.of_answers([random_answers(draw, seed) for draw in range(4) for seed in range(2)])
    joint = value(found, predictor="mean", group="all", measure="variance")
    alone = [value(found, predictor=f"expert-{k}", group="all", measure="variance") for k in (1, 2, 3)]
    change, interval = findings.difference([joint], alone)
    assert interval is not None
    assert interval[0] < change < interval[1] < 0
    assert change == pytest.approx(joint.value - np.mean([one.value for one in alone]))


def test_methods_and_settings_are_kept_apart() -> None:
    made = [random_answers(0), random_answers(1), random_answers(0, experts=1, method="softmax")]
    other = random_answers(2)
    made.append(replace(other, about=other.about | {"recipe": "published"}))
    found = findings.of_answers(made)
    models = {(one.method, one.recipe): one.models for one in found}
    assert models == {("ride", "quick"): 2, ("softmax", "quick"): 1, ("ride", "published"): 1}
    assert all(one.low is None and one.left_out == [] for one in found if one.models == 1)


def test_methods_are_compared_over_the_models_that_all_have() -> None:
    ride = [random_answers(draw, seed) for draw in range(3) for seed in range(2)]
    shike = [random_answers(draw, 0, method="shike") for draw in range(3)]
    lonely = [random_answers(0, 0, method="sade")]
    found = findings.of_answers([*ride, *shike, *lonely])
    sets = {(one.method, one.shared): (one.train_subset_seeds, one.train_seeds) for one in found}
    assert sets == {
        ("ride", False): ([0, 0, 1, 1, 2, 2], [0, 1] * 3),
        ("ride", True): ([0, 1, 2], [0, 0, 0]),
        ("shike", True): ([0, 1, 2], [0, 0, 0]),
        ("sade", False): ([0], [0]),
    }
    shared = [one for one in found if one.method == "ride" and one.shared]
    alone = findings.of_answers(ride[::2])
    assert [one.value for one in shared] == [one.value for one in alone]


def test_a_method_that_is_hardly_begun_shrinks_no_other() -> None:
    ride = [random_answers(draw) for draw in range(6)]
    shike = [random_answers(draw, method="shike") for draw in range(5)]
    begun = [random_answers(draw, method="sade") for draw in range(4)]
    found = findings.of_answers([*ride, *shike, *begun])
    models = {(one.method, one.shared): one.models for one in found}
    assert models == {("ride", False): 6, ("ride", True): 5, ("shike", True): 5, ("sade", False): 4}


def test_other_draws_are_not_paired() -> None:
    first = findings.of_answers([random_answers(0), random_answers(1), random_answers(2)])
    second = findings.of_answers([random_answers(0), random_answers(1), random_answers(3)])
    wanted = {"predictor": "mean", "group": "all", "measure": "bias"}
    same, other = value(first, **wanted), value(second, **wanted)
    assert findings.difference([same], [same]) == (0, (0, 0))
    assert findings.difference([same], [other])[1] is None
    with pytest.raises(ValueError, match="both sides"):
        findings.difference([], [same])


def test_findings_survive_the_disk(tmp_path: Path) -> None:
    assert findings.load(tmp_path) == []
    found = findings.of_answers([random_answers(draw) for draw in range(2)] + [random_answers(0, method="shike")])
    findings.store(findings.path(tmp_path), found)
    assert findings.load(tmp_path) == found
    before = findings.path(tmp_path).read_bytes()
    findings.store(findings.path(tmp_path), found)
    assert findings.path(tmp_path).read_bytes() == before


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = findings.path(tmp_path)
    where.parent.mkdir()
    where.write_text("no parquet")
    with pytest.raises(WorkFailed, match="bias-variance"):
        findings.load(tmp_path)
    pq.write_table(pa.table({"a": [1]}), where)
    with pytest.raises(WorkFailed, match="bias-variance"):
        findings.load(tmp_path)
    newer = [replace(one, schema_version=99) for one in findings.of_answers([random_answers()])]
    findings.store(where, newer)
    with pytest.raises(WorkFailed, match="newer"):
        findings.load(tmp_path)


def test_every_column_has_a_type_of_its_own(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    findings.store(findings.path(tmp_path), findings.of_answers([random_answers()]))
    kinds = dict(zip(*(lambda s: (s.names, map(str, s.types)))(pq.read_schema(findings.path(tmp_path))), strict=True))
    assert set(kinds) == {field.name for field in fields(Finding)}
    assert kinds["low"] == kinds["value"] == "double"
    assert "list" in kinds["left_out"]
