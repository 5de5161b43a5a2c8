"""Evidence files as people have them, through the real command: the right numbers, or one line that says what is wrong.

The models are simulated: logits of a class are 3 higher where it is right, with noise of 1.2, and each expert's prior.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.evidence.files import save_evidence
from harness.records import rows
from harness.records.rows import Row
from tests.harness.small import call, one_line

Arrays = dict[str, np.ndarray]
LOGITS = ("logits", "source_logits", "views")


def base(
    per_class: tuple[int, ...] = (40, 40, 40), experts: int = 3, scale: float = 3.0, source: int = 20, seed: int = 0
) -> Arrays:
    """A forward, a uniform and a backward expert; as many classes as `per_class` has; views and source images."""
    rng, classes = np.random.default_rng(seed), len(per_class)

    def made(labels: np.ndarray) -> np.ndarray:
        return scale * np.eye(classes)[labels][:, None] + rng.normal(0, 1.2, (len(labels), experts, classes))

    labels, known = np.repeat(np.arange(classes), per_class), np.repeat(np.arange(classes), source)
    counts = np.array([500, 60, 8])[:classes]
    shares = counts / counts.sum()
    priors = np.stack([shares, np.full(classes, 1 / classes), shares[::-1]])[:experts]
    content = {
        "logits": (made(labels) + np.log(priors)).astype(np.float32),
        "labels": labels,
        "train_counts": counts,
        "expert_priors": priors,
        "source_logits": (made(known) + np.log(priors)).astype(np.float32),
        "source_labels": known,
    }
    moved = rng.normal(0, 0.3, (1, 2, *content["logits"].shape))
    return content | {"views": (content["logits"] + moved).astype(np.float32)}


def changed(content: Arrays, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Arrays:
    """With `change(logits, labels)` in place of all logits."""
    labels = {"logits": "labels", "views": "labels", "source_logits": "source_labels"}
    return content | {key: change(content[key].copy(), content[labels[key]]).astype(np.float32) for key in LOGITS}


def masking(value: float, which: Callable[[np.ndarray], np.ndarray]) -> Arrays:
    """Class 2 masked in the images that `which(labels)` tells."""

    def change(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        logits[..., which(labels), :, 2] = value
        return logits

    return changed(base(), change)


def any_image(labels: np.ndarray) -> np.ndarray:
    return np.arange(len(labels)) % 7 == 0


def of_others(labels: np.ndarray) -> np.ndarray:
    return (np.arange(len(labels)) % 3 == 0) & (labels != 2)


def without_class(key: int) -> Arrays:
    content = base()
    keep = content["source_labels"] != key
    return content | {name: content[name][keep] for name in ("source_logits", "source_labels")}


def write(path: Path, content: Arrays, **metadata: str) -> Path:
    save_file({name: np.ascontiguousarray(array) for name, array in content.items()}, path, metadata)
    return path


def run(file: Path, results: Path) -> Any:
    return call("--evidence", file, "--shift", "natural", "--redraws", "0", "--results", results)


def right(content: Arrays) -> float:
    """Accuracy of the mean of experts, as NumPy has it."""
    logits = content["logits"].astype(np.float64)
    return float((logits.mean(axis=-2).argmax(-1) == content["labels"]).mean())


def measured(file: Path, results: Path, said: int = 0) -> dict[str, Row]:
    """Rows by adapter; `said`: lines on stderr."""
    result = run(file, results)
    assert result.status == 0, result.err
    assert len(result.err.splitlines()) == said, result.err
    assert all(line.startswith("note: ") for line in result.err.splitlines())
    found = {row.adapter: row for row in rows.load_all(results)}
    validate(leaderboard.read(results))
    return found


ALL = {
    "mean",
    "calibrated",
    "sade",
    "em",
    "em_bcts",
    "map_em",
    "eb_em",
    "eb_em_recal",
    "bbse",
    "rlls",
    "choose",
    "choose_source",
    "oracle_prior",
}
ALL |= {"stream_sade", "stream_em", "stream_em_bcts", "stream_history", "best_expert"}
NO_SOURCE = {
    "calibrated",
    "em_bcts",
    "eb_em",
    "eb_em_recal",
    "bbse",
    "rlls",
    "choose_source",
    "stream_em_bcts",
    "stream_history",
}
ALL |= {"mapls", "roid_prior", "cm_ml", "cm_map", "elsa", "kdey_ml"}
ALL |= {"stream_flh_ftl", "stream_rogd", "stream_oracle", "stream_hindsight"}
NO_SOURCE |= {"cm_ml", "cm_map", "elsa", "kdey_ml", "stream_flh_ftl", "stream_rogd"}
SEVERAL = {"sade", "stream_sade", "best_expert"}

KINDS: dict[str, tuple[Arrays, set[str], float]] = {
    # what a file holds, the adapters that apply, the least accuracy of each of them
    "plain": (base(), ALL, 0.9),
    "float16": (base() | {"logits": base()["logits"].astype(np.float16)}, ALL, 0.9),
    "float64": (base() | {key: base()[key].astype(np.float64) for key in LOGITS}, ALL, 0.9),
    "labels of 8 bits": (
        base() | {"labels": base()["labels"].astype(np.uint8), "train_counts": base()["train_counts"].astype(np.int32)},
        ALL,
        0.9,
    ),
    "other classes masked": (masking(-1e9, of_others), ALL, 0.9),
    "other classes masked by the lowest number": (masking(np.finfo(np.float32).min, of_others), ALL, 0.9),
    "another unit": (changed(base(), lambda logits, _: logits * 1e4), ALL, 0.9),
    "up to a constant": (changed(base(), lambda logits, _: logits - 1e4), ALL, 0.9),
    "constant": (changed(base(), lambda logits, _: np.zeros_like(logits)), ALL, 1 / 3),
    "separable": (base(scale=60), ALL, 1.0),
    "knows nothing": (base(scale=0), ALL, 0.25),
    "a class without source images": (without_class(2), ALL - NO_SOURCE, 0.9),
    "one source image a class": (base(source=1), ALL, 0.85),
    "one image a class": (base((1, 1, 1)), ALL, 2 / 3),
    "two images": (base((1, 1)), ALL, 0.5),
    "a long tail": (base((480, 125, 5)), ALL, 0.9),
    "one expert": (base(experts=1), ALL - SEVERAL, 0.55),
}


@pytest.mark.parametrize("kind", KINDS)
def test_right_numbers(tmp_path: Path, kind: str) -> None:
    content, adapters, least = KINDS[kind]
    found = measured(write(tmp_path / "mine.safetensors", content), tmp_path / "results")
    assert set(found) == adapters
    assert found["mean"].top1 == pytest.approx(right(content), abs=1e-12)
    assert found["mean"].per_class_total == np.bincount(content["labels"]).tolist()
    assert min(row.top1 for row in found.values()) >= least - 1e-12, {name: row.top1 for name, row in found.items()}


def test_one_expert_is_corrected_by_its_prior(tmp_path: Path) -> None:
    """The model answers for 88, 11 and 1 %, so half of the tail is lost until the prior is corrected."""
    content = base(experts=1)
    corrected = content["logits"][:, 0] - np.log(content["expert_priors"][0])
    found = measured(write(tmp_path / "mine.safetensors", content), tmp_path / "results")
    assert found["oracle_prior"].top1 == float((corrected.argmax(1) == content["labels"]).mean())
    assert found["em"].top1 > found["mean"].top1 + 0.15


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_all_that_is_floating_in_half_precision(tmp_path: Path, kind: str) -> None:
    content = {name: torch.tensor(array) for name, array in base().items()}
    halves = {name: content[name].to(getattr(torch, kind)) for name in LOGITS}
    save_torch(content | halves, tmp_path / "mine.safetensors")
    as_read = base() | {"logits": halves["logits"].float().numpy()}
    found = measured(tmp_path / "mine.safetensors", tmp_path / "results")
    assert set(found) == ALL
    assert found["mean"].top1 == right(as_read)
    assert min(row.top1 for row in found.values()) >= 0.9
    save_torch(content | {"expert_priors": torch.tensor([[0.7, 0.2, 0.1]] * 3).bfloat16()}, tmp_path / "p.safetensors")
    refused = run(tmp_path / "p.safetensors", tmp_path / "none")
    assert refused.status == 2
    assert "expert_priors: each expert's prior must sum to one" in one_line(refused.err), "three rounded shares"


@pytest.mark.parametrize("how", ["transposed", "Fortran", "experts stacked"])
def test_the_writer_keeps_what_is_not_contiguous(tmp_path: Path, how: str) -> None:
    """Saved as it lies in memory, such an array gives 57 % and not a word."""
    content = base()
    logits = content["logits"]
    laid_out = {
        "transposed": np.stack([logits[:, e] for e in range(3)]).transpose(1, 0, 2),
        "Fortran": np.asfortranarray(logits),
        "experts stacked": torch.stack([torch.tensor(logits[:, e]) for e in range(3)]).permute(1, 0, 2),
    }[how]
    save_evidence(tmp_path / "mine.safetensors", **content | {"logits": laid_out})
    found = measured(tmp_path / "mine.safetensors", tmp_path / "results")
    assert found["mean"].top1 == right(content) > 0.9


def test_no_axis_of_experts(tmp_path: Path) -> None:
    content = base(experts=1)
    bare = {name: array.squeeze(-2) if array.ndim > 1 else array for name, array in content.items()}
    found = measured(write(tmp_path / "mine.safetensors", bare), tmp_path / "results")
    whole = measured(write(tmp_path / "whole.safetensors", content), tmp_path / "others")
    assert {name: row.top1 for name, row in found.items()} == {name: row.top1 for name, row in whole.items()}


NAMES = ["café", "日本", "a|b,c\n", "", " ", "😀"]


def test_class_names_of_any_kind(tmp_path: Path) -> None:
    for names in (NAMES[:3], NAMES[3:]):
        file = write(tmp_path / "mine.safetensors", base(), class_names=json.dumps(names))
        assert measured(file, tmp_path / f"results of {len(names[0])}")["mean"].top1 == right(base())
    assert call("--results", tmp_path / "results of 4", module="harness.report").status == 0
    custom = tmp_path / "weights.json"
    custom.write_text(json.dumps({"café": 1, "日本": 2, "a|b,c\n": 1}), encoding="utf-8")
    file = write(tmp_path / "mine.safetensors", base(), class_names=json.dumps(NAMES[:3]))
    asked = ["--shift", f"custom-{custom}", "--adapters", "mean", "--redraws", "0", "--results", tmp_path / "custom"]
    assert call("--evidence", file, *asked).status == 0
    (row,) = rows.load_all(tmp_path / "custom")
    assert row.per_class_total == [20, 40, 20]


@pytest.mark.parametrize("value", [-1e9, -1e30])
def test_images_whose_own_class_is_masked(tmp_path: Path, value: float) -> None:
    """Wrong for sure: one line each for the test pool and the source; what does not calibrate stays right."""
    content = masking(value, any_image)
    file = write(tmp_path / "mine.safetensors", content)
    found = measured(file, tmp_path / "results", said=2)
    lost = int((any_image(content["labels"]) & (content["labels"] == 2)).sum())
    assert lost == 6
    assert found["mean"].top1 == right(content)
    for name in ("mean", "em", "sade", "oracle_prior", "stream_em"):
        assert 0.9 < found[name].top1 <= 1 - lost / 120
    again = run(file, tmp_path / "results")
    assert "logits: in 6 of 120 images, first image 84, " in again.err
    assert "source_logits: in 3 of 60 images, first image 42, " in again.err


def test_a_class_that_is_never_predicted(tmp_path: Path) -> None:
    content = masking(-1e4, lambda labels: labels >= 0)
    found = measured(write(tmp_path / "mine.safetensors", content), tmp_path / "results", said=2)
    assert set(found) == ALL
    assert found["mean"].top1 == right(content) == pytest.approx(2 / 3, abs=0.01)
    assert found["mean"].predicted[2] == 0


def test_an_expert_of_some_classes_only(tmp_path: Path) -> None:
    """Its prior leaves a class out: said, as adapters that correct priors believe it."""
    priors = base()["expert_priors"].copy()
    priors[0] = [0.9, 0.1, 0]
    found = measured(write(tmp_path / "mine.safetensors", base() | {"expert_priors": priors}), tmp_path / "r", said=1)
    for name in ("mean", "calibrated", "sade"):
        assert found[name].top1 >= 0.9


def test_float32_priors_of_many_classes(tmp_path: Path) -> None:
    rng, classes = np.random.default_rng(0), 1000
    prior = rng.random(classes).astype(np.float32) ** 4
    labels = np.repeat(np.arange(classes), 2)
    content = {
        "logits": (rng.normal(size=(2 * classes, 1, classes)) + 4 * np.eye(classes)[labels][:, None]).astype(
            np.float32
        ),
        "labels": labels,
        "train_counts": np.full(classes, 5),
        "expert_priors": (prior / prior.sum())[None],
    }
    found = measured(write(tmp_path / "mine.safetensors", content), tmp_path / "results")
    assert found["mean"].top1 == right(content) > 0.5


BAD: dict[str, tuple[Arrays, list[str]]] = {
    "float labels": (base() | {"labels": base()["labels"].astype(np.float32)}, ["labels is float32[120]", "integer"]),
    "labels of truth": (base((20, 20)) | {"labels": base((20, 20))["labels"] == 1}, ["labels is bool[40]", "integer"]),
    "a column of labels": (
        base() | {"labels": base()["labels"][:, None]},
        ["labels is int64[120, 1]", "integer [120]"],
    ),
    "one-hot labels": (base() | {"labels": np.eye(3)[base()["labels"]]}, ["labels is float64[120, 3]"]),
    "priors as counts": (base() | {"expert_priors": base()["expert_priors"] * 568}, ["expert_priors: ", "sum to one"]),
    "infinity as a mask": (masking(-np.inf, of_others), ["logits has NaN or infinite", "[0, 0, 2]", "such as -1e9"]),
    "beyond what is calculated": (
        changed(base(), lambda logits, _: np.clip(logits * 3e37, -3e38, 3e38)),
        ["logits has values beyond 1e+36"],
    ),
    "experts first": (base() | {"logits": base()["logits"].transpose(1, 0, 2)}, ["labels is int64[120]", "[3]"]),
    "complex": (base() | {"logits": base()["logits"].astype(np.complex64)}, ["logits is complex64", "floating point"]),
    "whole": (base() | {"source_logits": base()["source_logits"].astype(np.int16)}, ["source_logits is int16"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_line(tmp_path: Path, kind: str) -> None:
    content, said = BAD[kind]
    file = write(tmp_path / "mine.safetensors", content)
    result = run(file, tmp_path / "results")
    line = one_line(result.err)
    assert (result.status, result.out) == (2, "")
    assert line.startswith(f"error: evidence file {file}: ")
    assert "truncated" not in line
    for part in said:
        assert part in line
    assert not (tmp_path / "results").exists()
