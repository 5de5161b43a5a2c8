"""`methods.train --dry-run`: what is done, what is begun, what is left; and `--list`."""

from pathlib import Path

import pytest
import torch

from harness.run import main as run
from methods.jobs import forecast as plan
from methods.jobs.job import TrainingJob
from methods.jobs.request import TrainingRequest
from methods.train import main
from shifts.common.command import Parser
from shifts.common.requests import request_of
from shifts.sets.arguments import add_data_arguments
from tests.harness.small import command, stamps
from tests.methods import tiny

RECIPE = 'backbone = "resnet8"\nepochs = 4\nmilestones = [3, 4]\nwarmup = 0\nstrong = false\n'


@pytest.fixture
def asked(tmp_path: Path, data: Path) -> list[str]:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    given = ["--dataset", data, "--train-imbalance", "10", "--recipe", tmp_path / "tiny.toml", "--device", "cpu"]
    given += ["--results", tmp_path / "results"]
    return [*map(str, given), "--methods", "ride", "softmax"]


def test_a_plan_says_how_far_each_model_is(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from methods.jobs.arguments import add_training_arguments

    assert main([*asked, "--dry-run"]) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    # RIDE: 4 epochs of experts, 5 of gates
    assert ": to train, 0 of 9 epochs done, " in first
    assert ": to train, 0 of 4 epochs done, " in second
    assert total.startswith("training left: ")
    assert not (tmp_path / "results").exists(), "a plan writes nothing"

    parser = Parser("test", "test", "")
    add_data_arguments(parser)
    add_training_arguments(parser)
    jobs = request_of(TrainingRequest, parser.parse_args(asked)).jobs()
    for job, stage, epochs in ((jobs[0], "gate", 2), (jobs[1], "experts", 3)):
        stages = [one.name for one in job.method.stages(job.recipe)]
        assert stage in stages
        with pytest.raises(KeyboardInterrupt), job.lock(tmp_path / "results"):
            job.make(tmp_path / "results", torch.device("cpu"), tiny.crash_after(stage, epochs))
    before = stamps(tmp_path / "results")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingJob, "cost", lambda job: 4e12)
        assert main([*asked, "--dry-run"]) == 0
    first, second, _ = capsys.readouterr().out.splitlines()
    assert ": to train, 6 of 9 epochs done, " in first
    assert ": to train, 3 of 4 epochs done, " in second
    assert " 1.0 TFLOP left" in second
    assert 0 < jobs[1].cost() < jobs[0].cost() < 1e12
    assert stamps(tmp_path / "results") == before

    assert main([*asked[:-2], "softmax"]) == 0
    capsys.readouterr()
    assert plan.forecast(jobs[1:], tmp_path / "results").splitlines() == [
        f"{jobs[1].stem}: done",
        "training left: 0.0 TFLOP, about 0.0 min at 120 GFLOP/s (two CPU cores)",
    ]


@pytest.mark.parametrize(
    "module", ["methods.train", "harness.sweep", "harness.route", "harness.estimate", "harness.why"]
)
def test_commands_that_take_names_list_them(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = command("--list", module=module)
    assert (shown.status, shown.err) == (0, "")
    with pytest.raises(SystemExit) as end:
        run(["--list"])
    assert end.value.code == 0
    everything = capsys.readouterr().out
    if module == "methods.train":
        assert "adapters" not in shown.out
        assert set(shown.out.splitlines()) < set(everything.splitlines())
    else:
        assert shown.out == everything
