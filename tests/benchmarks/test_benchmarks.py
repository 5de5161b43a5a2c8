"""The benchmark command: its figures are counted right and its options checked; how fast anything is, is not tested."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import adapting, applying, board, models, naive, parts
from benchmarks.__main__ import main, ratios, table
from benchmarks.parts import Line, Work
from benchmarks.timing import Timing, interleaved
from harness.board import build as leaderboard
from harness.records import rows
from tests.harness.fake import fake_row
from tests.harness.small import one_line

CPU = torch.device("cpu")


def line(part: str, variant: str, seconds: float, precision: str = "fp32", scaled: float = 1.0) -> Line:
    return Line(part, variant, Timing(seconds, seconds, seconds, 1), 100, 1e9, precision, scaled)


def test_every_variant_runs_once_a_round_in_turn() -> None:
    calls: list[str] = []
    found = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, CPU)
    assert calls == ["a", "b"] * 3
    assert {name: timing.rounds for name, timing in found.items()} == {"a": 2, "b": 2}
    assert all(timing.least <= timing.median <= timing.most for timing in found.values())


def test_ratios_are_to_the_reference_and_count_what_was_scaled() -> None:
    lines = [
        line("training", "reference", 4.0),
        line("training", "bf16", 2.0, "bf16"),
        line(parts.STEP, "bf16", 8.0, "bf16"),
        line("of that, convolutions", "bf16", 6.0, "bf16"),
        line("clean evidence", "fp32", 5.0),
        line("clean evidence", "bf16", 2.0, "bf16"),
        line("one view pair", "fp32", 10.0),
        line("one view pair", "bf16", 4.0, "bf16"),
        line("learning, 11 shifts", "fp32", 1.0),
        line("naive, adapting", "reference", 4.0, scaled=100.0),
        line("naive, evaluating", "reference", 2.0, scaled=10.0),
    ]
    found = ratios(lines)
    assert found["training, bf16"] == 2
    assert found["step over its convolutions, bf16"] == 0.75
    assert found["aggregation over 11 shifts, 1 view pairs, fp32"] == 420 / 16
    assert found["aggregation over 11 shifts, 3 view pairs, bf16"] == 420 / 15
    limits = {kind: {"convolution": 1e9, "matrix product": 2e9} for kind in ("fp32", "bf16")}
    text = table(lines, limits, CPU)
    assert "50%" in text
    assert "400.00" in text
    assert max(map(len, text.splitlines())) <= 100


def test_naive_weights_lie_on_the_simplex_and_networks_are_the_same_function() -> None:
    work = Work(CPU, 100, rounds=1)
    images = work.test[:40]
    weights = naive.learn_weights(work.network(), images, work.mean, work.std, 3)
    assert weights.sum() == pytest.approx(1)
    assert not torch.allclose(weights, torch.full((3,), 1 / 3))
    batch = next(work.pool().clean())[:8]
    with torch.no_grad():
        expected = work.network()(batch).logits
        torch.testing.assert_close(work.ours()(batch).logits, expected, rtol=1e-4, atol=1e-4)
    labels = expected.mean(1).argmax(1).numpy()
    labels[:2] += 1
    host = work.test[:8].permute(0, 2, 3, 1).numpy()
    assert naive.accuracy(work.reference(), host, labels, work.mean, work.std) == 6 / 8


def test_convolutions_alone_are_those_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution once a step, forward and backward, for gradients of its input too unless that is an image."""
    monkeypatch.setattr(parts, "TRAINING_STEPS", 2)
    monkeypatch.setattr(naive, "BATCH", 8)
    work = Work(CPU, 100, rounds=1)
    run = parts._convolutions(work, "fp32")
    macs, wanted = 0, []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal macs
            found = function(*args, **(kwargs or {}))
            if function.overloadpacket is torch.ops.aten.convolution:
                macs += found.numel() * args[1][0].numel()
            if function.overloadpacket is torch.ops.aten.convolution_backward:
                wanted.append(tuple(args[-1]))
            return found

    with Count():
        run()
    convolutions = 1 + 10 + 3 * 20
    assert macs / (naive.BATCH * parts.TRAINING_STEPS) == pytest.approx(100.3e6, abs=0.05e6)
    assert len(wanted) == convolutions * parts.TRAINING_STEPS
    assert wanted.count((False, True, False)) == parts.TRAINING_STEPS
    assert wanted.count((True, True, False)) == (convolutions - 1) * parts.TRAINING_STEPS


def test_the_eleven_sets_have_their_published_sizes() -> None:
    work = Work(CPU, 10_000, rounds=1)
    assert sum(map(len, parts._drawn(work))) == 52_832


@pytest.mark.exhaustive
def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "figures.json"
    main(["--parts", "learning", "--rounds", "1", "--images", "5000", "--device", "cpu", "--output", str(where)])
    record = json.loads(where.read_text())
    assert [found["part"] for found in record["lines"]] == ["learning, 11 shifts"]
    assert all(rate > 0 for kinds in record["ceilings_flops"].values() for rate in kinds.values())
    assert "learning, 11 shifts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--parts", "trainin"], "training"), (["--rounds", "0"], "--rounds"), (["--images", "4999"], "--images")],
)
def test_wrong_options_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in one_line(capsys.readouterr().err)


@pytest.mark.exhaustive
def test_two_models_are_trained_in_both_ways_idle_and_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "IMAGES", 64)
    lines = models.two_models(Work(CPU, 100, rounds=1))
    assert [(line.part, line.variant) for line in lines] == [
        (part, variant) for part in ("two models", "two models, busy") for variant in ("reference", "workers")
    ]
    assert all(line.timing.median > 0 for line in lines)
    found = ratios(lines)
    assert {name for name in found if "busy process over idle" in name} == {
        f"two models beside a busy process over idle, {variant}" for variant in ("reference", "workers")
    }


def test_made_up_rows_have_a_leaderboard_of_six_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "REFERENCE", tmp_path / "reference")
    board.REFERENCE.mkdir()
    rows.pack(
        [fake_row(train_seed=seed, adapter=name) for seed in range(3) for name in ("mean", "em")], board.REFERENCE
    )
    count = board.many_rows(tmp_path, 30)
    assert count == 24, "two datasets, six seeds, two adapters"
    written = leaderboard.read(leaderboard.write(tmp_path).parent)
    assert {len(entry["row_ids"]) for entry in written["entries"]} == {6}
    assert sum(len(entry["row_ids"]) for entry in written["entries"]) == count
    assert written["superseded"] == 0


def test_estimators_agree_with_the_procedures_as_they_are_published() -> None:
    for part, variants in adapting.estimators(adapting.scene(300, 20)).items():
        np.testing.assert_allclose(variants["ours"](), variants["reference"](), atol=2e-3, err_msg=part)


def test_growth_is_that_of_our_own_time() -> None:
    seconds = {("BCTS", "ours"): 2.0, ("BCTS 4x classes", "ours"): 10.0, ("BCTS 4x classes", "reference"): 90.0}
    assert adapting.growth(seconds) == {"BCTS, time for 4x classes": 5.0}


@pytest.mark.exhaustive
def test_unlabelled_images_are_answered_whole_and_as_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "CLASSES", 20)
    monkeypatch.setattr(applying, "SOURCE", 200)
    whole, stream = applying.applying(300)
    assert (whole.part, stream.part) == ("apply, whole", "apply, stream")
    assert whole.images == 300
    assert all(line.variant.endswith(" GB") and line.timing.median > 0 for line in (whole, stream))
