"""What a row knew, in words. A table never ranks rows of different headings together."""

from collections.abc import Mapping
from typing import Any

from harness.evidence.access import TESTS, Access

SEEN = {
    "inductive": "one image at a time",
    "stream": "a stream of unlabelled test images",
    "transductive": "the unlabelled test set",
}
"""Test access -> what was seen."""
SITUATIONS = {test: SEEN[test][0].upper() + SEEN[test][1:] for test in TESTS} | {
    "source": "Labelled source images beyond the training set",
    "told": "Upper references, told the truth",
}
"""What a user may have, in the order of the report, each with its heading."""


def situation(access: Access) -> str:
    """Return the key in SITUATIONS of an access."""
    return "told" if access.is_upper else "source" if access.labels == "source" else access.test


def heading(access: Access) -> str:
    """Return the heading of the rows that a terminal's table ranks together."""
    return f"UPPER REFERENCES, {_told(access)}" if access.is_upper else _seen(access)


def class_words(access: Access) -> str:
    """Return an access class in words, by all three things that may be known."""
    if access.is_upper:
        return f"Upper reference, {_told(access)} (no choice in practice)"
    words = f"{_seen(access)}, {'an estimated' if access.prior == 'estimated' else 'no'} test prior"
    return words[0].upper() + words[1:]


def situation_words(access: Access) -> str:
    """Return what a user has at hand, by the most that it allows to know, as the beginning of a sentence."""
    has = "no test data" if access.test == "inductive" else SEEN[access.test]
    return f"With {has} at hand" + (" and labelled source images" if access.labels == "source" else "")


def knew(entry: Mapping[str, Any]) -> str:
    """Return what a row knew beyond the training set, in a few words."""
    access = Access.of(entry)
    if access.labels == "test":
        return "test labels"
    if access.prior == "oracle":
        return "true test prior"
    seen = {"inductive": "", "transductive": "images", "stream": "stream"}[access.test]
    if access.labels == "source":
        trained_on = f" ({entry['source_seen']} trained on)" if entry["source_seen"] else ""
        return ", ".join(filter(None, [seen, f"{entry['source_n']} labels{trained_on}"]))
    return f"test {seen}" if seen else "nothing"


def _seen(access: Access) -> str:
    return SEEN[access.test] + (" and labelled source images" if access.labels == "source" else "")


def _told(access: Access) -> str:
    return "told the test labels" if access.labels == "test" else "told the true test prior"
