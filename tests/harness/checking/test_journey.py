"""docs/a-rows-journey.md: its commands, one after the other, lead from a stranger's run to a joined leaderboard."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.records import rows
from tests.harness.small import ROOT, Result, call

PAGE = ROOT / "docs" / "a-rows-journey.md"
QUICK = ["--adapters", "mean", "em", "--redraws", "1"]


def blocks() -> list[list[str]]:
    """Words of each command in the page's blocks, without `python -m`."""
    found = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[2:] for block in found for line in block.splitlines()]


@pytest.mark.exhaustive
def test_the_journey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = [sys.executable, str(ROOT / "examples" / "own_model.py"), "my-model.safetensors"]
    subprocess.run(example, check=True, capture_output=True)
    reference = rows.load_all(ROOT / "results" / "reference" / "cifar100-x0.1")
    some = [row for row in reference if row.method in ("softmax", "ride") and row.adapter in ("mean", "em")]
    rows.pack(some, Path("results/reference"))
    done: list[Result] = []
    for module, *arguments in blocks():
        done.append(call(*arguments, *(QUICK if module == "harness.run" else []), module=module))
        assert (done[-1].status, done[-1].err) == (0, ""), module
    assert [module for module, *_ in blocks()] == [
        *("harness.run", "harness.leaderboard", "harness.check", "harness.leaderboard", "harness.check"),
        *("harness.answer", "harness.export"),
    ]
    assert "Nothing that could be checked is at fault." in Path("check.md").read_text(encoding="utf-8")
    assert len(rows.load_all(Path("joined"))) == len(some) + 8
    assert "evidence:my-model.safetensors" in done[5].out
    assert "wang2021ride" in Path("papers.bib").read_text(encoding="utf-8")
