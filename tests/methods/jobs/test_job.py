"""A training job: its key follows everything that determines the weights, and it makes its checkpoint once."""

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from methods import papers
from methods.core import recipes
from methods.core.method import Method
from methods.core.recipe import Recipe
from methods.jobs import job
from methods.jobs.job import TrainingJob, on_device, pixels
from methods.jobs.request import TrainingRequest, chosen_device
from methods.networks import build
from methods.networks.macs import count_macs
from methods.papers.sade import Sade
from methods.train import main
from methods.training import checkpoint
from shifts.common.command import Parser
from shifts.common.errors import BadInput, WorkFailed
from shifts.common.requests import request_of
from shifts.images import catalog
from shifts.images.catalog import Dataset
from shifts.sets.arguments import add_data_arguments
from shifts.sets.training import training_set
from tests.methods import tiny

RECIPE = Recipe("tiny", backbone="resnet8", epochs=2, batch_size=16, warmup=1, milestones=(1, 2))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three classes of 30 and 5 random 8x8 images, in folders."""
    root, rng = tmp_path_factory.mktemp("data") / "pictures", np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 5)):
        for name in ("ant", "bee", "cat"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                picture.save(root / split / name / f"{number:02}.png")
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets-cache")
    try:
        return catalog.load(str(root))
    finally:
        datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture
def plain(dataset: Dataset) -> TrainingJob:
    return TrainingJob(dataset, training_set(dataset, 5.0), papers.get("sade"), RECIPE, seed=0)


def make(chosen: TrainingJob, results: Path, progress: job.Progress = lambda *state: None) -> dict[str, Any]:
    with chosen.lock(results):
        return chosen.make(results, torch.device("cpu"), progress)


# Of pre-trained weights the key follows the content, not the file's name.
KEYED = [field.name for field in fields(Recipe) if field.name not in ("name", "pretrained")]


@pytest.mark.parametrize("field", KEYED)
def test_the_key_follows_every_field_of_the_recipe(
    plain: TrainingJob, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE)
    object.__setattr__(recipe, field, "something else")  # whatever a field may hold, past its checks
    monkeypatch.setattr(TrainingJob, "_stages", [])  # whose making checks again
    changed = replace(plain, recipe=recipe)
    assert changed.key != plain.key
    assert changed.stem != plain.stem


def test_the_key_does_not_follow_the_recipes_name(plain: TrainingJob) -> None:
    renamed = replace(plain, recipe=replace(RECIPE, name="other"))
    assert renamed.key == plain.key
    assert "other" in renamed.stem


@dataclass(frozen=True)
class Revised(Sade):
    """SADE after a change of its result."""

    version = Sade.version + 1


@pytest.mark.parametrize("method", ["balpoe", "sade:tau=3", "sade:tau=2.0000001", Revised()], ids=str)
def test_the_key_follows_the_method_its_options_and_its_version(plain: TrainingJob, method: str | Method) -> None:
    changed = replace(plain, method=papers.get(method) if isinstance(method, str) else method)
    assert changed.key != plain.key


def test_options_given_in_another_way_are_the_same_job(plain: TrainingJob) -> None:
    assert replace(plain, method=papers.get("sade:tau=2.0")).key == plain.key
    one, other = (papers.get(text) for text in ("balpoe:mixup=0,tau=0/1", "balpoe:tau=0.0/1.0,mixup=0.0"))
    assert replace(plain, method=one).stem == replace(plain, method=other).stem


@pytest.mark.parametrize(
    "draw",
    [{"imbalance": 4.0}, {"seed": 1}, {"rule": "first-n"}, {"profile": "step"}, {"imbalance": "natural"}],
    ids=str,
)
def test_the_key_follows_the_training_draw(plain: TrainingJob, draw: dict[str, Any]) -> None:
    changed = replace(plain, training=training_set(plain.dataset, **{"imbalance": 5.0, **draw}))
    assert changed.key != plain.key


def test_the_key_follows_the_seed_and_the_loop_and_is_stable(
    plain: TrainingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert replace(plain, seed=1).key != plain.key
    assert replace(plain).key == plain.key
    assert re.fullmatch(r"[0-9a-f]{64}", plain.key)
    monkeypatch.setattr(job, "TRAIN_VERSION", 1_000_000)
    assert replace(plain).key != plain.key


def test_the_key_follows_the_normalisation_or_what_it_is_computed_from(plain: TrainingJob) -> None:
    half = (0.5, 0.5, 0.5)
    keys = {
        replace(plain, dataset=replace(plain.dataset, mean=mean, std=std)).key
        for mean, std in ((half, half), (half, (0.5, 0.5, 0.25)), ((0.5, 0.5, 0.25), half), (None, None))
    }
    assert len(keys) == 4
    assert plain.key in keys


def test_the_file_name_is_readable_and_safe(plain: TrainingJob) -> None:
    odd = replace(plain, method=papers.get("balpoe:tau=0/1,mixup=0.2"))
    assert odd.stem == f"pictures-balpoe_mixup_0.2_tau_0_1-tiny-s0-{odd.key[:12]}"
    assert odd.path(Path("results")) == Path("results/checkpoints") / f"{odd.stem}.safetensors"


def test_a_checkpoint_is_made_once_and_described(plain: TrainingJob, tmp_path: Path) -> None:
    epochs: list[int] = []
    made = make(plain, tmp_path, lambda stage, epoch, total, loss: epochs.append(epoch))
    assert epochs == [1, 2]
    network = plain.network(tmp_path, torch.device("cpu"))
    expected = {
        "key": plain.key,
        "method": "sade",
        "method_version": Sade.version,
        "dataset": "pictures",
        "classes": 3,
        "class_names": ["ant", "bee", "cat"],
        "train_counts": [30, 13, 6],
        "train_fingerprint": plain.training.fingerprint,
        "train_indices_sha256": plain.training.indices_sha256,
        "recipe": "tiny",
        "recipe_settings": RECIPE.settings() | {"milestones": (1, 2), "factors": (0.1, 0.01)},
        "seed": 0,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": count_macs(network, (8, 8)),
    }
    assert {key: made[key] for key in expected} == expected
    assert len(made["losses"]) == 2
    assert made["train_seconds"] > 0
    assert made["device"].startswith("cpu (")
    assert [path.suffix for path in sorted((tmp_path / "checkpoints").glob("[!.]*"))] == [".json", ".safetensors"]
    before = plain.path(tmp_path).stat().st_mtime_ns
    leftover = plain.path(tmp_path).with_suffix(".partial.safetensors")
    leftover.write_bytes(b"of a run killed just after the checkpoint was written")
    again = make(plain, tmp_path, lambda *state: pytest.fail("trained again"))
    assert again["sha256"] == made["sha256"]
    assert not leftover.exists()
    assert plain.path(tmp_path).stat().st_mtime_ns == before


def test_the_trained_network_is_read_back_in_evaluation_mode(plain: TrainingJob, tmp_path: Path) -> None:
    with pytest.raises(WorkFailed, match="no complete checkpoint"):
        plain.network(tmp_path, torch.device("cpu"))
    make(plain, tmp_path)
    network = plain.network(tmp_path, torch.device("cpu"))
    assert not network.training
    images = torch.randn(6, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(images).logits, plain.network(tmp_path, torch.device("cpu"))(images).logits)


def test_a_stopped_job_goes_on_and_ends_as_an_undisturbed_one(plain: TrainingJob, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(plain, tmp_path / "a", tiny.crash_after("experts", 1))
    partial = plain.path(tmp_path / "a").with_suffix(".partial.safetensors")
    assert partial.exists()
    assert checkpoint.describe(plain.path(tmp_path / "a")) is None
    epochs: list[int] = []
    stopped = make(plain, tmp_path / "a", lambda stage, epoch, total, loss: epochs.append(epoch))
    assert epochs == [2]
    assert not partial.exists()
    assert stopped["sha256"] == make(plain, tmp_path / "b")["sha256"]


def test_cost_is_six_operations_a_mac_an_image_and_epoch(plain: TrainingJob) -> None:
    macs = count_macs(plain.method.network(plain.spec), (8, 8))
    assert plain.cost() == 6 * macs * 49 * 2
    assert plain.training.n == 49


def test_cost_counts_the_teacher(plain: TrainingJob) -> None:
    """Trained in a stage of its own, run without gradient (a third of the cost) while the student learns."""
    distilled = replace(plain, method=papers.get("ride_distilled"))
    with_gates = count_macs(distilled.method.network(plain.spec), (8, 8))
    teacher = count_macs(build(plain.spec, 6, reduced=True), (8, 8))
    trained, taught, gate = (stage.epochs for stage in distilled.method.stages(plain.recipe))
    wanted = trained * teacher + taught * (with_gates + teacher / 3) + gate * with_gates
    assert distilled.cost() == round(6 * 49 * wanted)


def test_the_training_set_on_the_device_is_the_drawn_one(plain: TrainingJob) -> None:
    data = on_device(plain.dataset, plain.training, torch.device("cpu"))
    assert torch.equal(torch.bincount(data.labels).float(), data.counts)
    images = plain.dataset.train.images(plain.training.indices)
    assert torch.equal(data.images, torch.from_numpy(images).permute(0, 3, 1, 2))
    everything = plain.dataset.train.images(np.arange(90)).reshape(-1, 3) / 255
    np.testing.assert_allclose(data.mean.numpy(), everything.mean(0), rtol=1e-5)
    np.testing.assert_allclose(data.std.numpy(), everything.std(0), rtol=1e-5)
    assert data.mean.dtype == data.std.dtype == torch.float32


def test_pixels_are_channels_first() -> None:
    images = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    moved = pixels(images, torch.device("cpu"))
    assert moved.shape == (2, 3, 3, 4)
    assert moved[1, 2, 0, 3] == images[1, 0, 3, 2]


def arguments(*words: str) -> Any:
    from methods.jobs.arguments import add_training_arguments

    parser = Parser("test", "", "")
    add_data_arguments(parser)
    add_training_arguments(parser)
    return parser.parse_args(words)


def test_one_job_for_each_method_and_seed() -> None:
    jobs = request_of(
        TrainingRequest, arguments("--methods", "sade", "softmax", "sade", "--seeds", "1", "0", "1")
    ).jobs()
    assert [(each.method_name, each.seed) for each in jobs] == [
        ("sade", 1),
        ("sade", 0),
        ("softmax", 1),
        ("softmax", 0),
    ]
    assert {each.recipe.name for each in jobs} == {"quick"}


def test_a_method_whose_published_options_are_others_on_the_dataset_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipes.PUBLISHED_OPTIONS, ("sade", "embedded"), "sade:tau=1")
    for words, said in (
        (["--recipe", "published", "--methods", "sade"], "note: on embedded sade was published as sade:tau=1\n"),
        (["--recipe", "published", "--methods", "sade:tau=1", "softmax"], ""),
        (["--recipe", "quick", "--methods", "sade"], ""),
    ):
        request_of(TrainingRequest, arguments(*words)).jobs()
        assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "sad"], "unknown method 'sad'"),
        (["--recipe", "quik"], "unknown recipe 'quik'"),
        (["--dataset", "cifar1000"], "unknown dataset 'cifar1000'"),
    ],
)
def test_unknown_names_are_refused_before_any_work(words: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        request_of(TrainingRequest, arguments(*words)).jobs()


def test_the_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == chosen_device("cpu") == torch.device("cpu")
    with pytest.raises(BadInput, match="no CUDA device"):
        chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device("auto") == chosen_device("cuda") == torch.device("cuda")
    assert chosen_device("cpu") == torch.device("cpu")


def command(folder: Path, *words: str) -> int | None:
    """Exit status of the training command with a recipe of one epoch on the embedded dataset."""
    recipe = folder / "one.toml"
    recipe.write_text('backbone = "resnet8"\nepochs = 1\nbatch_size = 512\nwarmup = 0\nmilestones = [1, 1]\n')
    return main(["--recipe", str(recipe), "--results", str(folder / "results"), "--device", "cpu", *words])


def test_the_command_trains_and_prints_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "--methods", "softmax") == 0
    (path,) = capsys.readouterr().out.split()
    assert checkpoint.describe(Path(path)) is not None
    assert command(tmp_path, "--methods", "softmax") == 0
    assert capsys.readouterr().out.split() == [path]


def test_a_job_that_fails_is_told_and_the_others_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(self: TrainingJob, results: Path, device: torch.device, progress: job.Progress) -> dict[str, Any]:
        if self.method_name == "sade":
            raise WorkFailed("sade: loss is nan")
        return {}

    monkeypatch.setattr(TrainingJob, "make", fake)
    assert command(tmp_path, "--methods", "sade", "softmax") == 1
    printed = capsys.readouterr()
    assert "sade: loss is nan" in printed.err
    assert printed.err.count("\n") == 1
    assert "-softmax-" in printed.out
