"""Evidence files: a stranger's model through the real command, our own files, round trips, and what is refused."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from harness.board import build as leaderboard
from harness.board.schema import validate
from harness.evidence import files as evidence
from harness.evidence import tensors
from harness.evidence.arrays import EVIDENCE_VERSION
from harness.records import rows
from shifts.common.errors import BadInput
from tests.harness.fake import fake_row
from tests.harness.small import ADAPTERS, call, environment, one_line, random_pool, visible

Arrays = dict[str, np.ndarray]


def arrays(images: int = 600, experts: int = 3, classes: int = 10, pairs: int = 2, seed: int = 0) -> Arrays:
    """Random logits with a little knowledge of the labels, in a stranger's form."""
    pool = random_pool(seed, images, experts, classes, pairs)
    made = {
        "logits": pool.evidence.logits,
        "labels": pool.labels,
        "train_counts": np.roll(pool.train_counts, 3),
        "expert_priors": pool.expert_priors.values,
    }
    return made if pool.evidence.views is None else made | {"views": pool.evidence.views}


def write(path: Path, content: Arrays, **metadata: str) -> Path:
    try:
        save_file(content, path, metadata or None)
    except SafetensorError as error:
        if "is not covered" not in str(error):
            raise
        pytest.skip(f"this safetensors cannot write what is to be refused: {error}")
    return path


def run(file: Path, results: Path, *arguments: str) -> Any:
    return call("--evidence", file, "--redraws", "1", "--results", results, *arguments)


def test_a_strangers_model(tmp_path: Path) -> None:
    file = write(tmp_path / "theirs.safetensors", arrays(), target_prior_kind="exact")
    result = run(file, tmp_path / "results", "--shift", "backward_lt", "uniform", "--adapters", *ADAPTERS)
    assert result.status == 0, result.err
    found = rows.load_all(tmp_path / "results")
    assert {(row.adapter, row.shift) for row in found} == {
        (adapter, shift) for adapter in ADAPTERS for shift in ("backward_lt-50", "uniform")
    }
    for row in found:
        assert (row.method, row.dataset) == ("theirs", "evidence:theirs.safetensors")
        assert row.train_seed is None
        assert row.target_prior_kind == "exact"
        assert (row.views == 2) == (row.adapter == "sade")
        assert row.n == (600 if row.shift == "uniform" else sum(row.per_class_total))
    assert {"theirs", *ADAPTERS} <= set(result.out.split())
    validate(leaderboard.read(tmp_path / "results"))
    (uniform,) = [row for row in found if (row.adapter, row.shift) == ("mean", "uniform")]
    content = load_file(file)
    assert uniform.top1 == np.mean(content["logits"].mean(1).argmax(1) == content["labels"])
    # Head of the training set, tail of the backward test set: classes rank by train counts.
    (backward,) = [row for row in found if (row.adapter, row.shift) == ("mean", "backward_lt-50")]
    order = np.argsort(-content["train_counts"], kind="stable")
    assert (np.diff(np.array(backward.per_class_total)[order]) >= 0).all()
    before = [(path, path.stat().st_mtime_ns) for path in visible(rows.folder(tmp_path / "results"))]
    assert run(file, tmp_path / "results", "--shift", "backward_lt", "uniform", "--adapters", *ADAPTERS).status == 0
    assert [(path, path.stat().st_mtime_ns) for path in visible(rows.folder(tmp_path / "results"))] == before


def test_without_views_sade_is_skipped(tmp_path: Path) -> None:
    file = write(tmp_path / "theirs.safetensors", arrays(pairs=0))
    silent = run(file, tmp_path / "silent", "--shift", "uniform")
    assert silent.status == 0, silent.err
    assert "note:" not in silent.out
    assert "sade" not in {row.adapter for row in rows.load_all(tmp_path / "silent")}
    asked = run(file, tmp_path / "asked", "--shift", "uniform", "--adapters", "mean", "sade")
    assert asked.status == 0, asked.err
    assert "note: sade does not apply to theirs: the evidence has no views" in asked.out
    assert {row.adapter for row in rows.load_all(tmp_path / "asked")} == {"mean"}


def test_one_expert_is_enough(tmp_path: Path) -> None:
    file = write(tmp_path / "single.safetensors", arrays(experts=1))
    result = run(file, tmp_path / "results", "--shift", "forward_lt-10")
    assert result.status == 0, result.err
    found = {row.adapter for row in rows.load_all(tmp_path / "results")}
    assert {"mean", "em", "oracle_prior"} <= found
    assert not {"sade", "best_expert"} & found


def test_another_file_of_the_same_name_is_another_model(tmp_path: Path) -> None:
    file = write(tmp_path / "theirs.safetensors", arrays(seed=0))
    assert run(file, tmp_path / "results", "--shift", "uniform", "--adapters", "mean").status == 0
    write(file, arrays(seed=1))
    assert run(file, tmp_path / "results", "--shift", "uniform", "--adapters", "mean").status == 0
    found = rows.load_all(tmp_path / "results")
    assert len({row.checkpoint_sha256 for row in found}) == len(found) == 2
    entries = leaderboard.read(tmp_path / "results")["entries"]
    assert sorted(entry["top1"]["mean"] for entry in entries) == pytest.approx(sorted(row.top1 for row in found))
    assert [entry["train_seeds"] for entry in entries] == [[None], [None]], "two models, not two seeds of one"


@pytest.mark.parametrize("method", ["softmax", "sade"])
def test_our_own_evidence_as_a_strangers(small_results: Path, tmp_path: Path, method: str) -> None:
    (file,) = (small_results / "evidence").glob(f"[!.]*-{method}-*.safetensors")
    result = run(file, tmp_path / "results", "--shift", "backward_lt", "--adapters", *ADAPTERS)
    assert result.status == 0, result.err
    ours = {row.adapter: row for row in rows.load_all(small_results) if row.method == method}
    theirs = {row.adapter: row for row in rows.load_all(tmp_path / "results")}
    assert set(ours) == set(theirs)
    for adapter, row in theirs.items():
        for field in ("top1", "correct_bits", "indices_sha256", "weights", "tv_train_test", "redraws", "nll"):
            assert getattr(row, field) == getattr(ours[adapter], field), (adapter, field)


def test_round_trip(tmp_path: Path) -> None:
    pool = random_pool()
    evidence.save(tmp_path / "saved.safetensors", pool)
    back = evidence.load(tmp_path / "saved.safetensors")
    np.testing.assert_array_equal(back.evidence.logits, pool.evidence.logits)
    np.testing.assert_array_equal(back.evidence.views, pool.evidence.views)
    np.testing.assert_array_equal(back.labels, pool.labels)
    np.testing.assert_array_equal(back.train_counts, pool.train_counts)
    np.testing.assert_array_equal(back.expert_priors.values, pool.expert_priors.values)
    assert (back.class_names, back.expert_priors.exact) == (pool.class_names, True)


def test_defaults_of_what_a_stranger_leaves_out(tmp_path: Path) -> None:
    pool = evidence.load(write(tmp_path / "bare.safetensors", arrays(pairs=0)))
    assert pool.class_names == tuple(map(str, range(10)))
    assert not pool.expert_priors.exact
    assert pool.evidence.views is None
    assert pool.evidence.source is None


def without(name: str) -> Arrays:
    return {key: value for key, value in arrays().items() if key != name}


def with_nan(name: str) -> Arrays:
    content = arrays()
    content[name].reshape(-1)[7] = np.nan
    return content


GOOD = arrays(images=40, classes=4)
SOURCE = {"source_logits": GOOD["logits"][:9], "source_labels": GOOD["labels"][:9]}
REFUSED: dict[str, tuple[Arrays, dict[str, str], list[str]]] = {
    "no logits": (without("logits"), {}, ["no 'logits'", "it has: expert_priors, labels, train_counts, views"]),
    "no labels": (without("labels"), {}, ["has no labels", "harness.apply", "adapts to its images"]),
    "no counts": (without("train_counts"), {}, ["no 'train_counts'"]),
    "no priors": (without("expert_priors"), {}, ["no 'expert_priors'"]),
    "unknown key": (GOOD | {"logit": GOOD["logits"]}, {}, ["unknown key 'logit'", "logits, train_counts"]),
    "one dimension": (GOOD | {"logits": GOOD["logits"][:, 0, 0].copy()}, {}, ["logits is float32[40]", "[?, ?, ?]"]),
    "one expert, three priors": (
        GOOD | {"logits": GOOD["logits"][:, 0].copy()},
        {},
        ["expert_priors is float64[3, 4]", "[1, 4]"],
    ),
    "no images": (GOOD | {"logits": GOOD["logits"][:0]}, {}, ["logits is float32[0, 3, 4]"]),
    "whole logits": (GOOD | {"logits": GOOD["logits"].astype(np.int32)}, {}, ["logits is int32", "floating point"]),
    "fewer labels": (GOOD | {"labels": GOOD["labels"][:-1]}, {}, ["labels is int64[39]", "integer [40]"]),
    "yes and no": (GOOD | {"labels": GOOD["labels"] > 0}, {}, ["labels is bool[40]", "integer [40]"]),
    "complex logits": (GOOD | {"logits": GOOD["logits"] + 0j}, {}, ["logits is complex64[40, 3, 4]", "floating point"]),
    "float labels": (GOOD | {"labels": GOOD["labels"] * 1.0}, {}, ["labels is float64[40]"]),
    "labels too high": (GOOD | {"labels": GOOD["labels"] + 1}, {}, ["labels must lie in 0..3", "1..4"]),
    "labels below 0": (GOOD | {"labels": GOOD["labels"] - 1}, {}, ["labels must lie in 0..3", "-1..2"]),
    "class without image": (GOOD | {"labels": GOOD["labels"] // 2}, {}, ["no image of class 2 of 0..3"]),
    "too many counts": (GOOD | {"train_counts": np.arange(1, 6)}, {}, ["train_counts must be 4 integers >= 1"]),
    "more than a count": (
        GOOD | {"train_counts": np.full(4, 2**64 - 1, np.uint64)},
        {},
        ["train_counts must be 4 integers >= 1"],
    ),
    "an empty class": (GOOD | {"train_counts": np.arange(4)}, {}, ["train_counts must be 4 integers >= 1"]),
    "priors of others": (GOOD | {"expert_priors": np.full((2, 4), 0.25)}, {}, ["expert_priors", "[3, 4]"]),
    "priors not priors": (GOOD | {"expert_priors": np.ones((3, 4))}, {}, ["expert_priors: ", "sum to one"]),
    "negative priors": (GOOD | {"expert_priors": np.tile([2.0, -1, 0, 0], (3, 1))}, {}, ["non-negative"]),
    "views of others": (GOOD | {"views": GOOD["views"][:, :, :-1]}, {}, ["views", "[?, 2, 40, 3, 4]"]),
    "single views": (GOOD | {"views": GOOD["views"][:, :1]}, {}, ["views", "[?, 2, 40, 3, 4]"]),
    "gates": (GOOD | {"gate_logits": np.zeros((40, 3))}, {}, ["gate_logits", "[40, 2]"]),
    "classifiers": (GOOD | {"classifiers": np.zeros((2, 5, 4))}, {}, ["classifiers", "[3, ?, 4]"]),
    "classifiers of other features": (
        GOOD | {"classifiers": np.zeros((3, 5, 4)), "features": np.zeros((40, 3, 6))},
        {},
        ["features", "[40, 3, 5]"],
    ),
    "biases alone": (GOOD | {"classifier_biases": np.zeros((3, 4))}, {}, ["no 'classifiers'"]),
    "scale in words": (
        GOOD | {"classifiers": np.zeros((3, 5, 4))},
        {"classifier_scale": "large"},
        ["classifier_scale", "'large'"],
    ),
    "scale below zero": (
        GOOD | {"classifiers": np.zeros((3, 5, 4))},
        {"classifier_scale": "-1"},
        ["scale of cosine classifiers must be positive"],
    ),
    "too few names": (GOOD | {"ids": np.frombuffer(b"a\nb", np.uint8)}, {}, ["ids must be uint8", "40 lines"]),
    "names of another kind": (GOOD | {"ids": np.zeros(40, np.int64)}, {}, ["ids must be uint8"]),
    "names not in UTF-8": (GOOD | {"ids": np.frombuffer(b"\xff" + b"\n" * 39, np.uint8)}, {}, ["ids must be uint8"]),
    "features": (GOOD | {"features": np.zeros((40, 2, 5))}, {}, ["features", "[40, 3, ?]"]),
    "view features": (GOOD | {"view_features": np.zeros((1, 2, 40, 2, 5))}, {}, ["view_features", "[?, 2, 40, 3, ?]"]),
    "half a source": (GOOD | {"source_logits": SOURCE["source_logits"]}, {}, ["no 'source_labels'"]),
    "other half": (GOOD | {"source_labels": SOURCE["source_labels"]}, {}, ["no 'source_logits'"]),
    "source labels": (GOOD | SOURCE | {"source_labels": GOOD["labels"][:8]}, {}, ["source_labels", "integer [9]"]),
    "source seen": (GOOD | SOURCE, {"source_seen": "some"}, ["source_seen", "'some'"]),
    "more seen than there are": (GOOD | SOURCE, {"source_seen": "10"}, ["source_seen", "the 9 source images", "'10'"]),
    "seen in superscript": (GOOD | SOURCE, {"source_seen": "²"}, ["source_seen", "'²'"]),
    "nan": (with_nan("logits"), {}, ["logits has NaN or infinite values, first at [0, 0, 7]"]),
    "nan in views": (with_nan("views"), {}, ["views has NaN or infinite values"]),
    "too large": (
        GOOD | {"logits": np.full((40, 3, 4), 1e300)},
        {},
        ["logits has values beyond 1e+36"],
    ),
    "nearly too large": (GOOD | {"logits": np.full((40, 3, 4), 3e38)}, {}, ["logits has values beyond 1e+36"]),
    "features nearly too low": (GOOD | {"features": np.full((40, 3, 5), -3e38)}, {}, ["features has values beyond"]),
    "one output": (
        GOOD | {"logits": np.zeros((40, 3, 1)), "labels": np.zeros(40, int)},
        {},
        ["needs at least two classes: logits have one column"],
    ),
    "masked by infinity": (
        GOOD | {"logits": np.where(np.arange(4) == 2, -np.inf, GOOD["logits"])},
        {},
        ["logits has NaN or infinite values, first at [0, 0, 2]", "masked", "such as -1e9"],
    ),
    "half a character": (GOOD, {"class_names": '["a", "b", "\\ud800", "c"]'}, ["class_names hold half a character"]),
    "class names": (GOOD, {"class_names": json.dumps(["a"])}, ["class_names", "4 names"]),
    "class names not JSON": (GOOD, {"class_names": "a,b,c,d"}, ["class_names", "4 names"]),
    "prior kind": (GOOD, {"target_prior_kind": "excat"}, ["exact or approximate", "'excat'"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    content, metadata, said = REFUSED[case]
    file = write(tmp_path / "bad.safetensors", content, **metadata)
    result = run(file, tmp_path / "results")
    line = one_line(result.err)
    assert result.status == 2, line
    assert line.startswith(f"error: evidence file {file}")
    for part in said:
        assert part in line
    assert not (tmp_path / "results").exists()


def test_what_is_no_evidence_file(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.safetensors", GOOD)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(whole.read_bytes()[:-50])
    text = tmp_path / "text.safetensors"
    text.write_text("logits")
    empty = tmp_path / "empty.safetensors"
    empty.touch()
    for file, said in [
        (torn, "truncated or not a safetensors file"),
        (text, "truncated or not a safetensors file"),
        (empty, "truncated or not a safetensors file"),
        (tmp_path / "none.safetensors", "does not exist"),
        (tmp_path, "is no file"),
    ]:
        result = run(file, tmp_path / "results")
        assert result.status == 2
        assert said in one_line(result.err)
        assert str(file) in result.err
        assert not (tmp_path / "results").exists()
    with pytest.raises(BadInput):
        evidence.load(torn)
    assert tensors.metadata(torn) is None
    assert tensors.metadata(whole) == {}


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_types_that_numpy_lacks_are_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "tiny.safetensors"
    content = {name: torch.tensor(array) for name, array in GOOD.items()}
    save_torch(content | {"logits": content["logits"].to(getattr(torch, kind))}, file)
    result = run(file, tmp_path / "results")
    assert result.status == 2
    line = one_line(result.err)
    assert f"{file}: logits is F8_" in line
    assert "bfloat16" in line
    assert "truncated" not in line


def test_a_file_that_cannot_be_read_is_not_called_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's answer is feigned: root may read anything."""
    file = write(tmp_path / "mine.safetensors", GOOD)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(tensors.Path, "open", refuse)
    with pytest.raises(BadInput, match=r"mine\.safetensors cannot be read: Permission denied$"):
        evidence.load(file)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    """Numbers are those that the halves stand for, and labels may have any width."""
    content = {name: torch.tensor(array) for name, array in GOOD.items()}
    halves = {name: content[name].bfloat16() for name in ("logits", "views")}
    narrow = {"labels": content["labels"].to(torch.uint8), "train_counts": content["train_counts"].to(torch.int32)}
    save_torch(content | halves | narrow, tmp_path / "bf16.safetensors")
    back = evidence.load(tmp_path / "bf16.safetensors")
    np.testing.assert_array_equal(back.evidence.logits, halves["logits"].float().numpy(), strict=True)
    assert back.evidence.views is not None
    np.testing.assert_array_equal(back.evidence.views, halves["views"].float().numpy(), strict=True)
    np.testing.assert_array_equal(back.labels, GOOD["labels"], strict=True)
    np.testing.assert_array_equal(back.train_counts, GOOD["train_counts"], strict=True)
    small = {"logits": GOOD["logits"].astype(np.float16)}
    write(tmp_path / "f16.safetensors", GOOD | small | {"labels": GOOD["labels"].astype(np.uint64)})
    back = evidence.load(tmp_path / "f16.safetensors")
    np.testing.assert_array_equal(back.evidence.logits, small["logits"].astype(np.float32), strict=True)
    np.testing.assert_array_equal(back.labels, GOOD["labels"], strict=True)


def test_reading_needs_no_torch() -> None:
    code = "import sys, harness.evidence; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0


def test_logits_without_experts_are_those_of_one(tmp_path: Path) -> None:
    whole = arrays(images=40, classes=4, experts=1) | {"source_logits": GOOD["logits"][:9, :1].copy()}
    whole["source_labels"] = GOOD["labels"][:9]
    whole["features"] = np.ones((40, 1, 5), np.float32)
    squeezed = {name: array.squeeze(-2) if array.ndim > 1 else array for name, array in whole.items()}
    assert squeezed["logits"].shape == (40, 4)
    assert squeezed["expert_priors"].shape == (4,)
    assert squeezed["views"].shape == (2, 2, 40, 4)
    pools = [evidence.load(write(tmp_path / "m.safetensors", content)) for content in (whole, squeezed)]
    for name in ("logits", "views", "features"):
        np.testing.assert_array_equal(*(getattr(pool.evidence, name) for pool in pools), strict=True)
    np.testing.assert_array_equal(*(pool.expert_priors.values for pool in pools), strict=True)
    assert pools[1].evidence.source is not None
    assert pools[1].evidence.source.logits.shape == (9, 1, 4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_the_lowest_number_masks_a_class(kind: type[np.floating], tmp_path: Path) -> None:
    """As code does that fills a mask with the lowest float; nothing that adapters calculate overflows."""
    masked = np.where(np.arange(4) == 2, np.finfo(kind).min, GOOD["logits"].astype(kind))
    back = evidence.load(write(tmp_path / "m.safetensors", GOOD | {"logits": masked}))
    np.testing.assert_array_equal(back.evidence.logits[..., 2], np.float32(-65504 if kind is np.float16 else -1e36))
    np.testing.assert_array_equal(back.evidence.logits[..., [0, 1, 3]], masked[..., [0, 1, 3]].astype(np.float32))
    result = run(tmp_path / "m.safetensors", tmp_path / "results", "--shift", "uniform")
    assert result.status == 0, result.err
    assert {row.predicted[2] for row in rows.load_all(tmp_path / "results") if row.adapter == "mean"} == {0}


def test_ours_says_what_it_belongs_to(small_results: Path) -> None:
    files = list((small_results / "evidence").glob("[!.]*.safetensors"))
    assert len(files) == 2
    for file in files:
        with safe_open(file, framework="np") as stream:
            meta = stream.metadata()
        assert len(meta["key"]) == 64
        assert json.loads(meta["class_names"]) == ["0", "1", "2", "3"]
    assert fake_row().evidence_version == EVIDENCE_VERSION
