"""Several processes train as one does: the same weights, one writer, one teller, resuming in another number."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from methods import papers
from methods.core.batch import Batch, ExpertOutput
from methods.core.recipe import Recipe
from methods.jobs.job import TrainingJob
from methods.papers.softmax import Softmax
from methods.processes import distributed, parallel
from methods.processes.distributed import World
from methods.processes.parallel import pieces, split
from methods.train import main
from methods.training import checkpoint
from methods.training.checkpoint import load_tensors
from methods.training.loop import train
from shifts.common.errors import BadInput, WorkFailed
from shifts.images import catalog
from shifts.sets.training import training_set
from tests.methods import tiny
from tests.methods.launched import ACCUMULATED, EQUAL, NORM, OTHER, QUICK, Case, run

ROOT = Path(__file__).parents[3]
NEAR = 1e-5


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made of the quick cases; one of them goes on from the first epoch of a single process."""
    made = tmp_path_factory.mktemp("processes")
    (made / "0").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run(Case("balpoe", stop=1), made / "0" / "from one.resume.safetensors")
    return launched(made, "quick")


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made of the other cases."""
    return launched(tmp_path_factory.mktemp("rest"), "rest")


def launched(folder: Path, part: str) -> Path:
    done = torchrun("tests.methods.launched", str(folder), part)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def two(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Weights and metadata of a case trained by two processes."""
    name = request.param
    made: Path = request.getfixturevalue("folder" if name in QUICK else "rest")
    weights, metadata = load_tensors(made / "0" / f"{name}.safetensors")
    return {"name": name, "weights": weights, "losses": metadata["losses"]}


def of_two(names: Iterable[str]) -> pytest.MarkDecorator:
    """Ask for `two` of each case; by default one test alone looks at the quick ones, so that they are made once."""
    asked = [pytest.param(name, marks=pytest.mark.exhaustive) for name in names]
    return pytest.mark.parametrize("two", asked, indirect=True)


Alone = Callable[[str], tuple[dict[str, Tensor], list[float]]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """What one process makes of a case."""
    made = tmp_path_factory.mktemp("alone")
    return cache(lambda name: run({**EQUAL, **OTHER}[name], made / f"{name}.safetensors"))


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_two_processes_reach_the_weights_of_one_in_the_quick_cases(folder: Path, alone: Alone) -> None:
    names = [name for name in QUICK if name.removesuffix(", accumulated") in EQUAL]
    assert len(names) >= 2
    for name in names:
        weights, _ = load_tensors(folder / "0" / f"{name}.safetensors")
        assert difference(weights, alone(name.removesuffix(", accumulated"))[0]) < NEAR


@of_two([*EQUAL, *(f"{name}, accumulated" for name in ACCUMULATED)])
def test_two_processes_reach_the_weights_of_one(two: dict[str, Any], alone: Alone) -> None:
    expected, losses = alone(two["name"].removesuffix(", accumulated"))
    assert difference(two["weights"], expected) < NEAR
    assert two["losses"] == pytest.approx(losses, rel=1e-4, abs=1e-5)


@of_two(NORM)
def test_two_processes_with_batchnorm_end_alike(two: dict[str, Any]) -> None:
    assert two["weights"]  # each compared its own with the other's


@pytest.mark.parametrize("name", EQUAL)
def test_accumulated_gradients_are_those_of_the_batch(name: str, tmp_path: Path, alone: Alone) -> None:
    weights, losses = run(replace(EQUAL[name], accumulate=3), tmp_path / "resume.safetensors")
    assert difference(weights, alone(name)[0]) < NEAR
    assert losses == pytest.approx(alone(name)[1], rel=1e-4, abs=1e-5)


@of_two(OTHER)
def test_other_losses_are_near(two: dict[str, Any], alone: Alone) -> None:
    weights, (expected, _) = two["weights"], alone(two["name"])
    length = torch.cat([values.flatten() for values in expected.values()]).norm()
    apart = torch.cat([(weights[key] - values).flatten() for key, values in expected.items()]).norm()
    assert 1e-6 < float(apart / length) < 0.05


@pytest.mark.exhaustive
def test_going_on_in_another_number_of_processes(folder: Path, alone: Alone) -> None:
    expected, losses = alone("balpoe")
    grown, metadata = load_tensors(folder / "0" / "from one.safetensors")
    assert difference(grown, expected) < NEAR
    assert metadata["losses"] == pytest.approx(losses, rel=1e-4)
    # both processes were stopped, and the state of the main one is gone on with
    assert (folder / "1" / "stopped").exists()
    state = folder / "0" / "to one.resume.safetensors"
    assert load_tensors(state)[1]["epochs"] == 1
    shrunk, _ = run(EQUAL["balpoe"], state)
    assert difference(shrunk, expected) < NEAR


@pytest.mark.exhaustive
def test_only_the_main_process_writes_and_a_failure_of_one_is_every_ones(folder: Path) -> None:
    assert sorted(path.name for path in (folder / "1").iterdir()) == ["failed", "stopped"]
    for rank in "01":
        assert "cannot decode image 5 (5.png)" in (folder / rank / "failed").read_text()


def command(folder: Path, *words: object) -> list[str]:
    recipe = folder / "one.toml"
    recipe.write_text('backbone = "resnet8"\nepochs = 1\nbatch_size = 256\nwarmup = 0\nmilestones = [1, 1]\n')
    return ["--recipe", str(recipe), "--results", str(folder / "results"), "--device", "cpu", *map(str, words)]


@pytest.mark.exhaustive
def test_the_command_under_torchrun_makes_what_the_command_accepts_as_done(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = command(tmp_path, "--dataset", data, "--train-imbalance", "10", "--methods", "softmax", "--accumulate", "2")
    done = torchrun("methods.train", *words)
    assert done.returncode == 0, done.stderr
    (path,) = map(Path, done.stdout.split())
    made = checkpoint.describe(path)
    assert made is not None
    assert (made["processes"], made["accumulate"], made["sync_bn"]) == (2, 2, False)
    assert sorted(each.suffix for each in path.parent.glob("[!.]*")) == [".json", ".safetensors"]
    monkeypatch.setattr(TrainingJob, "data", lambda self, device: pytest.fail("trained again"))
    assert main(words) == 0
    assert capsys.readouterr().out.split() == [str(path)]


@pytest.mark.exhaustive
def test_a_failure_of_the_main_process_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = torchrun("methods.train", *command(tmp_path, "--methods", "softmax"), "--results", str(tmp_path / "file"))
    assert done.returncode != 0
    told = re.findall("^error: .*$", done.stderr, re.MULTILINE)
    assert len(told) == 1
    assert "is a file; give a folder" in told[0]


# In one process


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 16, 33])
@pytest.mark.parametrize("accumulate", [1, 3, 40])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_pieces_cover_a_batch_and_weigh_its_images_alike(
    size: int, accumulate: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight, steps = torch.zeros(size), set()
    for rank in range(count):
        monkeypatch.setattr(distributed, "world", lambda rank=rank: World(rank, count))
        own = pieces(size, accumulate)
        steps.add(len(own))
        for piece in own:
            assert piece.rows.stop - piece.rows.start >= min(2, size)
            weight[piece.rows] += piece.weight / (piece.rows.stop - piece.rows.start) / count
    torch.testing.assert_close(weight, torch.full((size,), 1 / size))
    assert steps == {max(1, min(accumulate, size // (2 * count)))}


def test_slices_are_even_but_for_one() -> None:
    assert split(10, 4) == [slice(0, 3), slice(3, 6), slice(6, 8), slice(8, 10)]
    assert split(1, 2) == [slice(0, 1), slice(1, 1)]


def test_a_part_of_a_batch_keeps_what_belongs_to_its_images() -> None:
    logits, features = torch.randn(6, 2, 3), torch.randn(6, 2, 4)
    share, counts, generator = torch.tensor(0.3), torch.ones(3), torch.Generator()
    whole = Batch(torch.randn(6, 3, 4, 4), torch.arange(6), counts, torch.arange(6).flip(0), share, None, generator)
    rows = slice(2, 5)
    half = parallel.part(whole, rows)
    assert torch.equal(half.images, whole.images[rows])
    assert half.target.tolist() == [2, 3, 4]
    assert half.partner is not None
    assert half.partner.tolist() == [3, 2, 1]
    assert (half.counts is counts, half.share is share, half.generator is generator) == (True, True, True)
    cached = replace(whole, partner=None, share=None, images=torch.empty(0, 3, 4, 4))
    part = parallel.part(replace(cached, output=ExpertOutput(logits, features)), rows)
    assert part.images.shape == (0, 3, 4, 4)
    assert part.output is not None
    assert torch.equal(part.output.logits, logits[rows])
    assert torch.equal(part.output.features, features[rows])
    assert parallel.part(whole, slice(0, 6)) is whole


def test_without_torchrun_there_is_one_process_that_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in distributed.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    assert not distributed.launched()
    with distributed.processes(torch.device("cpu")) as device:
        assert device == torch.device("cpu")
        assert distributed.world() == World(0, 1)
        assert not torch.distributed.is_initialized()
    assert distributed.from_main(lambda: 3) == distributed.everywhere(lambda: 3) == 3
    rows = torch.arange(3)
    assert parallel.gathered(rows, 3) is rows
    assert parallel.summed(rows) is rows


@pytest.mark.parametrize(
    ("error", "status"),
    [(BadInput("why"), 2), (WorkFailed("why"), 1), (OSError("why"), 1), (KeyboardInterrupt("why"), 130)],
)
def test_other_processes_end_without_a_word(error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in distributed.LAUNCHED:
        monkeypatch.setenv(name, "1")
    with pytest.raises(SystemExit) as ended, distributed.told_once():
        raise error
    assert ended.value.code == status
    with pytest.raises(SystemExit), distributed.told_once():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer")
    with pytest.raises(RuntimeError, match="a bug"), distributed.told_once():
        raise RuntimeError("a bug")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(type(error), match="why"), distributed.told_once():
        raise error
    with pytest.raises(WorkFailed, match="another process of this run ended"), distributed.told_once():
        raise torch.distributed.DistBackendError("NCCL error")


def test_synchronised_batchnorm_is_refused_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path, "--methods", "softmax", "--sync-bn")) == 2
    printed = capsys.readouterr().err
    assert "--sync-bn: PyTorch synchronises BatchNorm on CUDA devices only" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two"])
def test_accumulate_is_a_whole_number(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path, "--accumulate", text)) == 2
    assert "is not a whole number >= 1" in capsys.readouterr().err


def test_options_that_change_the_weights_enter_the_key_where_they_are_not_the_default() -> None:
    dataset = catalog.load("embedded")
    recipe = Recipe("tiny", backbone="resnet8", epochs=2, batch_size=16, warmup=1, milestones=(1, 2))
    plain = TrainingJob(dataset, training_set(dataset, 100.0), papers.get("sade"), recipe, seed=0)
    assert replace(plain, accumulate=1, sync_bn=False).key == plain.key
    others = {replace(plain, accumulate=2).key, replace(plain, accumulate=3).key, replace(plain, sync_bn=True).key}
    assert len(others | {plain.key}) == 4


def test_synchronised_batchnorm_of_one_process_is_batchnorm(tmp_path: Path) -> None:
    def weights(name: str, sync_bn: bool) -> dict[str, Tensor]:
        resume = tmp_path / f"{name}.safetensors"
        return train(
            Softmax(), tiny.RECIPE, tiny.images(), 1, resume=resume, key="", sync_bn=sync_bn
        ).network.state_dict()

    assert difference(weights("a", True), weights("b", False)) == 0
