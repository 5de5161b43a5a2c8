"""What the first screen says: every choice its own answer, the same as the answer itself."""

import pytest

from harness.choice.answers import situations
from harness.pages.blocks import blocks
from harness.pages.picks import BARS, Pick, first, packed, picks
from tests.harness.pages.made import measured


@pytest.fixture(scope="module")
def found() -> list[Pick]:
    rows = [*measured(), *measured("balpoe", more=0.013), *measured("prl", more=0.01), *measured(dataset="other")]
    return [pick for block in blocks(rows) for pick in picks(block)]


def test_each_shift_and_all_have_a_pick_for_what_is_at_hand(found: list[Pick]) -> None:
    of_one = [pick for pick in found if pick.setting.startswith("embedded")]
    assert len({(pick.over, pick.test, pick.source) for pick in of_one}) == len(of_one) == 12 * 2
    assert of_one[0].over == "the 11 published shifts, mean"
    assert {pick.test for pick in of_one} == {"inductive", "transductive"}


def test_a_pick_says_what_the_answer_says(found: list[Pick]) -> None:
    (block,) = blocks([*measured(), *measured("balpoe", more=0.013), *measured("prl", more=0.01)])
    for answer, pick in zip(situations(block.rows), found, strict=False):
        best = answer.best_mean
        assert pick.sentence.startswith(f"{answer.situation}, over the 11 published shifts: {best.method}")
        assert f"is right on {100 * best.mean:.1f} %" in pick.sentence
        assert pick.bars[0].mean == round(100 * best.mean, 1)
        assert [bar.best for bar in pick.bars[:BARS]] == [one.best_group for one in answer.contenders[:BARS]]
        assert any(bar.name.endswith("no adaptation") for bar in pick.bars)


def test_bars_lie_on_the_axis(found: list[Pick]) -> None:
    for pick in found:
        low, high = pick.scale
        assert low < high
        assert all(low <= bar.low <= bar.mean <= bar.high <= high for bar in pick.bars)


def test_the_first_is_with_unlabelled_images(found: list[Pick]) -> None:
    pick = first(found)
    assert pick is not None
    assert (pick.over, pick.test, pick.source) == ("the 11 published shifts, mean", "transductive", False)
    assert first([]) is None
    alone = [one for one in found if one.test == "inductive"]
    assert first(alone) == alone[0]


def test_packed_picks_are_the_picks(found: list[Pick]) -> None:
    data = packed(found)
    again = [(data["settings"][line[0]], data["overs"][line[1]], *line[2:5]) for line in data["picks"]]
    assert again == [(pick.setting, pick.over, pick.test, pick.source, pick.sentence) for pick in found]
    names = [[data["names"][bar[0]] for bar in line[6]] for line in data["picks"]]
    assert names == [[bar.name for bar in pick.bars] for pick in found]
