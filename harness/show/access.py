"""What a row knew, in words."""

from typing import Any


def class_words(access: tuple[str, str, str]) -> str:
    """An access class (prior, label, test), as the beginning of a sentence."""
    prior, label, test = access
    if label == "test":
        return "Upper reference, told the test labels (no choice in practice)"
    if prior == "oracle":
        return "Upper reference, told the true test prior (no choice in practice)"
    has = {
        "inductive": "one image at a time",
        "stream": "test images in batches",
        "transductive": "the unlabelled test set",
    }[test]
    parts = [has, "an estimated test prior" if prior == "estimated" else "no test prior"]
    return "Access class of " + ", ".join([*parts, "labelled source images"] if label == "source" else parts)


def situation_words(label: str, test: str) -> str:
    """What one has at hand, by the most label and test access that it gives; as the beginning of a sentence."""
    has = {
        "inductive": "no test data",
        "stream": "unlabelled test images in batches",
        "transductive": "the unlabelled test set",
    }[test]
    return f"With {has} at hand" + (" and labelled source images" if label == "source" else "")


SITUATIONS = {
    "inductive": "One image at a time, no test prior",
    "transductive": "The unlabelled test set",
    "stream": "The test images as a stream",
    "source": "Labelled source images beyond the training set",
    "told": "Upper references, told the truth",
}
"""What a user may have, in the order of the report. Lines of different situations are never ranked together."""


def situation(prior_access: str, label_access: str, test_access: str) -> str:
    """The key in SITUATIONS of a row's three declarations of access."""
    if prior_access == "oracle" or label_access == "test":
        return "told"
    if label_access == "source":
        return "source"
    if test_access == "stream":
        return "stream"
    return "inductive" if (prior_access, test_access) == ("none", "inductive") else "transductive"


def access_text(prior_access: str, label_access: str, test_access: str) -> str:
    """Three declarations of access in words."""
    key = situation(prior_access, label_access, test_access)
    if key == "inductive":
        return SITUATIONS[key]
    if key == "told":
        what = "the true test prior" if prior_access == "oracle" else "the test labels"
        return f"Upper reference: told {what}"
    seen = {
        "inductive": "One image at a time",
        "transductive": "The unlabelled test set",
        "stream": "The test images as a stream",
    }[test_access]
    prior = ", test prior estimated" if prior_access == "estimated" else ", no estimate of the test prior"
    labels = " with labelled source images" if label_access == "source" else ""
    return seen + labels + prior


Entry = dict[str, Any]


ACCESS = (
    ("one image at a time, no test prior", lambda e: _access(e) == ("none", "none", "inductive")),
    ("the unlabelled test set", lambda e: _unlabelled(e) and e["test_access"] != "stream"),
    ("a stream of unlabelled test images", lambda e: _unlabelled(e)),
    ("labelled source images, one test image at a time", lambda e: _source(e, "inductive")),
    ("labelled source images and the unlabelled test set", lambda e: _source(e, "transductive")),
    ("labelled source images and a stream of unlabelled test images", lambda e: _source(e, "stream")),
    ("UPPER REFERENCES, told the true test prior", lambda e: e["label_access"] != "test"),
    ("UPPER REFERENCES, told the test labels", lambda e: True),
)
"""Classes of access, in the order in which a table shows them; an entry belongs to the first that fits."""


def knew(entry: Entry) -> str:
    """What a row knew beyond the training set, in a few words."""
    if entry["label_access"] == "test":
        return "test labels"
    if entry["prior_access"] == "oracle":
        return "true test prior"
    seen = {"inductive": "", "transductive": "images", "stream": "stream"}[entry["test_access"]]
    if entry["label_access"] == "source":
        trained_on = f" ({entry['source_seen']} trained on)" if entry["source_seen"] else ""
        return ", ".join(filter(None, [seen, f"{entry['source_n']} labels{trained_on}"]))
    return f"test {seen}" if seen else "nothing"


def _unlabelled(entry: Entry) -> bool:
    return entry["prior_access"] != "oracle" and entry["label_access"] == "none"


def _source(entry: Entry, test_access: str) -> bool:
    return entry["label_access"] == "source" and entry["test_access"] == test_access


def _access(entry: Entry) -> tuple[str, str, str]:
    return entry["prior_access"], entry["label_access"], entry["test_access"]
