"""What is said of somebody else's model, of which no profile, recipe or seed is known: never `None`."""

import re
from pathlib import Path

import pytest

from harness.evidence import files as evidence
from harness.pages.blocks import blocks
from tests.harness.fake import fake_row
from tests.harness.small import call, random_pool

NAMES = ("first", "my second")
COMMANDS = {
    "harness.answer": [],
    "harness.report": [],
    "harness.why": ["--stored"],
    "harness.leaderboard": [],
    "harness.export": ["--format", "csv", "--output", "rows.csv"],
    "harness.export ": ["--format", "hf-yaml", "--output", "hub", "--hub-dataset", "owner/name"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of others with rows, estimates and preferences."""
    folder = tmp_path_factory.mktemp("others")
    results = folder / "results"
    for seed, name in enumerate(NAMES):
        file = folder / f"{name}.safetensors"
        evidence.save(file, random_pool(seed, images=150, classes=3))
        common = ["--evidence", file, "--results", results]
        for module, asked in (
            (
                "harness.run",
                ["--shift", "all", "dirichlet-1-s0", "natural", "--redraws", "0", "--adapters", "mean", "em"],
            ),
            ("harness.estimate", ["--shift", "uniform", "--trials", "2", "--set-size", "20", "--adapters", "em"]),
            ("harness.sweep", ["--shift", "uniform"]),
        ):
            result = call(*common, *asked, module=module)
            assert result.status == 0, result.err
            check(result.out)
    return results


def check(text: str) -> None:
    """Nothing that is not known shows as Python has it."""
    found = re.search(r".{0,40}\b(None|nan)\b.{0,40}", text)
    assert found is None, found


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_says_none(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*COMMANDS[name], "--results", results, module=name.strip())
    assert result.status == 0, result.err
    check(result.out)
    for file in [*tmp_path.rglob("*"), *(results / "report").rglob("*"), results / "leaderboard.json"]:
        if file.is_file() and file.suffix != ".png":
            check(file.read_text(encoding="utf-8"))
    report = results / "report" / "report.md"
    if report.exists():
        text = report.read_text(encoding="utf-8")
        assert "## evidence:my second.safetensors, train imbalance 11.1111\n" in text
        assert "training images, somebody else's model" in text


def test_profiles_that_are_known_are_said() -> None:
    titles = {profile: blocks([fake_row(train_profile=profile)])[0].title for profile in (None, "exp", "pareto")}
    assert titles == {
        None: "embedded, train imbalance 100, recipe quick",
        "exp": "embedded, train imbalance 100, recipe quick",
        "pareto": "embedded, pareto train imbalance 100, recipe quick",
    }
