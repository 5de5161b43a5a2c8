"""What several tests share: a private cache of `datasets`, a small dataset, a tiny recipe and a finished run."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import tests.profiles  # noqa: F401  (registers them)
from tests.harness.small import ASKED, RECIPE, Driver, call, write_dataset

settings.load_profile("quick")
os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # models one after another, but where a test asks for workers


@pytest.fixture(scope="session", autouse=True)
def _private_datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Here and in the processes that tests start."""
    import datasets

    folder = tmp_path_factory.mktemp("datasets-cache")
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = folder
    os.environ["HF_DATASETS_CACHE"] = str(folder)
    yield
    datasets.config.HF_DATASETS_CACHE = before
    del os.environ["HF_DATASETS_CACHE"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of 60 train and 60 test images of 8 x 8 pixels, in Hub layout."""
    return write_dataset(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that trains in milliseconds on the small dataset, in seconds on the embedded one."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def asked(data: Path, recipe: Path) -> list[str]:
    """The small run's command line, without --results."""
    return ["--dataset", str(data), "--recipe", str(recipe), *ASKED]


@pytest.fixture(scope="session")
def small_results(asked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of an undisturbed small run; not to be changed (`copied` gives a copy)."""
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    result = call(*asked, "--results", results)
    assert result.status == 0, result.err
    return results


@pytest.fixture
def copied(small_results: Path, tmp_path: Path) -> Path:
    """A copy of the small run's results, to be tampered with."""
    return Path(shutil.copytree(small_results, tmp_path / "copied"))


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    """A process that runs the command in forked children with faults."""
    with Driver() as running:
        yield running


@pytest.fixture(scope="session")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence file that the example of an own model writes; not to be changed."""
    from tests import programs

    folder = tmp_path_factory.mktemp("own-model")
    programs.run(folder, "own_model.py", "own.safetensors")
    return folder / "own.safetensors"
