"""Recorded steps do what steps do: the same weights, whatever the method, batch sizes and phases."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods import papers
from methods.core.batch import Batch, NetworkSpec
from methods.core.method import Method
from methods.core.recipes import PUBLISHED
from methods.core.stage import Stage
from methods.jobs.request import TrainingRequest
from methods.pixels.augment import to_float
from methods.pixels.data import TrainingImages
from methods.training import loop
from methods.training.loop import build_network, train
from methods.training.update import WARM_UP, recorded
from shifts.common.errors import BadInput
from tests.methods import tiny

LONG = tiny.RECIPE.scaled(2, "long")


def images_for(method: Method) -> TrainingImages:
    """The tiny training set; of label sets, each with its class as the only label, where the method needs such."""
    data = tiny.images()
    return data if method.task == "single_label" else replace(data, labels=F.one_hot(data.labels).to(torch.uint8))


class Recorder:
    """Stands in for CUDA graphs: the work is kept and done at each replay, on the memory it was recorded with."""

    def __init__(self) -> None:
        self.recorded, self.replayed = 0, 0

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        result = torch.full((), torch.nan)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            result.copy_(work())

        return replay, result


@pytest.mark.parametrize("name", papers.METHODS)
def test_recorded_training_reaches_the_same_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, method = Recorder(), papers.get(name)
    monkeypatch.setattr(loop, "cuda_record", lambda generator: recorder)
    ends = []
    for graphs in (False, True):
        resume = tmp_path / f"{graphs}"
        ends.append(train(method, LONG, images_for(method), 1, resume=resume, key="tiny", graphs=graphs))
    steps = sum(len(tiny.images().labels) // stage.batch_size * stage.epochs for stage in method.stages(LONG))
    assert recorder.recorded >= 1
    assert recorder.replayed >= steps // 3
    assert ends[1].losses == pytest.approx(ends[0].losses, rel=1e-3)
    for (key, plain), value in zip(
        ends[0].network.state_dict().items(), ends[1].network.state_dict().values(), strict=True
    ):
        # The learning rate of recorded steps is a float32 tensor.
        torch.testing.assert_close(value, plain, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


def test_one_recording_for_each_batch_size_and_phase() -> None:
    recorder, calls = Recorder(), []

    def update(batches: list[Batch], epoch: int) -> Tensor:
        calls.append((len(batches[0].target), epoch, float(batches[0].images.sum())))
        return batches[0].images.sum()

    step = recorded(update, [2], recorder)
    for epoch in range(4):
        for size in (4, 4, 4, 3):
            images = torch.rand(size, 3, 2, 2)
            loss = step([Batch(images, torch.zeros(size, dtype=torch.int64), torch.ones(2))], epoch)
            assert float(loss) == pytest.approx(float(images.sum()))
            assert calls[-1][::2] == (size, pytest.approx(float(images.sum())))
    assert len(calls) == 16
    assert recorder.recorded == 2, "the full batch once in each phase; the last batch is still warming up"
    assert recorder.replayed == 2 * (6 - WARM_UP)


def batches_of(stage: Stage, method: Method) -> Iterator[Batch]:
    data = images_for(method)
    for _ in stage.samplers:
        yield Batch(
            to_float(data.images[:8], data.mean, data.std),
            data.labels[:8] if data.labels.ndim == 1 else data.labels[:8].float(),
            data.counts,
            generator=torch.Generator().manual_seed(0),
            population=len(data.labels),
        )


@pytest.mark.parametrize("name", papers.METHODS)
def test_steps_change_with_the_epoch_only_where_the_stage_says_so(name: str) -> None:
    method = papers.get(name)
    spec = NetworkSpec("resnet8", tiny.COUNTS, (8, 8))
    for stage in method.stages(PUBLISHED):
        network = build_network(method, spec, 0, training=True).eval()
        edges = sorted({0, stage.epochs, *(switch for switch in stage.switches if switch < stage.epochs)})
        phases = []
        for start, end in pairwise(edges):
            losses = []
            for epoch in (start, (start + end) // 2, end - 1):
                batches = list(batches_of(stage, method))
                if stage.cached:
                    with torch.no_grad():
                        outputs = [network(batch.images) for batch in batches]
                    batches = [
                        Batch(batch.images[:0], batch.target, batch.counts, output=output, generator=batch.generator)
                        for batch, output in zip(batches, outputs, strict=True)
                    ]
                losses.append(float(stage.step(network, batches, epoch)["loss"].detach()))
            assert len(set(losses)) == 1, f"{name}, {stage.name}: {losses} within a phase"
            phases.append(losses[0])
        assert len(set(phases)) == len(phases), f"{name}, {stage.name}: a switch that switches nothing"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", papers.METHODS)
def test_cuda_graphs_reach_the_weights_of_plain_steps(name: str, tmp_path: Path) -> None:
    data = images_for(papers.get(name))
    there = TrainingImages(*(getattr(data, part).cuda() for part in ("images", "labels", "counts", "mean", "std")))
    ends = [
        train(papers.get(name), LONG, there, 1, resume=tmp_path / f"{graphs}", key="tiny", graphs=graphs)
        for graphs in (False, True)
    ]
    assert ends[1].losses == pytest.approx(ends[0].losses, rel=1e-2, abs=1e-2)


@pytest.mark.parametrize(("device", "accumulate", "why"), [("cpu", 1, "CUDA device"), ("cuda", 2, "--accumulate 1")])
def test_graphs_need_a_gpu_and_whole_batches(device: str, accumulate: int, why: str) -> None:
    request = TrainingRequest(cuda_graphs=True, accumulate=accumulate)
    with pytest.raises(BadInput, match=f"--cuda-graphs.*{why}"):
        request.check_graphs(torch.device(device))
