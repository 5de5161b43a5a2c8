"""The writer of evidence files: what it is given is what is read, whatever form it has, and what it refuses."""

import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.evidence import files as evidence
from harness.evidence.check import OPTIONAL, REQUIRED
from harness.evidence.files import save_evidence
from shifts.common.errors import BadInput

Arrays = dict[str, Any]
OWN = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def content(seed: int = 0, images: int = 12, experts: int = 3, classes: int = 4) -> Arrays:
    """All that every model has, and source images."""
    rng = np.random.default_rng(seed)
    return {
        "logits": rng.normal(size=(images, experts, classes)).astype(np.float32),
        "labels": np.arange(images) % classes,
        "train_counts": rng.integers(1, 100, classes),
        "expert_priors": rng.dirichlet(np.ones(classes), experts),
        "source_logits": rng.normal(size=(classes, experts, classes)).astype(np.float32),
        "source_labels": np.arange(classes),
    }


def laid_out(array: np.ndarray, how: str) -> np.ndarray:
    """The same numbers, otherwise in memory."""
    axes = tuple(range(array.ndim))[::-1]
    made = {
        "as it is": lambda: array,
        "transposed": lambda: np.ascontiguousarray(array.transpose(axes)).transpose(axes),
        "Fortran": lambda: np.asfortranarray(array),
        "every other": lambda: np.repeat(array, 2, axis=0)[::2],
        "reversed": lambda: np.ascontiguousarray(array[::-1])[::-1],
        "broadcast": lambda: np.broadcast_to(array[:1], array.shape) if array.ndim > 1 else array,
        "other bytes": lambda: array.astype(array.dtype.newbyteorder("S")),
        "read only": lambda: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    }
    return made[how]()


LAYOUTS = ["as it is", "transposed", "Fortran", "every other", "reversed", "broadcast", "other bytes", "read only"]


@OWN
@given(
    layout=st.sampled_from(LAYOUTS),
    floating=st.sampled_from([np.float16, np.float32, np.float64]),
    whole=st.sampled_from([np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64]),
    experts=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_what_is_written_is_read(
    tmp_path: Path, layout: str, floating: type, whole: type, experts: int, seed: int
) -> None:
    given = content(seed, experts=experts)
    for name in given:
        wanted = (floating if name != "expert_priors" else np.float64) if given[name].dtype.kind == "f" else whole
        given[name] = laid_out(given[name].astype(wanted), layout)
    before = {name: array.copy() for name, array in given.items()}
    save_evidence(tmp_path / "mine.safetensors", **given, source_seen=2, class_names=["a", "b", "café", "d"])
    back = evidence.load(tmp_path / "mine.safetensors")
    source = back.evidence.source
    assert source is not None
    read = {
        "logits": back.evidence.logits,
        "labels": back.labels,
        "train_counts": back.train_counts,
        "expert_priors": back.expert_priors.values,
        "source_logits": source.logits,
        "source_labels": source.labels,
    }
    for name, array in given.items():
        np.testing.assert_array_equal(read[name], before[name], err_msg=name)
        np.testing.assert_array_equal(array, before[name], err_msg=f"{name} was changed")
    assert (source.seen, back.class_names) == (2, ("a", "b", "café", "d"))


@OWN
@given(
    kind=st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64]),
    how=st.sampled_from(["as it is", "transposed", "with a gradient", "every other"]),
)
def test_tensors_of_torch(tmp_path: Path, kind: torch.dtype, how: str) -> None:
    given = {name: torch.tensor(array) for name, array in content().items()}
    logits = given["logits"].to(kind)
    shown = {
        "as it is": lambda: logits,
        "transposed": lambda: logits.transpose(0, 2).contiguous().transpose(0, 2),
        "with a gradient": lambda: logits.clone().requires_grad_(),
        "every other": lambda: logits.repeat_interleave(2, 0)[::2],
    }[how]()
    save_evidence(str(tmp_path / "mine.safetensors"), **given | {"logits": shown})
    back = evidence.load(tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(back.evidence.logits, logits.float().numpy(), strict=True)


def test_lists_and_single_experts(tmp_path: Path) -> None:
    given = content(experts=1)
    squeezed = {name: array.squeeze(-2) if array.ndim > 1 else array for name, array in given.items()}
    save_evidence(tmp_path / "mine.safetensors", **{name: array.tolist() for name, array in squeezed.items()})
    back = evidence.load(tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(back.evidence.logits, given["logits"], strict=True)
    assert back.class_names == ("0", "1", "2", "3")
    assert not back.expert_priors.exact
    listed = [torch.tensor(image) for image in given["logits"]]
    save_evidence(tmp_path / "again.safetensors", **given | {"logits": listed}, target_prior_kind="exact")
    back = evidence.load(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(back.evidence.logits, given["logits"], strict=True)
    assert back.expert_priors.exact


def test_every_key_that_is_read_can_be_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    points = np.array([[1, 0, 0], [0, 0.5, 0.5]])
    more = {
        "views": rng.normal(size=(2, 2, 12, 3, 4)),
        "features": rng.normal(size=(12, 3, 5)),
        "view_features": rng.normal(size=(2, 2, 12, 3, 5)),
        "gate_logits": rng.normal(size=(12, 2)),
        "preferences": points,
        "heads": rng.normal(size=(2, 3, 5, 4)),
        "preference_priors": rng.dirichlet(np.ones(4), 2),
        "agreement": rng.random((12, 2)),
        "classifiers": rng.normal(size=(3, 5, 4)),
        "classifier_biases": rng.normal(size=(3, 4)),
        "ids": [f"night/{place}.jpg" for place in range(11)] + ["Ärger.png"],
    }
    given = content() | more
    assert set(given) == {*REQUIRED, *OPTIONAL}
    save_evidence(tmp_path / "mine.safetensors", **given, head_scale=16, classifier_scale=20)
    back = evidence.load(tmp_path / "mine.safetensors").evidence
    assert evidence.load_unlabelled(tmp_path / "mine.safetensors").ids == tuple(given["ids"])
    assert back.classifiers is not None
    assert back.classifiers.scale == 20
    np.testing.assert_array_equal(back.classifiers.weights, given["classifiers"].astype(np.float32))
    np.testing.assert_array_equal(back.classifiers.biases, given["classifier_biases"].astype(np.float32))
    for name in ("views", "features", "view_features", "gate_logits", "agreement"):
        np.testing.assert_array_equal(getattr(back, name), given[name].astype(np.float32), err_msg=name)
    assert back.head is not None
    assert back.head.scale == 16
    np.testing.assert_array_equal(back.head.points, points)
    np.testing.assert_array_equal(back.head.priors, given["preference_priors"])
    described = inspect.getdoc(save_evidence) or ""
    for name in inspect.signature(save_evidence).parameters:
        assert name == "path" or f"\n{name} " in described, f"{name} is not described"


def test_images_without_labels(tmp_path: Path) -> None:
    given = {name: array for name, array in content().items() if name != "labels"}
    file = tmp_path / "tonight.safetensors"
    save_evidence(file, **given)
    back = evidence.load_unlabelled(file)
    np.testing.assert_array_equal(back.evidence.logits, given["logits"], strict=True)
    np.testing.assert_array_equal(back.train_counts, given["train_counts"])
    assert (back.ids, back.class_names) == (None, ("0", "1", "2", "3"))
    with pytest.raises(BadInput, match=r"has no labels: `python -m harness.apply .*` adapts to its images"):
        evidence.load(file)
    save_evidence(file, **content())
    assert not hasattr(evidence.load_unlabelled(file), "labels")


def test_a_name_has_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ids have a line break, first at 1"):
        save_evidence(tmp_path / "mine.safetensors", **content(), ids=["a", "b\nc"] + ["d"] * 10)


SMALL = content()
REFUSED: dict[str, tuple[Arrays, list[str]]] = {
    "labels too high": ({"labels": SMALL["labels"] + 1}, ["labels must lie in 0..3"]),
    "float labels": ({"labels": SMALL["labels"] * 1.0}, ["labels is float64[12]", "integer"]),
    "labels of text": ({"labels": ["cat"] * 12}, ["labels is <U3[12]"]),
    "nan": ({"logits": np.full((12, 3, 4), np.nan)}, ["logits has NaN"]),
    "whole logits": ({"logits": np.zeros((12, 3, 4), int)}, ["logits is int64"]),
    "complex logits": ({"logits": np.zeros((12, 3, 4), complex)}, ["logits is complex128"]),
    "long logits": ({"logits": np.zeros((12, 3, 4), np.longdouble)}, [f"logits is {np.dtype(np.longdouble)}"]),
    "ragged": ({"logits": [[1.0, 2.0], [1.0]]}, ["logits is no array of numbers"]),
    "float8": ({"logits": torch.zeros(12, 3, 4).to(torch.float8_e4m3fn)}, ["logits is no array of numbers"]),
    "priors": ({"expert_priors": np.ones((3, 4))}, ["expert_priors: ", "sum to one"]),
    "half a source": ({"source_labels": None}, ["no 'source_labels'"]),
    "experts first": ({"logits": SMALL["logits"].transpose(1, 0, 2)}, ["labels is int64[12], not integer [3]"]),
    "names": ({"class_names": ["a"]}, ["class_names", "4 names"]),
    "kind": ({"target_prior_kind": "guess"}, ["exact or approximate"]),
    "seen": ({"source_seen": 5}, ["source_seen", "the 4 source images"]),
    "seen in part": ({"source_seen": 0.5}, ["source_seen", "'0.5'"]),
    "heads alone": ({"preferences": np.full((1, 3), 1 / 3)}, ["no 'heads'"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_as_on_reading(tmp_path: Path, case: str) -> None:
    changes, said = REFUSED[case]
    file = tmp_path / "mine.safetensors"
    with pytest.raises(BadInput) as caught:
        save_evidence(file, **SMALL | changes)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"evidence file {file}: ")
    for part in said:
        assert part in text
    assert not list(tmp_path.iterdir())


def test_an_older_file_stays_where_the_new_one_is_refused_or_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.safetensors"
    save_evidence(file, **SMALL)
    before = file.read_bytes()
    with pytest.raises(BadInput):
        save_evidence(file, **SMALL | {"labels": []})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_evidence(file, **SMALL | {"logits": SMALL["logits"] + 1})
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]
