"""Options on names: one text for one value, parsed back to the same value; everything else is refused."""

import importlib
import sys
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods import papers
from methods.core.options import build, canonical_name, docstring, look_up, parse_value, split_name
from shifts.common.errors import BadInput


@dataclass(frozen=True)
class Thing:
    """One field of every kind that an option may have."""

    name = "thing"
    flag: bool = False
    size: int = 3
    rate: float = 0.5
    taus: tuple[float, ...] = (0.0, 1.0)
    counts: tuple[int, ...] = (1, 2)
    form: Literal["inner", "cosine"] = "cosine"
    word: str = "plain"


finite = st.floats(allow_nan=False, allow_infinity=False)
things = st.builds(
    Thing,
    flag=st.booleans(),
    size=st.integers(),
    rate=finite,
    taus=st.lists(finite, min_size=1, max_size=5).map(tuple),
    counts=st.lists(st.integers(), min_size=1, max_size=5).map(tuple),
    form=st.sampled_from(["inner", "cosine"]),
    word=st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), min_size=1),
)


@given(things)
def test_canonical_text_reads_back_as_the_same_value(thing: Thing) -> None:
    text = canonical_name(thing)
    name, options = split_name(text)
    assert name == "thing"
    assert build(Thing, options) == thing
    assert canonical_name(build(Thing, options)) == text


@given(st.permutations(["flag=true", "rate=2", "size=4", "taus=1/2"]))
def test_the_order_of_options_does_not_matter(parts: list[str]) -> None:
    thing = build(Thing, split_name("thing:" + ",".join(parts))[1])
    assert canonical_name(thing) == "thing:flag=true,rate=2,size=4,taus=1/2"


def test_defaults_are_left_out_and_numbers_are_short() -> None:
    assert canonical_name(Thing()) == "thing"
    assert canonical_name(Thing(rate=0.5, size=3, taus=(0.0, 1.0))) == "thing"
    assert canonical_name(build(Thing, {"rate": "0.10", "taus": "0/.5/2.0"})) == "thing:rate=0.1,taus=0/0.5/2"


def test_values_that_differ_late_have_different_texts() -> None:
    assert canonical_name(Thing(rate=1.0000001)) != canonical_name(Thing(rate=1.0000002))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sade:tua=3", "unknown option of sade 'tua'; allowed: tau"),
        ("sade:tau=big", "tau='big' is not of type float"),
        ("sade:tau=", "tau='' is not of type float"),
        ("sade:tau=nan", "tau='nan' is not .*finite"),
        ("sade:tau=-inf", "tau='-inf' is not .*finite"),
        ("balpoe:tau=0/1/inf", "tau='0/1/inf' is not .*finite"),
        ("balpoe:tau=0/1/x", "tau='0/1/x' is not of type numbers joined by /"),
        ("balpoe:tau=0//1", "is not of type numbers joined by /"),
        ("balpoe:mixup=-1", "balpoe: mixup must be >= 0"),
        ("sade:tau", "option 'tau' of 'sade:tau' is not key=value"),
        ("sade:=3", "option '=3' of 'sade:=3' is not key=value"),
        ("sade:tau=2,tau=3", "option 'tau' is given twice"),
        ("logit_adjusted:posthoc=yes", "unknown value of posthoc 'yes'; allowed: true, false"),
        ("softmax:tau=1", "softmax takes no options; given: 'tau'"),
        ("sad", "unknown method 'sad'; allowed: sade"),
        ("", "unknown method ''"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        papers.get(text)


def test_kinds_of_values() -> None:
    assert [parse_value("flag", text, bool) for text in ("true", "FALSE")] == [True, False]
    assert parse_value("taus", "0/1.5", tuple[float, ...]) == (0.0, 1.5)
    assert parse_value("counts", "3", tuple[int, ...]) == (3,)
    assert parse_value("form", "inner", Literal["inner", "cosine"]) == "inner"
    with pytest.raises(BadInput, match=r"unknown value of form 'outer'; allowed: .*inner"):
        parse_value("form", "outer", Literal["inner", "cosine"])
    with pytest.raises(BadInput, match=r"size='1\.5' is not of type int"):
        parse_value("size", "1.5", int)


def test_options_reach_the_method() -> None:
    method = papers.get("balpoe:mixup=0,tau=0/0.5/1")
    assert (method.tau, method.mixup) == ((0.0, 0.5, 1.0), 0.0)  # type: ignore[attr-defined]
    assert canonical_name(method) == "balpoe:mixup=0,tau=0/0.5/1"
    assert canonical_name(papers.get("logit_adjusted:posthoc=True,tau=1.0")) == "logit_adjusted:posthoc=true"


def test_look_up_imports_only_what_is_asked_for() -> None:
    table = {"sade": "methods.papers.sade:Sade", "broken": "methods.no_such_module:Broken"}
    assert canonical_name(look_up("method", "sade:tau=3", table)) == "sade:tau=3"
    with pytest.raises(ModuleNotFoundError):
        look_up("method", "broken", table)


def test_every_method_has_a_headline_that_begins_with_its_name() -> None:
    listed = dict(papers.names())
    assert list(listed) == list(papers.METHODS)
    assert all(line.startswith(name) for name, line in listed.items())


def test_a_docstring_is_the_same_whether_or_not_its_module_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "methods.papers.softmax"
    importlib.import_module(name)
    loaded = docstring(name)
    monkeypatch.delitem(sys.modules, name)
    assert docstring(name) == loaded
    assert name not in sys.modules
