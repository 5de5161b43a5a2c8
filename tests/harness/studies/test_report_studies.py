"""The report's parts on preference sweeps and routing, from made-up stored rows: numbers, tables, figures."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from harness.evidence.heads import lattice
from harness.show.ink import WIDTH
from harness.show.section import Section
from harness.studies.route import section as routing
from harness.studies.route.rows import MeasuredRow, RouteRow
from harness.studies.sweep import section as preference
from harness.studies.sweep.rows import ACCESS, LATTICE, SweepRow, sweeps_of
from shifts.common.files import digest
from shifts.labels.shift import Shift
from tests.harness.fake import fake

SHIFTS = ("forward_lt-50", "uniform", "backward_lt-50")


def model(method: str, seed: int, shift: str, **changes: Any) -> dict[str, Any]:
    """Return what tells rows of a method's networks on a shift apart."""
    parsed = Shift.parse(shift)
    about = {"method": method, "train_seed": seed, "checkpoint_sha256": digest([method, seed])}
    drawn = {"shift": shift, "shift_kind": parsed.kind, "shift_ratio": parsed.ratio, "indices_sha256": digest(shift)}
    return about | drawn | {"study_id": digest([method, seed, shift]), "train_n": 1236} | changes


def sweep_rows(
    method: str, kind: str, slope: float, seed: int = 0, shift: str = "uniform", **changes: Any
) -> list[SweepRow]:
    """A sweep whose few-shot accuracy moves by 2 * slope over the simplex, many-shot the other way; 0.01 a seed."""
    points = lattice(3, 4)
    moved = points[:, 2] - points[:, 0]
    many, few = 0.6 - slope * moved, 0.6 + slope * moved
    top1 = (many + few) / 2 + 0.01 * seed + 0.1 * slope * points[:, 1]
    best = int(top1.argmax())
    corners = points.argmax(axis=0)
    chosen = {"centre": 0, "corner": int(corners[1]), "stability": int(corners[0]), "em": best, "best": best}
    selections = [(LATTICE, point) for point in range(len(points))] + list(chosen.items())
    return [
        fake(
            SweepRow,
            **model(method, seed, shift, **changes),
            kind=kind,
            steps=4,
            views=3,
            target_prior_kind="exact",
            selection=selection,
            **ACCESS[selection].fields,
            point=point,
            preference=points[point].tolist(),
            top1=float(top1[point]),
            many=float(many[point]),
            medium=0.5,
            few=float(few[point]),
            macro=0.55,
            agreement=0.9,
            tv_estimate=0.1,
            tv_test=0.1,
        )
        for selection, point in selections
    ]


def route_rows(method: str, seed: int = 0, shift: str = "uniform", macs: bool = True) -> list[RouteRow]:
    """Three thresholds: all experts, half of the images with one, all with one."""
    shares = {0.0: [0.0, 0.0, 1.0], 0.5: [0.5, 0.0, 0.5], 1.0: [1.0, 0.0, 0.0]}
    means = {threshold: 1 + 2 * values[2] for threshold, values in shares.items()}
    return [
        fake(
            RouteRow,
            **model(method, seed, shift),
            experts=3,
            threshold=threshold,
            published=threshold == 0.5,
            top1=0.6 + 0.05 * mean,
            many=0.7,
            medium=0.6,
            few=None if shift == "forward_lt-50" else 0.5,
            macro=0.6,
            top1_all=0.75,
            shares=shares[threshold],
            shares_many=shares[threshold],
            shares_medium=shares[threshold],
            shares_few=None if shift == "forward_lt-50" else shares[threshold],
            mean_experts=mean,
            macs=1e6 * (1 + mean) if macs else None,
            macs_all=4e6 if macs else None,
        )
        for threshold, mean in means.items()
    ]


def keep(results: Path, rows: list[Any]) -> None:
    """One file for each checkpoint."""
    by_checkpoint: dict[str, list[Any]] = {}
    for row in rows:
        by_checkpoint.setdefault(row.checkpoint_sha256, []).append(row)
    for sha256, own in by_checkpoint.items():
        files = type(own[0]).files()
        files.store(files.path(results, sha256[:12]), own)


def drawn(section: Section) -> dict[str, bytes]:
    """Each figure as PNG bytes; drawing it must not fail, warn or touch matplotlib's settings."""
    files = {}
    for picture in section.pictures:
        assert picture.caption.endswith(".")
        assert picture.alternative.endswith(".")
        width, height = picture.figure.get_size_inches()
        assert width == WIDTH
        assert height <= 10
        file = io.BytesIO()
        picture.figure.savefig(file, dpi=50)
        files[picture.name] = file.getvalue()
    return files


def test_nothing_stored_is_no_section(tmp_path: Path) -> None:
    assert preference.section(tmp_path) is None
    assert routing.section(tmp_path) is None


def test_preference_section(tmp_path: Path) -> None:
    keep(
        tmp_path,
        [
            row
            for seed in (0, 1)
            for shift in SHIFTS
            for method, kind, slope in (("sade", "weights", 0.3), ("prl", "hypernetwork", 0.01))
            for row in sweep_rows(method, kind, slope, seed, shift)
        ],
    )
    before = dict(matplotlib.rcParams)
    section = preference.section(tmp_path)
    assert section is not None
    for said in ("2.0 points in prl (hypernetwork, rank correlation 1.00)", "60.0 points in sade (weights"):
        assert said in section.lead
    assert "The best hypernetwork, prl, spans less than the best control without one, sade" in section.lead
    control, choices, by_shift = section.tables
    assert [row[0] for row in control.rows] == ["prl", "sade"], "hypernetworks first"
    by_column = dict(zip(control.columns, control.rows[1], strict=True))
    assert by_column["few from"] == pytest.approx(0.3)
    assert by_column["few to"] == pytest.approx(0.9)
    assert (by_column["seeds"], by_column["control"]) == (2, pytest.approx(1))
    regrets = {row[:2]: dict(zip(choices.columns, row, strict=True)) for row in choices.rows}
    assert regrets["sade", "best"]["knew"] == "test labels"
    assert regrets["sade", "em"]["regret"] == 0
    assert regrets["sade", "stability"]["regret"] == pytest.approx(0.03)
    assert regrets["sade", "centre"]["top-1"] == pytest.approx(0.6 + 0.005 + 0.01)
    assert regrets["sade", "centre"]["sd"] == pytest.approx(0.01 / np.sqrt(2))
    assert by_shift.columns[2:] == ("F50", "U", "B50")
    assert set(drawn(section)) == {"preference-maps", "preference-front", "preference-choices"}
    assert dict(matplotlib.rcParams) == before


def test_a_sweep_without_groups_three_experts_or_views(tmp_path: Path) -> None:
    import dataclasses

    rows = [
        dataclasses.replace(row, few=None, agreement=None, preference=[row.preference[0], 1 - row.preference[0]])
        for row in sweep_rows("balpoe:tau=0/1", "weights", 0.2)
        if row.selection != "stability"
    ]
    keep(tmp_path, rows)
    section = preference.section(tmp_path)
    assert section is not None
    assert "few-shot" not in section.lead
    assert set(drawn(section)) == {"preference-choices"}
    assert section.tables[0].rows[0][3] is None
    assert "stability" not in {row[1] for row in section.tables[1].rows}


def test_settings_are_kept_apart_and_shifts_shared(tmp_path: Path) -> None:
    rows = [row for shift in SHIFTS for row in sweep_rows("prl", "hypernetwork", 0.01, 0, shift)]
    rows += sweep_rows("sade", "weights", 0.3, 0, "uniform")
    rows += sweep_rows("sade", "weights", 0.3, 5, "uniform", dataset="cifar100", recipe_sha256="p" * 64)
    keep(tmp_path, rows)
    section = preference.section(tmp_path)
    assert section is not None
    assert len(section.tables) == 6
    assert {picture.name for picture in section.pictures} >= {"preference-maps", "preference-2-maps"}
    assert section.tables[2].columns[2:] == ("U",)
    assert "means over uniform" in section.tables[0].caption or "means over uniform" in section.tables[3].caption
    assert len(drawn(section)) == 6


def test_the_finest_sweep_of_a_checkpoint_is_kept() -> None:
    import dataclasses

    coarse = sweep_rows("sade", "weights", 0.3)
    fewer_views = [dataclasses.replace(row, study_id="v" * 64, views=1) for row in coarse]
    (kept,) = sweeps_of([*fewer_views, *coarse])
    assert kept.first.views == 3
    newer = [dataclasses.replace(row, study_id="n" * 64, evidence_version=2, views=1) for row in coarse]
    (kept,) = sweeps_of([*newer, *coarse])
    assert kept.first.evidence_version == 2
    with pytest.raises(ValueError, match="lattice"):
        sweeps_of([row for row in coarse if row.selection != LATTICE])


def test_routing_section(tmp_path: Path) -> None:
    rows = [
        row
        for method in ("ride", "ride_distilled")
        for seed in (0, 1)
        for shift in SHIFTS
        for row in route_rows(method, seed, shift)
    ]
    keep(tmp_path, rows)
    times = {"seconds": [1.0, 2.0, 1.5], "seconds_all": [3.0, 3.0, 9.0]}
    times |= {"cpu_seconds": [1.0, 1.0, 1.0], "cpu_seconds_all": [1.5, 1.5, 1.5]}
    measured = fake(
        MeasuredRow,
        **model("ride", 0, "uniform"),
        device="cpu (x86_64)",
        threads=1,
        batch=128,
        threshold=0.5,
        images=500,
        mean_experts=2.0,
        macs=3e6,
        macs_all=4e6,
        agreed=1.0,
        largest_difference=1e-6,
        **times,
    )
    keep(tmp_path, [measured])
    section = routing.section(tmp_path)
    assert section is not None
    assert "ride runs 2.00 on forward_lt-50 (-5.0 points)" in section.lead
    assert "saves 25 % of the MACs" in section.lead
    assert "2.00 to 2.00 times as long" in section.lead
    by_shift, thresholds, groups, timed = section.tables
    first = dict(zip(by_shift.columns, by_shift.rows[0], strict=True))
    assert (first["shift"], first["stop after 1"], first["MACs (M)"], first["few"]) == ("F50", 0.5, 3.0, None)
    assert len(by_shift.rows) == 2 * len(SHIFTS)
    assert [row[1] for row in thresholds.rows] == [0.0, 0.5, 1.0] * 2
    assert groups.rows[0][2:] == (2.0, 2.0, None)
    cells = dict(zip(timed.columns, timed.rows[0], strict=True))
    assert (cells["times faster"], cells["times less CPU"]) == (2.0, 1.5)
    assert cells["times fewer MACs"] == pytest.approx(4 / 3)
    assert set(drawn(section)) == {"routing-cost", "routing-shares"}


def test_routes_without_macs_cost_experts(tmp_path: Path) -> None:
    keep(tmp_path, route_rows("theirs", macs=False))
    section = routing.section(tmp_path)
    assert section is not None
    assert "MACs" not in section.lead
    (cost,) = (picture for picture in section.pictures if picture.name == "routing-cost")
    assert cost.figure.get_supxlabel() == "mean experts run"
    assert len(drawn(section)) == 2
