"""Tables from fake rows: width, marks, order, blocks of access, intervals."""

from typing import Any

import pytest

from harness.board import table
from harness.board.build import build
from harness.board.schema import Entry
from harness.records.rows import Row
from harness.show import shifts
from harness.show.access import knew
from methods import papers
from shifts.labels.shift import published_shifts
from tests.harness.fake import fake_row

ELEVEN = [str(shift) for shift in published_shifts()]
ACCESS: dict[str, dict[str, Any]] = {
    "mean": {},
    "sade": {"test_access": "transductive", "views": 3, "weights": [0.2, 0.3, 0.5]},
    "em": {"prior_access": "estimated", "test_access": "transductive", "tv_estimate_test": 0.123},
    "stream_em": {"prior_access": "estimated", "test_access": "stream", "tv_estimate_test": 0.123},
    "calibrated": {"label_access": "source", "source_n": 5000, "source_seen": 82},
    "stream_history": {
        "prior_access": "estimated",
        "label_access": "source",
        "source_n": 5000,
        "source_seen": 82,
        "test_access": "stream",
    },
    "eb_em_recal": {
        "prior_access": "estimated",
        "label_access": "source",
        "source_n": 5000,
        "source_seen": 82,
        "test_access": "transductive",
        "tv_estimate_test": 0.01,
    },
    "oracle_prior": {"prior_access": "oracle"},
    "best_expert": {"label_access": "test", "test_access": "transductive"},
}


def entries(shifts: list[str], seeds: int = 1, **changes: Any) -> list[Entry]:
    """Every method with every adapter on these shifts; sade's weights hurt."""
    found: list[Row] = []
    for number, method in enumerate(papers.of_task("single_label")):
        for adapter, access in ACCESS.items():
            for shift in shifts:
                for seed in range(seeds):
                    top1 = 0.3 + 0.02 * number + 0.01 * seed - 0.2 * (adapter == "sade")
                    values: dict[str, Any] = {
                        "top1": top1,
                        "top1_low": top1 - 0.02,
                        "top1_high": top1 + 0.02,
                        "delta_to_mean": -0.2 if adapter == "sade" else 0.0,
                    }
                    values |= {"method": method, "adapter": adapter, "shift": shift, "train_seed": seed}
                    found.append(fake_row(**values | access | changes))
    return list(build(found)["entries"])


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize(
    ("shifts", "seeds"),
    [
        (["backward_lt-50"], 3),
        (ELEVEN, 1),
        pytest.param(["backward_lt-50"], 1, marks=pytest.mark.exhaustive),
        pytest.param(ELEVEN, 3, marks=pytest.mark.exhaustive),
    ],
)
def test_fits_120_columns_names_everything_and_marks_what_hurts(shifts: list[str], seeds: int) -> None:
    text = table.render(entries(shifts, seeds), shifts, width=120)
    assert widest(text) <= 120
    assert widest(table.render(entries(shifts, seeds, source_seen=0), shifts)) <= 120
    assert "5000 labels (82 trained on)" in text or len(shifts) > 1
    lines = text.splitlines()
    for method in papers.of_task("single_label"):
        for adapter in ACCESS:
            (line,) = [line for line in lines if line.split()[:2] == [method, adapter]]
            assert ("!" in line) == (adapter == "sade")
    assert f"{seeds} train seed" in text
    assert "embedded" in text


def test_best_first_within_blocks_of_equal_access() -> None:
    text = table.render(entries(["uniform"]), ["uniform"])
    blocks = text.split("\n-- ")[1:]
    assert [block.splitlines()[0] for block in blocks] == [
        "one image at a time",
        "a stream of unlabelled test images",
        "the unlabelled test set",
        "one image at a time and labelled source images",
        "a stream of unlabelled test images and labelled source images",
        "the unlabelled test set and labelled source images",
        "UPPER REFERENCES, told the true test prior",
        "UPPER REFERENCES, told the test labels",
    ]
    assert [{line.split()[1] for line in block.splitlines()[1:11]} for block in blocks[3:]] == [
        {"calibrated"},
        {"stream_history"},
        {"eb_em_recal"},
        {"oracle_prior"},
        {"best_expert"},
    ]
    adapters = [{line.split()[1] for line in block.splitlines()[1 : 1 + 20] if line[:1] != ""} for block in blocks]
    assert adapters[0] <= {"mean"}
    order = [line.split()[0] for line in blocks[0].splitlines()[1:]]
    assert order == list(papers.of_task("single_label"))[::-1], "accuracy rises with the method's number"


def test_one_seed_shows_a_wilson_interval_several_a_deviation() -> None:
    single = table.render(entries(["uniform"]), ["uniform"])
    several = table.render(entries(["uniform"], 3), ["uniform"])
    line = next(line for line in single.splitlines() if line.startswith("softmax") and " mean " in line)
    assert "28.0-32.0" in line
    assert "±" not in line
    line = next(line for line in several.splitlines() if line.startswith("softmax") and " mean " in line)
    assert "± 1.0" in line


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        ("mean", "nothing"),
        ("sade", "test images"),
        ("em", "test images"),
        ("oracle_prior", "true test prior"),
        ("best_expert", "test labels"),
    ],
)
def test_what_a_row_knew(adapter: str, words: str) -> None:
    (entry,) = build([fake_row(adapter=adapter, **ACCESS[adapter])])["entries"]
    assert knew(entry) == words


def test_source_labels_are_counted() -> None:
    access = {"label_access": "source", "test_access": "transductive", "source_n": 2000}
    (entry,) = build([fake_row(adapter="bbse", **access)])["entries"]
    assert knew(entry) == "images, 2000 labels"
    (entry,) = build([fake_row(adapter="calibrated", label_access="source", source_n=303, source_seen=303)])["entries"]
    assert knew(entry) == "303 labels (303 trained on)"


@pytest.mark.parametrize("shifts", [["uniform"], ["uniform", "backward_lt-50"]])
def test_a_note_says_what_was_trained_on(shifts: list[str]) -> None:
    note = "82 of 5,000 labelled source images were trained on"
    text = table.render(entries(shifts), shifts)
    assert text.count(note) == 1
    assert text.splitlines()[-1].startswith(note)
    assert "trained on" not in table.render(entries(shifts, source_seen=0), shifts)
    without = [entry for entry in entries(shifts) if entry["label_access"] != "source"]
    assert "trained on" not in table.render(without, shifts)


def test_an_empty_group_is_a_dash() -> None:
    (entry,) = build([fake_row(few=None, tv_estimate_test=None)])["entries"]
    line = next(line for line in table.render([entry], ["backward_lt-50"]).splitlines() if line.startswith("sade"))
    assert "-" in line.split()


def test_nothing_to_show() -> None:
    assert table.render([], ["uniform"]) == "no rows"


@pytest.mark.parametrize(
    ("shift", "heading"),
    [("forward_lt-50", "F50"), ("uniform", "U"), ("backward_lt-2", "B2"), ("dirichlet-0.1-s7", "dirichlet-0.1-s7")],
)
def test_short_headings(shift: str, heading: str) -> None:
    assert shifts.short(shift) == heading


def test_only_the_best_of_each_block_are_shown_where_asked_for() -> None:
    shifts = ["uniform", "backward_lt-50"]
    for wanted in (shifts[:1], shifts):
        whole, cut = (table.render(entries(wanted), wanted, top=top).splitlines() for top in (0, 1))
        assert len(cut) < len(whole)
        assert any("(best 1 of" in line for line in cut)
        kept = [line for line in cut if line.split()[:2] and line.split()[0] in papers.of_task("single_label")]
        best = [whole[number + 1] for number, line in enumerate(whole) if line.startswith("-- ")]
        assert [line.split()[:3] for line in kept] == [line.split()[:3] for line in best]
