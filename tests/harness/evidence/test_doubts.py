"""What is odd in a stranger's evidence is said on stderr, by image; ordinary evidence and masked classes are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence import files as evidence
from harness.evidence.arrays import Evidence, PoolEvidence, Source
from harness.evidence.doubts import doubts, far_images
from harness.records import rows
from methods.core.priors import ExpertPriors
from tests.harness.small import call, one_line, random_pool


def with_logits(pool: PoolEvidence, key: str, logits: np.ndarray) -> PoolEvidence:
    """The pool with other logits of its images or of its source."""
    if key == "logits":
        return replace(pool, evidence=Evidence(logits, source=pool.evidence.source))
    assert pool.evidence.source is not None
    source = Source(logits, pool.evidence.source.labels, 0)
    return replace(pool, evidence=Evidence(pool.evidence.logits, source=source))


def parts(pool: PoolEvidence, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits (a copy) and labels of a pool's images or of its source."""
    source = pool.evidence.source
    assert source is not None
    return (pool.evidence.logits.copy(), pool.labels) if key == "logits" else (source.logits.copy(), source.labels)


@given(
    seed=st.integers(0, 99),
    classes=st.sampled_from([2, 3, 10, 300]),
    signal=st.sampled_from([0.0, 0.5, 3.0, 30.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    shift=st.sampled_from([0.0, -1e4, 1e4]),
    tails=st.booleans(),
)
def test_ordinary_evidence_is_not_odd(
    seed: int, classes: int, signal: float, scale: float, shift: float, tails: bool
) -> None:
    """Whatever the accuracy and the unit of logits; also where a few images are far more certain than most."""
    rng = np.random.default_rng(seed)
    labels = np.arange(600) % classes
    logits = rng.standard_t(5, (600, 2, classes)) if tails else rng.normal(size=(600, 2, classes))
    logits = scale * (logits + signal * np.eye(classes)[labels][:, None]) + shift
    assert not len(far_images(logits, labels)[0])


@pytest.mark.parametrize("key", ["logits", "source_logits"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("value", [-1e4, -1e9, -1e30])
def test_an_image_whose_own_class_is_absurdly_low(key: str, scale: float, value: float) -> None:
    pool = random_pool(images=200)
    logits, labels = parts(pool, key)
    assert doubts(with_logits(pool, key, logits * np.float32(scale))) == []
    logits[17, :, labels[17]] = value
    logits[31, 1, labels[31]] = value
    (text,) = doubts(with_logits(pool, key, logits * np.float32(scale)))
    assert text.startswith(f"{key}: in 2 of {len(labels)} images, first image 17, ")


@pytest.mark.parametrize("value", [1e4, 1e30])
def test_an_absurdly_high_logit_counts_against_another_class_only(value: float) -> None:
    pool = random_pool(images=200)
    logits, labels = parts(pool, "source_logits")
    logits[5, 0, labels[5]] = value
    assert doubts(with_logits(pool, "source_logits", logits)) == []
    logits[9, 0, (labels[9] + 1) % 5] = value
    (text,) = doubts(with_logits(pool, "source_logits", logits))
    assert "in 1 of 100 images, first image 9, " in text


@pytest.mark.parametrize("mask", [-1e4, -1e9, -1e30])
def test_masked_classes_are_not_odd_unless_they_are_an_images_own(mask: float) -> None:
    pool = random_pool(images=200)
    for key in ("logits", "source_logits"):
        logits, labels = parts(pool, key)
        others = (np.arange(len(labels)) % 2 == 0)[:, None] & (np.arange(5) % 2 == 0) & (np.eye(5)[labels] == 0)
        logits[np.broadcast_to(others[:, None], logits.shape)] = mask
        assert doubts(with_logits(pool, key, logits)) == []


def test_constant_logits_are_not_odd() -> None:
    labels = np.arange(12) % 3
    assert not len(far_images(np.zeros((12, 2, 3)), labels)[0])
    assert far_images(np.where(np.arange(12)[:, None, None] == 4, np.eye(3)[0], 0.0), labels)[0].tolist() == [4]


def test_a_prior_that_leaves_a_class_out() -> None:
    pool = random_pool(images=200)
    values = pool.expert_priors.values.copy()
    values[1, 2:4] = 0
    odd = replace(pool, expert_priors=ExpertPriors(values / values.sum(1, keepdims=True), exact=False))
    (text,) = doubts(odd)
    assert text.startswith("expert_priors: expert 1 gives class 2 no share")
    assert "(2 such zeros)" in text


@pytest.mark.parametrize("module", ["harness.run", "harness.estimate"])
def test_commands_say_it_once_on_stderr_and_go_on(tmp_path: Path, module: str) -> None:
    """One labelled image of a hundred is enough to move calibration, and the line names it."""
    pool = random_pool(images=200, signal=6)
    file, asked = tmp_path / "mine.safetensors", ["--shift", "uniform", "--results", tmp_path / "results"]
    asked += ["--redraws", "0"] if module == "harness.run" else ["--trials", "2", "--set-size", "20"]
    evidence.save(file, pool)
    good = call("--evidence", file, *asked, module=module)
    assert (good.status, good.err) == (0, "")
    logits, labels = parts(pool, "source_logits")
    logits[3, :, labels[3]] = -1e30
    evidence.save(file, with_logits(pool, "source_logits", logits))
    bad = call("--evidence", file, *asked, module=module)
    assert bad.status == 0, bad.err
    line = one_line(bad.err)
    assert line.startswith(f"note: {file}: source_logits: in 1 of 100 images, first image 3, ")
    assert line.endswith("calibration follows such images")
    if module == "harness.run":
        nll = [row.nll for row in rows.load_all(tmp_path / "results") if row.adapter == "calibrated"]
        assert max(nll) > min(nll) + 0.5, "a temperature of 100"
