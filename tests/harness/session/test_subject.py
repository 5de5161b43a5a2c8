"""What a row's subject is: its identity, the recipe that made it, and which published figures belong to it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.passes import gather as passes
from harness.session import subject
from methods import papers
from methods.core import recipes
from methods.core.recipe import Recipe
from methods.core.recipes import PUBLISHED, QUICK
from methods.jobs.job import TrainingJob
from shifts import describe
from shifts.images import catalog
from shifts.images.catalog import Dataset
from shifts.sets.training import training_set


@pytest.fixture(scope="module")
def embedded() -> Dataset:
    return catalog.load("embedded")


def job_of(dataset: Dataset) -> TrainingJob:
    return TrainingJob(dataset, training_set(dataset), papers.get("sade"), QUICK, seed=0)


def test_rows_that_read_source_images_have_an_id_of_their_own_for_other_ones(embedded: Dataset, tmp_path: Path) -> None:
    assert describe.main(["--dataset", "embedded", "--export", str(tmp_path / "export")]) == 0
    whole, exported = (
        subject.of_job(job_of(dataset), 1) for dataset in (embedded, catalog.load(str(tmp_path / "export")))
    )
    assert exported.identity == whole.identity
    ids = {
        reads: [about.row_id({"adapter": "any"}, "uniform", "0", source=reads) for about in (whole, exported)]
        for reads in (False, True)
    }
    assert ids[False][0] == ids[False][1]
    assert len({*ids[False], *ids[True]}) == 3


def test_an_export_with_its_source_images_gives_the_same_rows(embedded: Dataset, tmp_path: Path) -> None:
    given = ["--dataset", "embedded", "--export", str(tmp_path / "export"), "--with-source"]
    assert describe.main(given) == 0
    jobs = [job_of(dataset) for dataset in (embedded, catalog.load(str(tmp_path / "export")))]
    assert jobs[0].key == jobs[1].key
    ids = {subject.of_job(job, 1).row_id({"adapter": "any"}, "uniform", "0", source=True) for job in jobs}
    assert len(ids) == 1
    assert len({passes.key(job, "f" * 64, 3) for job in jobs}) == 1, "and the same evidence"


def test_models_of_one_seed_whose_batches_were_taken_in_another_way_are_told_apart(embedded: Dataset) -> None:
    plain = job_of(embedded)
    settings = [
        subject.of_job(job, 1).fields["recipe_sha256"]
        for job in (plain, replace(plain, accumulate=2), replace(plain, sync_bn=True), replace(plain, graphs=True))
    ]
    assert len(set(settings)) == 3
    assert settings[3] == settings[0], "recorded steps are the same steps"


SHORT = recipes.get("published-x0.1-bf16", "cifar100")
OWN = replace(recipes.get("quick", "cifar100"), name="published")


@pytest.mark.parametrize(
    ("setting", "drawn", "figure"),
    [
        (PUBLISHED, {}, True),
        (SHORT, {}, True),
        (PUBLISHED, {"profile": "step"}, False),
        (PUBLISHED, {"rule": "first-n"}, False),
        (PUBLISHED, {"seed": 1}, False),
        (PUBLISHED, {"imbalance": 20.0}, False),
        (QUICK, {}, False),
        (OWN, {}, False),
    ],
    ids=["published", "shortened", "profile", "rule", "subset", "imbalance", "quick", "a file of that name"],
)
def test_a_published_figure_stands_beside_the_published_setting_only(
    embedded: Dataset, setting: Recipe, drawn: dict[str, Any], figure: bool
) -> None:
    dataset = replace(embedded, entry=replace(embedded.entry, name="cifar100"))
    training = training_set(dataset, **{"imbalance": 100.0, **drawn})
    about = subject.of_job(TrainingJob(dataset, training, papers.get("sade"), setting, seed=0), 1)
    assert (about.reported("mean", "uniform") is not None) == figure
