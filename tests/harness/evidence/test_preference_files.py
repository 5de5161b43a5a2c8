"""Preference in files: evidence of ours and of strangers, what is refused, and a run of the real command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.evidence import files as evidence
from harness.evidence.heads import lattice
from harness.records import rows
from methods.core.priors import target_prior
from shifts.common.errors import BadInput
from tests.harness.adapters.test_preference import pool_of, random_heads
from tests.harness.fake import fake_row
from tests.harness.small import call, one_line

Arrays = dict[str, np.ndarray]
OURS = ["mean", "preference", "preference_em", "em"]


def saved(folder: Path) -> tuple[Path, Arrays]:
    """A stranger's file with everything that a preference needs, and its arrays."""
    file = folder / "theirs.safetensors"
    evidence.save(file, pool_of(random_heads()))
    return file, load_file(file)


def test_round_trip(tmp_path: Path) -> None:
    file, arrays = saved(tmp_path)
    pool, back = pool_of(random_heads()), evidence.load(file)
    for part in ("features", "view_features", "logits", "views"):
        np.testing.assert_array_equal(getattr(back.evidence, part), getattr(pool.evidence, part))
    head, loaded = pool.evidence.head, back.evidence.head
    assert head is not None
    assert loaded is not None
    for part in ("points", "weights", "priors", "scale"):
        np.testing.assert_array_equal(getattr(loaded, part), getattr(head, part))
    assert back.evidence.agreement is None
    assert arrays["heads"].dtype == np.float32


def test_priors_of_preferences_follow_from_the_experts(tmp_path: Path) -> None:
    file, arrays = saved(tmp_path)
    del arrays["preference_priors"]
    save_file(arrays, file, {"head_scale": "16"})
    pool = evidence.load(file)
    head = pool.evidence.head
    assert head is not None
    assert head.scale == 16
    for point, prior in zip(lattice(3, 2), head.priors, strict=True):
        np.testing.assert_allclose(prior, target_prior(pool.expert_priors, point))


Change = Callable[[Arrays], object]
REFUSED: dict[str, tuple[Change, dict[str, str], list[str]]] = {
    "heads alone": (lambda a: a.pop("preferences"), {}, ["no 'preferences'"]),
    "preferences alone": (lambda a: a.pop("heads"), {}, ["no 'heads'"]),
    "heads of others": (lambda a: a.update(heads=a["heads"][:, :2]), {}, ["heads", "[?, 3, ?, 5]"]),
    "fewer heads": (lambda a: a.update(heads=a["heads"][:4]), {}, ["preferences", "[4, 3]"]),
    "other features": (lambda a: a.update(features=a["features"][..., :3]), {}, ["features", "[60, 3, 4]"]),
    "other views": (lambda a: a.update(view_features=a["view_features"][..., :3]), {}, ["view_features", "3, 4]"]),
    "off the simplex": (lambda a: a.update(preferences=a["preferences"] * 2), {}, ["preferences", "sum to one"]),
    "off the other": (lambda a: a.update(preference_priors=a["preference_priors"] - 1), {}, ["priors of preferences"]),
    "nan": (lambda a: a["heads"].fill(np.nan), {}, ["heads has NaN"]),
    "agreement": (lambda a: a.update(agreement=np.ones((60, 6))), {}, ["agreement", "[60, 7]"]),
    "no scale": (lambda a: None, {"head_scale": ""}, ["head_scale", "''"]),
    "no number": (lambda a: None, {"head_scale": "big"}, ["head_scale", "'big'"]),
    "negative scale": (lambda a: None, {"head_scale": "-1"}, ["positive and finite, not -1"]),
    "infinite scale": (lambda a: None, {"head_scale": "inf"}, ["positive and finite, not inf"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    change, metadata, said = REFUSED[case]
    file, arrays = saved(tmp_path)
    change(arrays)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(arrays, file, {"head_scale": "30"} | metadata)
    with pytest.raises(BadInput):
        evidence.load(file)
    result = call("--evidence", file, "--results", tmp_path / "results")
    line = one_line(result.err)
    assert result.status == 2
    assert line.startswith(f"error: evidence file {file}")
    for part in said:
        assert part in line


def test_the_real_command(data: Path, recipe: Path, tmp_path: Path) -> None:
    asked = ["--dataset", data, "--recipe", recipe, "--device", "cpu", "--train-imbalance", "10", "--views", "2"]
    asked += ["--redraws", "1", "--methods", "prl", "softmax", "--adapters", *OURS, "--shift", "backward_lt-5"]
    result = call(*asked, "--results", tmp_path / "ours")
    assert result.status == 0, result.err
    assert "note: preference does not apply to softmax" in result.out
    ours = {(row.method, row.adapter): row for row in rows.load_all(tmp_path / "ours")}
    assert {adapter for method, adapter in ours if method == "prl"} == set(OURS)
    for (method, adapter), row in ours.items():
        chosen = method == "prl" and adapter in ("preference", "preference_em")
        assert (row.preference is not None) == chosen
        assert row.views == (2 if adapter == "preference" else None)
        assert row.weights is None or not chosen
        if row.preference is not None:
            assert np.abs(lattice(3) - row.preference).max(1).min() == 0
            assert row.prior_estimate is not None
            assert row.tv_estimate_test is not None
    board = leaderboard.read(tmp_path / "ours")
    validate(board)
    for entry in board["entries"]:
        assert entry["preference"] == ours[entry["method"], entry["adapter"]].preference
    for file in (tmp_path / "ours" / "evidence").glob("[!.]*.safetensors"):
        parts = {"features", "view_features", "heads", "preferences", "preference_priors", "agreement"}
        assert parts & set(load_file(file)) == (parts if "-prl-" in file.name else set())

    # the file alone, as a stranger's, gives the same rows
    (file,) = (tmp_path / "ours" / "evidence").glob("[!.]*-prl-*.safetensors")
    again = ["--redraws", "1", "--shift", "backward_lt-5", "--adapters", *OURS, "--results", tmp_path / "theirs"]
    result = call("--evidence", file, *again)
    assert result.status == 0, result.err
    for row in rows.load_all(tmp_path / "theirs"):
        for field in ("top1", "correct_bits", "preference", "views", "nll", "redraws"):
            assert getattr(row, field) == getattr(ours["prl", row.adapter], field), (row.adapter, field)


def test_without_views_only_em_can_choose(data: Path, recipe: Path, tmp_path: Path) -> None:
    asked = ["--dataset", data, "--recipe", recipe, "--device", "cpu", "--train-imbalance", "10", "--views", "0"]
    asked += ["--redraws", "0", "--methods", "prl", "--adapters", *OURS, "--shift", "backward_lt-5"]
    result = call(*asked, "--results", tmp_path)
    assert result.status == 0, result.err
    assert "note: preference does not apply to prl: the evidence has no view_features" in result.out
    assert {row.adapter for row in rows.load_all(tmp_path)} == set(OURS) - {"preference"}


def test_preferences_are_averaged_over_seeds() -> None:
    group = [fake_row(preference=[0.0, 0.2, 0.8]), fake_row(preference=[0.4, 0.2, 0.4], train_seed=1)]
    (entry,) = leaderboard.build(group)["entries"]
    assert entry["preference"] == pytest.approx([0.2, 0.2, 0.6])
