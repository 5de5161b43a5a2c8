"""`--features`: what evidence holds besides where it is asked for, how large that is, and that nothing else changes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from harness.evidence import files as evidence
from harness.records import rows
from methods import papers
from methods.core.batch import NetworkSpec
from tests.harness.small import call, one_line, stamps

MOST = 5e6
"""Bytes of features and classifiers of a CIFAR model."""


def files(results: Path, method: str) -> tuple[Path, Path]:
    """The evidence of a model without features, and with."""
    found = sorted((results / "evidence").glob(f"*-{method}-*.safetensors"), key=lambda path: len(path.name))
    assert len(found) == 2
    return found[0], found[1]


def test_features_stand_beside_the_evidence_as_it_was(asked: list[str], copied: Path) -> None:
    before, ids = stamps(copied), {row.row_id for row in rows.load_all(copied)}
    shutil.rmtree(copied / "rows")
    done = call(*asked, "--features", "--results", copied)
    assert done.status == 0, done.err
    assert {row.row_id for row in rows.load_all(copied)} == ids
    for method in ("softmax", "sade"):
        bare, full = files(copied, method)
        assert full.stem == f"{bare.stem}-features"
        assert stamps(copied)[bare] == before[bare]
        stored, more = load_file(bare), load_file(full)
        assert more["features"].dtype == np.float16
        assert more.keys() - stored.keys() - {"classifier_biases"} == {"features", "classifiers"}
        for name, array in stored.items():
            np.testing.assert_array_equal(more[name], array, err_msg=name)
        found = evidence.load(full).evidence
        assert found.features is not None
        assert found.classifiers is not None
        made = found.classifiers.logits(found.features)
        np.testing.assert_allclose(made, found.logits, atol=0.02 * found.logits.std())
    kept = stamps(copied)
    assert call(*asked, "--features", "--results", copied).status == 0
    assert stamps(copied) == kept


def test_features_do_not_go_with_a_file(tmp_path: Path) -> None:
    done = call("--evidence", tmp_path / "m.safetensors", "--features")
    assert "--features is about our own models" in one_line(done.err)


@pytest.mark.parametrize("name", [name for name in papers.of_task("single_label") if name != "prl"])
def test_features_of_a_cifar_model_are_small(name: str) -> None:
    """Those of prl are part of its evidence anyway."""
    with torch.device("meta"):
        network = papers.get(name).network(NetworkSpec("resnet32", (9,) * 100, (32, 32)))
        _, experts, dim = network(torch.empty(2, 3, 32, 32)).features.shape
    assert 10_000 * experts * dim * 2 + experts * (dim + 1) * 100 * 4 <= MOST
