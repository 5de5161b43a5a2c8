"""`python -m harness.check`: every kind of fault, planted in rows of the reference, is found; the unknown is said."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.board import build as leaderboard
from harness.checking.findings import CHECKS
from harness.evidence import files as evidence
from harness.measures.metrics import pack_bits, unpack_bits
from harness.records import label_rows, rows
from harness.records.label_rows import LabelRow
from harness.records.rows import Row
from shifts.common.files import write_text
from tests.harness.small import Result, call, command, one_line, random_pool

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
MODULE = "harness.check"
ADAPTERS = ("mean", "sade", "em", "bbse", "calibrated")
SHIFTS = ("uniform", "forward_lt-10", "shuffled_lt-50-s0")


@cache
def some() -> tuple[Row, ...]:
    """Rows of two networks of the reference, with a few adapters on a few test sets."""
    return tuple(
        row
        for row in rows.load_all(REFERENCE)
        if (row.dataset, row.train_seed) == ("embedded", 0)
        and row.method in ("softmax", "sade")
        and row.adapter in ADAPTERS
        and row.shift in SHIFTS
    )


@cache
def label_some() -> tuple[LabelRow, ...]:
    """Multi-label rows of one network of the reference."""
    return tuple(row for row in label_rows.load_all(REFERENCE) if (row.method, row.train_seed) == ("ltml", 0))


def folder(results: Path, found: list[Row], labels: list[LabelRow] | None = None, board: bool = False) -> Path:
    """A folder with a file for each row, whatever is wrong with it; its leaderboard where asked for."""
    for kind, made in (("", found), ("multi_label/", labels or [])):
        for number, row in enumerate(made):
            write_text(results / f"rows/{kind}x/{number}.json", json.dumps(asdict(row)))
    if board:
        leaderboard.write(results)
    return results


def check(results: Path, *arguments: object) -> Result:
    return call(results, *arguments, module=MODULE)


def kinds(result: Result) -> list[str]:
    """The kinds of fault that a command names, a line each."""
    return re.findall(r"^fault: (\w+): ", result.err, re.MULTILINE)


def table(result: Result) -> dict[str, tuple[str, str, str]]:
    """Check -> how often it holds, is at fault, cannot be made."""
    found = re.findall(r"^(\w+) +([\d,]+) +([\d,]+|-) +([\d,]+|-) ", result.out, re.MULTILINE)
    return {name: (holds, fault, unknown) for name, holds, fault, unknown in found}


def changed(**changes: Any) -> Callable[[list[Row]], list[Row]]:
    """The plant of a fault in the row of sade + em on forward_lt-10."""

    def plant(found: list[Row]) -> list[Row]:
        return [replace(row, **changes) if row is target(found) else row for row in found]

    return plant


def target(found: list[Row]) -> Row:
    (row,) = (r for r in found if (r.method, r.adapter, r.shift) == ("sade", "em", "forward_lt-10"))
    return row


def swapped(found: list[Row]) -> list[Row]:
    """Another image is right: the first wrong and the first right one of a class change places."""
    row = next(r for r in found if (r.method, r.adapter, r.shift) == ("sade", "mean", "forward_lt-10"))
    bits = unpack_bits(row.correct_bits, row.n)
    place = next(i for i in range(row.per_class_total[0] - 1) if bits[i] != bits[i + 1])
    bits[[place, place + 1]] = bits[[place + 1, place]]
    return [replace(r, correct_bits=pack_bits(bits)) if r is row else r for r in found]


def one_more_right(found: list[Row]) -> list[Row]:
    row = target(found)
    bits = unpack_bits(row.correct_bits, row.n)
    bits[int((~bits).argmax())] = True
    return [replace(r, correct_bits=pack_bits(bits)) if r is row else r for r in found]


def in_two_files(found: list[Row]) -> list[Row]:
    return [*found, replace(target(found), entropy=0.5)]


def under_another_id(found: list[Row]) -> list[Row]:
    return [*found, replace(target(found), adapt_seconds=9.5, row_id="0" * 64)]


def under_another_name(found: list[Row]) -> list[Row]:
    """All rows of softmax once more as a method of somebody."""
    copied = [replace(row, method="mine", row_id=f"{n:064x}") for n, row in enumerate(found) if row.method == "softmax"]
    return [*found, *copied]


def adapter_renamed(found: list[Row]) -> list[Row]:
    copied = [replace(row, adapter="mine", row_id=f"{n:064x}") for n, row in enumerate(found) if row.adapter == "em"]
    return [*found, *copied]


def redraw(**changes: Any) -> Callable[[list[Row]], list[Row]]:
    def plant(found: list[Row]) -> list[Row]:
        row = target(found)
        first = row.redraws[0] | changes
        return [replace(r, redraws=[first, *r.redraws[1:]]) if r is row else r for r in found]

    return plant


PLANTED: dict[str, tuple[Callable[[list[Row]], list[Row]], set[str], str]] = {
    "NaN": (changed(nll=float("nan")), {"numbers"}, "nll is nan"),
    "NaN in a list": (changed(prior_estimate=[float("nan")] * 10), {"numbers"}, "prior_estimate is nan"),
    "out of range": (changed(ece=1.5), {"numbers"}, "ece is 1.5, not in 0..1"),
    "another length": (changed(predicted=[1]), {"numbers"}, "predicted has 1 entries for 10 classes"),
    "another total": (changed(n=7), {"numbers"}, "n is 7"),
    "no hash": (changed(indices_sha256="mine"), {"numbers"}, "no SHA-256"),
    "a newer version": (changed(adapter_version=9), {"versions", "row_id"}, "adapter em has version 9"),
    "newer metrics": (changed(metrics_version=9), {"versions", "row_id"}, "metrics has version 9"),
    "withdrawn": (changed(adapter="eb_em", adapter_version=1), {"withdrawn", "access", "row_id"}, "folds followed"),
    "access": (changed(test_access="inductive"), {"access"}, "test_access is inductive"),
    "shift's fields": (changed(shift_ratio=20.0), {"counts"}, "shift_ratio is 20"),
    "shift's name": (changed(shift="sideways"), {"counts", "draw", "row_id"}, "unknown shift"),
    "classes of a shift": (
        changed(shift="forward_lt-5", shift_ratio=5.0),
        {"counts", "draw", "row_id"},
        "per_class_total is",
    ),
    "training set": (changed(train_fingerprint="0" * 64), {"training"}, "train_fingerprint is"),
    "source": (
        lambda found: [replace(row, source_n=1999) if row.adapter == "bbse" else row for row in found],
        {"training"},
        "source_n is 1999 and comes to 2000",
    ),
    "test images": (changed(indices_sha256="0" * 64), {"draw", "row_id"}, "indices_sha256 is"),
    "test pool": (changed(test_fingerprint="0" * 64), {"draw"}, "not those at hand"),
    "row_id": (changed(row_id="0" * 64), {"row_id"}, "row_id is 0000"),
    "top-1": (changed(top1=0.5), {"accuracy", "gains"}, "top1 is 0.5 and comes to"),
    "a group": (changed(few=0.5), {"accuracy"}, "few is 0.5 and comes to"),
    "the interval": (changed(top1_low=0.1), {"accuracy"}, "top1_low is 0.1"),
    "a bit": (one_more_right, {"accuracy", "gains"}, "top1 is"),
    "length of the bits": (changed(correct_bits="AAAA"), {"numbers"}, "bytes of correctness bits"),
    "a calibration error": (changed(ece=0.3), {"calibration"}, "ece is 0.3"),
    "a distance": (changed(tv_predicted_test=0.3), {"distances"}, "tv_predicted_test is 0.3"),
    "an estimate": (changed(prior_estimate=[0.1] * 10), {"distances"}, "tv_estimate_test is"),
    "train counts": (changed(train_n=99), {"distances", "training"}, "train_n is 99"),
    "experts": (changed(etvd=0.3), {"experts"}, "etvd is 0.3"),
    "a redraw": (redraw(top1=0.123456), {"redraws", "gains"}, "top1 of redraw 1 is 0.123456"),
    "size of a redraw": (redraw(n=7), {"redraws"}, "redraw 1 has 7 images"),
    "seed of a redraw": (redraw(draw_seed=7), {"redraws"}, "seeds of redraws"),
    "fields of a redraw": (redraw(more=1), {"numbers"}, "a redraw has other fields: ['more']"),
    "a gain": (changed(delta_to_mean=0.3), {"gains"}, "delta_to_mean is 0.3"),
    "a p": (changed(mcnemar_p_to_mean=0.9), {"gains"}, "mcnemar_p_to_mean is 0.9"),
    "another image": (swapped, {"images"}, "2 of"),
    "a published figure": (changed(reported_value=0.9), {"published"}, "no figure of this setting is listed"),
    "one id twice": (in_two_files, {"one_content"}, "entropy is another in"),
    "one setting twice": (under_another_id, {"one_content", "row_id"}, "setting, draw and train seed are those of"),
    "a copied method": (under_another_name, {"copies"}, "the same answers and confidences as"),
    "a renamed adapter": (adapter_renamed, {"copies"}, "adapter mine answers as em does"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str, tmp_path: Path) -> None:
    plant, expected, said = PLANTED[name]
    done = check(folder(tmp_path / "results", plant(list(some()))), "--output", tmp_path / "check.md")
    assert done.status == 1
    assert set(kinds(done)) == expected
    assert len(kinds(done)) == len(expected), "one line for each kind"
    assert said in done.err
    text = (tmp_path / "check.md").read_text(encoding="utf-8")
    assert re.findall("^### Fault: (.*)$", text, re.MULTILINE) == kinds(done)
    assert all(fault != "-" for kind, (_, fault, _) in table(done).items() if kind in expected)


def test_what_is_sound_is_told_with_what_is_not_known(tmp_path: Path) -> None:
    done = check(folder(tmp_path, list(some()), list(label_some()), board=True))
    assert (done.status, done.err) == (0, "")
    assert "Nothing that could be checked is at fault." in done.out
    assert "No check reaches what a row does not hold the grounds of: nll" in done.out
    found = table(done)
    assert list(found) == list(CHECKS)
    assert all((fault, unknown) == ("-", "-") for _, fault, unknown in found.values())
    assert found["accuracy"][0] == f"{len(some()) + len(label_some())}"
    assert found["leaderboard"] == ("1", "-", "-")
    assert max(map(len, done.out.splitlines())) <= 80


LABELS_PLANTED: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "NaN": ({"map": float("nan")}, {"numbers"}, "map is nan"),
    "precision above 1": ({"per_class_ap": [1.5] * 10}, {"numbers"}, "per_class_ap"),
    "an interval": ({"map_interval": [0.9, 0.1]}, {"numbers"}, "map_interval is"),
    "a newer version": ({"metrics_version": 9}, {"versions"}, "metrics has version 9"),
    "access": ({"label_access": "source"}, {"access"}, "label_access is source"),
    "mAP": ({"map": 0.9}, {"accuracy"}, "map is 0.9 and comes to"),
    "F1": ({"f1_micro": 0.9}, {"accuracy"}, "f1_micro is 0.9 and comes to"),
    "right ones": ({"per_class_right": [999] * 10}, {"accuracy"}, "per_class_right has more"),
    "a distance": ({"tv_train_test": 0.1}, {"distances"}, "tv_train_test is 0.1"),
    "test images": ({"indices_sha256": "0" * 64}, {"draw"}, "indices_sha256 is"),
    "training set": ({"train_fingerprint": "0" * 64}, {"training"}, "train_fingerprint is"),
}


@pytest.mark.parametrize("name", LABELS_PLANTED)
def test_a_fault_of_a_multi_label_row_is_found(name: str, tmp_path: Path) -> None:
    changes, expected, said = LABELS_PLANTED[name]
    first, *others = label_some()
    done = check(folder(tmp_path, [], [replace(first, **changes), *others]))
    assert (done.status, set(kinds(done))) == (1, expected)
    assert said in done.err


def test_a_damaged_file_and_a_newer_schema_are_faults_of_files(tmp_path: Path) -> None:
    results = folder(tmp_path, list(some()))
    file = results / "rows" / "x" / "0.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(values | {"schema_version": 99}), encoding="utf-8")
    (results / "rows-embedded.parquet").write_bytes(b"PAR1 and nothing else")
    done = check(results)
    assert (done.status, kinds(done)) == (1, ["files"])
    assert "files: 2 times; first rows-embedded.parquet: not a file of rows" in one_line(done.err)
    assert table(done)["files"] == (str(len(some()) - 1), "2", "-")


def test_another_leaderboard_is_a_fault(tmp_path: Path) -> None:
    results = folder(tmp_path, list(some()), board=True)
    board = results / "leaderboard.json"
    board.write_text(board.read_text(encoding="utf-8").replace('"superseded":0', '"superseded":1'), encoding="utf-8")
    assert (
        one_line(check(results).err)
        == "fault: leaderboard: 1 time; first leaderboard.json: it is not what the rows give"
    )


def test_data_that_are_not_at_hand_leave_checks_open(tmp_path: Path) -> None:
    found = [row for row in rows.load_all(REFERENCE) if row.dataset == "cifar100" and row.shift in SHIFTS[:2]]
    done = check(folder(tmp_path, found), "--output", tmp_path / "check.md")
    assert done.status == 0
    count = f"{len(found)}"
    assert [table(done)[name] for name in ("training", "draw", "row_id")] == [("0", "-", count)] * 3
    assert table(done)["counts"] == (count, "-", "-"), "the catalog knows the pool of cifar100"
    assert "cifar100 is not at hand (--data-dir cifar100=DIR)" in " ".join(done.out.split())
    assert "Not or not wholly checked: training, draw, row_id, leaderboard." in " ".join(done.out.split())
    assert "Not or not wholly checked: training" in (tmp_path / "check.md").read_text(encoding="utf-8")


def test_rows_of_a_strangers_model_with_and_without_its_evidence(tmp_path: Path) -> None:
    file, results = tmp_path / "theirs.safetensors", tmp_path / "results"
    evidence.save(file, random_pool(0, images=150, classes=3))
    asked = ["--shift", "forward_lt-2", "dirichlet-1-s0", "natural", "--redraws", "2", "--adapters", "mean", "em"]
    assert call("--evidence", file, "--results", results, *asked).status == 0
    unknown, known = check(results), check(results, "--evidence", file)
    assert (unknown.status, known.status) == (0, 0)
    assert table(unknown)["row_id"] == ("6", "-", "-"), "it is made of the file's hash, which rows have"
    open_checks = ("counts", "training", "draw", "experts")
    assert [table(unknown)[name] for name in open_checks] == [("0", "-", "6")] * 4
    assert [table(known)[name] for name in open_checks] == [("6", "-", "-")] * 4
    evidence.save(file, random_pool(1, images=150, classes=3))
    assert "draw" in kinds(check(results, "--evidence", file))


def test_somebodys_own_adapter_is_not_counted_as_right(tmp_path: Path) -> None:
    found = [replace(row, adapter="mine") if row.adapter == "em" else row for row in some()]
    done = check(folder(tmp_path, found))
    assert done.status == 0
    own = str(sum(row.adapter == "mine" for row in found))
    assert all(table(done)[name][2] == own for name in ("versions", "access", "row_id"))
    assert "adapter mine is not this program's" in " ".join(done.out.split())


def test_text_of_a_row_cannot_pose_as_part_of_the_report(tmp_path: Path) -> None:
    name = "x\n\n**sound** | <b>\x1b[2J"
    found = [replace(row, method=name, row_id=f"{n:064x}") for n, row in enumerate(some())]
    done = check(folder(tmp_path / "results", found), "--output", tmp_path / "check.md")
    assert "\x1b" not in done.out + done.err
    text = (tmp_path / "check.md").read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert not any(part in text for part in ("**sound**", "<b>", "\n\n**s"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no results folder nowhere"),
        ([], "FOLDER"),
        ([".", "--data-dir", "cifar100"], "--data-dir 'cifar100' is not of the form NAME=DIR"),
        ([".", "--data-dir", "cifar100=nowhere"], "with a folder that is there"),
        ([".", "--evidence", "nowhere"], "--evidence nowhere is no file"),
        ([".", "--output", "."], "--output . is a folder"),
        (["."], ". holds no rows"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments, module=MODULE)
    assert done.status == 2
    assert said in one_line(done.err)


def test_a_plan_says_what_can_be_drawn_again(tmp_path: Path) -> None:
    shutil.copy(REFERENCE / "multi_label-embedded_mosaics.parquet", tmp_path)
    found = [row for row in rows.load_all(REFERENCE) if row.dataset == "cifar100"][:3]
    done = check(folder(tmp_path, [*found, *some()]), "--dry-run")
    assert (done.status, done.err) == (0, "")
    assert f"embedded: {len(some())} rows, drawn again" in done.out
    assert "embedded_mosaics: 90 rows, drawn again" in done.out
    assert "cifar100: 3 rows, not drawn again: cifar100 is not at hand (--data-dir cifar100=DIR)" in done.out


def test_the_list_names_every_check() -> None:
    done = command("--list", module=MODULE)
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == list(CHECKS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("where", [REFERENCE, REFERENCE / "cifar100-x0.1"], ids=lambda where: where.name)
def test_the_reference_is_sound(where: Path) -> None:
    done = check(where)
    assert (done.status, done.err) == (0, "")
