"""Rows of others joined with ours: equal ones once, two contents of one identity refused, nothing else lost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.board.merge import CIRCUMSTANCES, difference, identity, merged
from harness.records import label_rows, rows
from harness.records.rows import Row
from shifts.common.errors import BadInput
from shifts.common.files import digest
from tests.harness.fake import fake_label_row, fake_row
from tests.harness.small import call, leaderboard_bytes

MODULE = "harness.leaderboard"


def made(**changes: Any) -> Row:
    """A row whose row_id follows from what is changed."""
    return fake_row(row_id=digest(sorted(changes.items())), **changes)


def packed(folder: Path, *found: Row) -> Path:
    rows.pack(found, folder)
    return folder


def test_rows_of_several_folders_are_joined_and_known_ones_kept_once(tmp_path: Path) -> None:
    shared, ours, theirs = made(train_seed=0), made(train_seed=1), made(train_seed=0, method="ride", dataset="a/b")
    first = packed(tmp_path / "ours", shared, ours)
    second = packed(tmp_path / "theirs", replace(shared, adapt_seconds=9.0, revision="other"), theirs)
    label_rows.pack([fake_label_row()], second)
    joined = merged([first, second])
    assert joined.single == sorted(
        [shared, ours, theirs], key=lambda row: (row.dataset, row.method, row.train_seed or 0)
    )
    assert joined.multi == [fake_label_row()]
    assert joined.taken == [(first, 2, 0), (second, 2, 1)]


def test_the_command_writes_rows_and_leaderboard_elsewhere(tmp_path: Path) -> None:
    first, second = packed(tmp_path / "ours", made(train_seed=0)), packed(tmp_path / "theirs", made(train_seed=1))
    done = call("--results", first, "--merge", second, first, "--pack", tmp_path / "all", module=MODULE)
    assert (done.status, done.err) == (0, "")
    assert f"{second}: 1 rows, 0 more that were there before" in done.out
    assert f"{first}: 0 rows, 1 more that were there before" in done.out
    assert len(rows.load_all(tmp_path / "all")) == 2
    packed(tmp_path / "both", made(train_seed=0), made(train_seed=1))
    call("--results", tmp_path / "both", module=MODULE)
    assert leaderboard_bytes(tmp_path / "all") == leaderboard_bytes(tmp_path / "both")
    assert not (first / "leaderboard.json").exists()
    assert len(rows.load_all(first)) == 1


@pytest.mark.parametrize("name", ["top1", "checkpoint_sha256", "correct_bits", "weights"])
def test_another_content_of_one_row_is_refused_by_name(name: str, tmp_path: Path) -> None:
    row = made(train_seed=0)
    other = {"top1": 0.9, "checkpoint_sha256": "f" * 64, "correct_bits": "AAAA", "weights": [1.0]}[name]
    first, second = packed(tmp_path / "ours", row), packed(tmp_path / "theirs", replace(row, **{name: other}))
    with pytest.raises(BadInput) as caught:
        call("--results", first, "--merge", second, "--pack", tmp_path / "all", module=MODULE)
    assert f"{second}: sade + mean on backward_lt-50, seed 0 (" in str(caught.value)
    assert f"{name} is another in {first}: sade + mean on " in str(caught.value)
    assert not (tmp_path / "all").exists()


def test_two_rows_of_one_setting_and_seed_are_refused(tmp_path: Path) -> None:
    row = made(train_seed=0)
    first, second = packed(tmp_path / "ours", row), packed(tmp_path / "theirs", replace(row, row_id="0" * 64))
    with pytest.raises(BadInput, match=r"setting, draw and train seed are those of .*ours"):
        merged([first, second])
    merged([first, packed(tmp_path / "newer", replace(row, row_id="0" * 64, adapter_version=row.adapter_version + 1))])


def test_two_contents_within_one_folder_are_refused(tmp_path: Path) -> None:
    row = made(train_seed=0)
    folder = packed(tmp_path / "theirs", row)
    rows.store(folder / "rows" / "x" / "1.json", replace(row, top1=0.9))
    with pytest.raises(BadInput, match="top1 is another in"):
        merged([folder])


def test_of_two_rows_the_one_with_more_redraws_stays(tmp_path: Path) -> None:
    row = made(train_seed=0)
    assert len(row.redraws) > 1
    fewer = replace(row, redraws=row.redraws[:1])
    for number, pair in enumerate([(row, fewer), (fewer, row)]):
        folders = [packed(tmp_path / f"{number}{place}", one) for place, one in enumerate(pair)]
        assert merged(folders).single == [row]
    other = replace(row, redraws=[row.redraws[0] | {"top1": 0.9}])
    assert difference(row, other) == "redraws"


def test_circumstances_make_no_difference_and_everything_else_does() -> None:
    row = fake_row()
    assert set(CIRCUMSTANCES) < set(rows.FILES.kind.fields)
    for name in rows.FILES.kind.fields:
        other = replace(row, **{name: "another"})
        assert difference(row, other) == (None if name in CIRCUMSTANCES else name), name
    assert identity(row) != identity(replace(row, train_seed=99))


def test_withdrawn_rows_are_left_out(tmp_path: Path) -> None:
    folder = packed(tmp_path / "theirs", made(train_seed=0), made(adapter="eb_em", adapter_version=1))
    assert [row.train_seed for row in merged([folder]).single] == [0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--merge", "theirs"], "--merge needs --pack DIR"),
        (["--merge", "nowhere", "--pack", "all"], "there is no results folder nowhere"),
        (["--merge", "empty", "--pack", "all"], "empty holds no rows"),
    ],
)
def test_bad_input(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packed(Path("results"), made(train_seed=0))
    packed(Path("theirs"), made(train_seed=1))
    Path("empty").mkdir()
    with pytest.raises(BadInput, match=said):
        call(*arguments, module=MODULE)
    assert not Path("all").exists()
