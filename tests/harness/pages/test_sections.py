"""Sections: their numbers are those of the rows, and parts without data are left out."""

import re
from dataclasses import replace

import pytest

from harness.pages.blocks import Block, blocks
from harness.pages.sections import accuracy, adaptation, calibration, choice, published, weights
from harness.records.rows import Row
from harness.show import drawing, plot
from harness.show.section import Picture
from harness.show.shifts import short
from tests.harness.fake import fake_row
from tests.harness.pages.made import WEIGHTS, column, measured


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return [*measured(), *measured("balpoe")]


@pytest.fixture(scope="module")
def block(found: list[Row]) -> Block:
    return blocks(found)[0]


def mean(found: list[Row], field: str, **where: object) -> float:
    """Mean of a field over the rows that match."""
    own = [getattr(row, field) for row in found if all(getattr(row, name) == value for name, value in where.items())]
    assert len(own) == 2
    return sum(own) / 2


def test_accuracy_by_shift(block: Block, found: list[Row]) -> None:
    section = accuracy.by_shift(block)
    assert [table.caption.split(":")[0] for table in section.tables] == [
        "One image at a time",
        "The unlabelled test set",
        "Upper references, told the truth",
    ]
    assert [picture.name for picture in section.pictures] == [
        f"embedded-if100-quick-accuracy-{key}" for key in ("inductive", "transductive", "told")
    ]
    for table in section.tables:
        assert len(table.rows) in (2, 4)
        for row in table.rows:
            values = dict(zip(table.columns, row, strict=True))
            for shift in block.shifts:
                wanted = mean(found, "top1", method=values["method"], adapter=values["adapter"], shift=shift)
                assert values[f"{short(shift)} %"] == pytest.approx(wanted)
            own = [values[f"{short(shift)} %"] for shift in block.shifts]
            assert values["mean %"] == pytest.approx(sum(own) / 11)  # type: ignore[arg-type]
            assert values["worst %"] == min(own)  # type: ignore[type-var]


def test_a_line_that_lacks_shifts_has_no_mean(found: list[Row]) -> None:
    some = [row for row in found if not (row.adapter == "em" and row.shift == "uniform")]
    table = accuracy.by_shift(blocks(some)[0]).tables[1]
    for row in table.rows:
        values = dict(zip(table.columns, row, strict=True))
        assert (values["mean %"] is None) == (values["U %"] is None) == (values["adapter"] == "em")


def test_accuracy_by_distance(found: list[Row]) -> None:
    distance = {"forward_lt-50": 0.05, "backward_lt-50": 0.8}
    near_far = blocks([replace(row, tv_train_test=distance.get(row.shift, 0.5)) for row in found])[0]
    section = accuracy.by_distance(near_far)
    assert section is not None
    (table,) = section.tables
    for row in table.rows:
        values = dict(zip(table.columns, row, strict=True))
        method = values["method"]
        near = mean(found, "top1", method=method, adapter="mean", shift="forward_lt-50")
        far = mean(found, "top1", method=method, adapter="mean", shift="backward_lt-50")
        assert values["F50: top-1 %"] == pytest.approx(near)
        assert values["difference, points"] == pytest.approx(far - near)
        assert values["best adapter"] == "sade"
        assert values["B50 with it %"] == pytest.approx(
            mean(found, "top1", method=method, adapter="sade", shift="backward_lt-50")
        )
        assert values["best upper reference"] == "oracle_prior"


def test_weights(block: Block) -> None:
    section = weights.section(block)
    assert section is not None
    (table,) = section.tables
    assert column(table, "U %") == WEIGHTS * 2
    assert column(table, "expert") == [1, 2, 3, 1, 2, 3]
    axes = section.pictures[0].figure.axes
    drawn = [line for line in axes[0].get_lines() if line.get_label() == "expert 1"]
    assert [list(line.get_ydata()) for line in drawn] == [[50.0] * 11]


def test_gains_and_losses(block: Block, found: list[Row]) -> None:
    section = adaptation.section(block)
    assert section is not None
    by_adapter, losses = section.tables
    assert column(by_adapter, "adapter") == ["sade", "em", "oracle_prior"]
    for adapter, gain in zip(column(by_adapter, "adapter"), column(by_adapter, "mean gain, points"), strict=True):
        own = [row.delta_to_mean for row in found if row.adapter == adapter]
        assert gain == pytest.approx(sum(own) / len(own))
    hurt = {
        (row.method, row.adapter, row.shift)
        for row in found
        if row.adapter != "oracle_prior" and row.top1 - row.delta_to_mean > row.top1_high
    }
    marked = set(zip(*(column(losses, name) for name in ("method", "adapter", "shift")), strict=True))
    on_every_seed = {key for key in hurt if all(_hurts(row) for row in found if _key(row) == key)}
    assert marked == on_every_seed
    assert marked
    assert column(losses, "against no adaptation, points") == sorted(column(losses, "against no adaptation, points"))
    assert f"{len(marked)} lose more than the interval" in section.lead


def _key(row: Row) -> tuple[str, str, str]:
    return row.method, row.adapter, row.shift


def _hurts(row: Row) -> bool:
    return row.top1 - row.delta_to_mean > row.top1_high


def test_the_heat_map_says_each_gain_and_frames_each_loss(block: Block) -> None:
    section = adaptation.section(block)
    assert section is not None
    figure = section.pictures[0].figure
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    gains = [
        f"{100 * entry['delta_to_mean']['mean']:+.1f}"
        for line in block.of("transductive")
        for entry in line.entries.values()
    ]
    assert sorted(texts) == sorted("0.0" if gain in ("+0.0", "-0.0") else gain for gain in gains)
    frames = sum(len(axes.patches) for axes in figure.axes)
    assert frames == len(section.tables[1].rows)


def test_reliability_comes_from_the_stored_bins(found: list[Row]) -> None:
    bins = {"bins_count": [0] * 5 + [100] + [0] * 8 + [30], "bins_correct": [0] * 5 + [20] + [0] * 8 + [27]}
    confidence = {"bins_confidence": [0.0] * 5 + [38.0] + [0.0] * 8 + [29.4]}
    section = calibration.section(blocks([replace(row, **bins, **confidence) for row in found])[0])  # type: ignore[arg-type]
    assert section is not None
    panel = section.pictures[0].figure.axes[0]
    line = next(line for line in panel.get_lines() if line.get_label() == "uniform")
    assert list(line.get_xdata()) == pytest.approx([38.0, 98.0])
    assert list(line.get_ydata()) == pytest.approx([20.0, 90.0])
    assert section.lead.startswith("Expected calibration error without adaptation, in percent, runs on forward_lt-50")


def test_measured_beside_reported() -> None:
    figure = {"reported_value": 0.6, "reported_source": "the paper", "reported_primary": True}
    found = [fake_row(train_seed=0, top1=0.62, **figure), fake_row(train_seed=1, top1=0.66, **figure)]
    section = published.section(blocks([*found, fake_row(method="ride")])[0])
    assert section is not None
    (row,) = section.tables[0].rows
    values = dict(zip(section.tables[0].columns, row, strict=True))
    assert values["measured %"] == pytest.approx(0.64)
    assert values["difference, points"] == pytest.approx(0.04)
    assert values["in seed sd"] == pytest.approx(0.04 / (0.04 / 2**0.5))
    assert (values["source"], values["authors' own"], values["seeds"]) == ("the paper", True, 2)
    assert "1 of 1 lie within two standard deviations" in section.lead
    assert section.lead.endswith("The recipe here is quick, not the papers' own.")


def test_one_seed_has_no_spread_to_measure_a_difference_in() -> None:
    found = [fake_row(reported_value=0.6, reported_source="log", reported_primary=False)]
    section = published.section(blocks(found)[0])
    assert section is not None
    values = dict(zip(section.tables[0].columns, section.tables[0].rows[0], strict=True))
    assert (values["± sd %"], values["in seed sd"]) == (None, None)
    assert "standard deviations" not in section.lead


def test_parts_without_data_are_left_out() -> None:
    (block,) = blocks([fake_row(bins_count=[0] * 15)])
    assert weights.section(block) is None
    assert adaptation.section(block) is None
    assert calibration.section(block) is None
    assert published.section(block) is None
    assert accuracy.by_distance(block) is None
    assert accuracy.by_shift(block).tables[0].rows[0][:2] == ("sade", "mean")


def test_answers_keep_their_numbers(block: Block) -> None:
    from harness.choice.answers import answers, situations

    made = choice.choices(block)
    for shown, answer in zip(made.by_situation, situations(block.rows), strict=True):
        assert shown.sentence == answer.sentence
        assert shown.title == answer.situation
        assert column(shown.table, "mean %") == [one.mean for one in answer.contenders]
        assert [card.value for card in shown.cards] == [
            f"{100 * answer.best_mean.mean:.1f} %",
            f"{100 * answer.best_worst.worst:.1f} %",
            f"{100 * answer.least_regret.regret:.1f} points",
        ]
    assert column(made.situations, "what you have") == [choice.title for choice in made.by_situation]
    assert column(made.situations, "best mean") == [choice.cards[0].winner for choice in made.by_situation]
    classes = answers(block.rows)
    assert column(made.classes, "mean %") == [one.best_mean.mean for one in classes]
    assert column(made.classes, "regret, % points") == [one.least_regret.regret for one in classes]
    assert column(made.classes, "what you have") == [
        "One image at a time, no test prior",
        "The unlabelled test set, no test prior",
        "The unlabelled test set, an estimated test prior",
        "Upper reference, told the true test prior (no choice in practice)",
    ]


def test_no_answer_without_a_whole_set_of_shifts() -> None:
    made = choice.choices(blocks([fake_row()])[0])
    assert (made.by_situation, made.by_class) == ((), ())


def test_order_free_shifts_stand_apart_as_family_means() -> None:
    axis = plot.ShiftAxis(("forward_lt-2", "uniform", "dirichlet-1-s0", "dirichlet-1-s1", "shuffled_lt-50-s0"))
    places = axis.places
    assert places["dirichlet-1-s0"] == places["dirichlet-1-s1"] > places["uniform"] + 1
    line, apart = axis.split({shift: float(number) for number, shift in enumerate(axis.shifts)})
    assert line == [(0.0, 0.0), (1.0, 1.0)]
    assert [value for _, value in apart] == [2.5, 4.0]


def test_an_svg_has_neither_clock_nor_version_and_the_page_shows_it_without_paper(block: Block) -> None:
    picture = accuracy.by_shift(block).pictures[0]
    made = drawing.drawn(picture)
    assert made == drawing.drawn(accuracy.by_shift(block).pictures[0])
    assert "<dc:date>" not in made.svg
    assert "matplotlib.org" not in made.svg
    shown = drawing.inline(made, picture)
    assert re.match(r'<svg viewBox="[^"]+" role="img" aria-label="[^"]+" class="themed">', shown)
    assert "http" not in shown
    assert f"fill: {drawing.PAPER}" in made.svg
    assert f"fill: {drawing.PAPER}" not in shown
    assert re.findall("<text[^>]*>([^<]*)", shown) == re.findall("<text[^>]*>([^<]*)", made.svg)
    assert len(shown) < 0.8 * len(made.svg)


def test_a_heavy_figure_is_shown_by_its_pixels() -> None:
    from matplotlib.figure import Figure

    picture = Picture("map", Figure(figsize=(1, 1)), "caption", 'says "so" & <so>')
    assert 'aria-label="says &quot;so&quot; &amp; &lt;so&gt;"' in drawing.inline(drawing.drawn(picture), picture)
    assert drawing.inline(drawing.Drawing("<svg>" + "x" * drawing.HEAVY, b"abc"), picture) == (
        '<img class="paper" alt="says &quot;so&quot; &amp; &lt;so&gt;" src="data:image/png;base64,YWJj">'
    )
