"""Published figures: every entry is one that a row can have, and the figures are those of the sources."""

import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness import adapters
from methods import papers
from methods.core.options import canonical_name
from methods.papers.reported import Reported, reported
from shifts.images.entries import ENTRIES
from shifts.labels.shift import Shift, published_shifts

TABLES: list[dict[str, Any]] = tomllib.loads(
    (Path(papers.__file__).parent / "reported.toml").read_text(encoding="utf-8")
)["figures"]


def figures(table: dict[str, Any]) -> dict[str, float]:
    """A table's figures by shift."""
    found: dict[str, float] = table.get("top1") or table["map"]
    return found


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table['method']}-{table['adapter']}-{table['source']}")
def test_every_figure_belongs_to_something_that_exists(table: dict[str, Any]) -> None:
    assert canonical_name(papers.get(table["method"])) == table["method"]
    assert canonical_name(adapters.get(table["adapter"])) == table["adapter"]
    assert table["dataset"] in [entry.name for entry in ENTRIES]
    assert isinstance(table["primary"], bool)
    assert table["source"]
    of_sets = table["imbalance"] == "natural"
    assert ("map" in table) == of_sets == ("top1" not in table)
    assert (papers.get(table["method"]).task == "multi_label") == of_sets
    published = ["natural"] if of_sets else [str(shift) for shift in published_shifts()]
    for shift, value in figures(table).items():
        assert str(Shift.parse(shift)) == shift
        assert shift in published
        assert 10 < value < 100
        imbalance = None if of_sets else float(table["imbalance"])
        found = reported(table["method"], table["adapter"], table["dataset"], imbalance, shift)
        assert found is not None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (("softmax", "mean", 100, "uniform"), 41.4),
        (("softmax", "mean", 100, "forward_lt-50"), 62.3),
        (("softmax", "mean", 50, "backward_lt-50"), 23.9),
        (("balanced_softmax", "mean", 100, "uniform"), 46.1),
        (("balanced_softmax", "mean", 50, "uniform"), 49.9),
        (("softmax", "oracle_prior", 50, "backward_lt-50"), 49.0),
        (("ride", "mean", 100, "backward_lt-50"), 29.3),
        (("sade", "sade", 100, "uniform"), 49.8),
        (("sade", "sade", 100, "forward_lt-50"), 65.9),
        (("sade", "sade", 100, "backward_lt-5"), 44.7),
        (("sade", "mean", 100, "backward_lt-50"), 35.0),
        (("balpoe", "mean", 100, "forward_lt-2"), 54.8),
        (("balpoe", "mean", 100, "backward_lt-50"), 36.2),
        (("balpoe", "oracle_prior", 100, "forward_lt-50"), 70.3),
    ],
)
def test_golden_figures(setting: tuple[str, str, float, str], value: float) -> None:
    method, adapter, imbalance, shift = setting
    found = reported(method, adapter, "cifar100", float(imbalance), shift)
    assert found is not None
    assert found.value == pytest.approx(value / 100)


@pytest.mark.parametrize(
    ("method", "dataset", "value"),
    [("bce", "voc_mlt", 70.86), ("ltml", "voc_mlt", 81.44), ("ltml", "coco_mlt", 56.90)],
)
def test_golden_mean_average_precision(method: str, dataset: str, value: float) -> None:
    found = reported(method, "mean", dataset, None, "natural")
    assert found is not None
    assert found.value == pytest.approx(value / 100)
    assert found.primary == (method == "ltml")


def test_source_and_whether_the_authors_print_it() -> None:
    assert reported("sade", "sade", "cifar100", 100.0, "uniform") == Reported(0.498, "SADE's README", True)
    found = reported("sade", "mean", "cifar100", 100.0, "uniform")
    assert found == Reported(0.494, "BalPoE's paper", False)


@pytest.mark.parametrize(
    "setting",
    [
        ("sade:tau=3", "mean", "cifar100", 100.0, "uniform"),
        ("sade", "em", "cifar100", 100.0, "uniform"),
        ("sade", "sade", "embedded", 100.0, "uniform"),
        ("sade", "sade", "cifar100", 30.0, "uniform"),
        ("sade", "sade", "cifar100", None, "uniform"),
        ("sade", "sade", "cifar100", 100.0, "dirichlet-0.1"),
    ],
)
def test_nothing_is_reported_for_other_settings(setting: tuple[str, str, str, float | None, str]) -> None:
    assert reported(*setting) is None


def test_no_source_prints_a_setting_twice() -> None:
    entries = Counter(
        (table["method"], table["adapter"], table["dataset"], table["imbalance"], table["source"], shift)
        for table in TABLES
        for shift in figures(table)
    )
    assert entries.most_common(1)[0][1] == 1


def test_of_several_sources_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["methods.papers.reported"]
    setting = 'method = "m"\nadapter = "a"\ndataset = "d"\nimbalance = 10\nprimary = false\n'
    tables = [
        f'[[figures]]\n{setting}source = "{source}"\ntop1 = {{ {values} }}\n'
        for source, values in (("first", "uniform = 50.0"), ("second", "uniform = 60.0, forward_lt-50 = 70.0"))
    ]
    (tmp_path / "reported.toml").write_text("\n".join(tables))
    monkeypatch.setattr(module, "__file__", str(tmp_path / "reported.py"))
    module._figures.cache_clear()
    try:
        assert reported("m", "a", "d", 10.0, "uniform") == Reported(0.5, "first", False)
        assert reported("m", "a", "d", 10.0, "forward_lt-50") == Reported(0.7, "second", False)
    finally:
        module._figures.cache_clear()
