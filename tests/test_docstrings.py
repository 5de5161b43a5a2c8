"""The docstring of a function begins with a verb. Ruff's D401 sees other forms of verbs; this sees what is no verb."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("shifts", "methods", "harness", "benchmarks")
ARTICLES = "the a an"
PRONOUNS = "it its they their this that these those our your one two both each every everything all any no some same"
CONJUNCTIONS = "and or but if unless because so than as"
QUESTIONS = "what which who whose when where whether why how"
PREPOSITIONS = (
    "about above after around at before below between by during for from in into of on over per to under with"
)
NOUNS = "mean rows images dataset fields arguments kl tv"  # what docstrings have begun with
NO_VERBS = frozenset(" ".join([ARTICLES, PRONOUNS, CONJUNCTIONS, QUESTIONS, PREPOSITIONS, NOUNS]).split())


def functions(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and docstring of every function that has one and is no property."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and not any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
                yield node.lineno, text


def begins_with_verb(docstring: str) -> bool:
    word = docstring.split()[0].rstrip(",.:;")
    return word.isalpha() and word.lower() not in NO_VERBS


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_of_functions_begin_with_a_verb(package: str) -> None:
    checked, wrong = 0, []
    for file in sorted((ROOT / package).rglob("*.py")):
        for line, text in functions(file.read_text(encoding="utf-8")):
            checked += 1
            if not begins_with_verb(text):
                wrong.append(f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert checked, "there is something to check"
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("docstring", "right"),
    [
        ("Return the hash.", True),
        ("Shear, then turn.", True),
        ("The hash.", False),
        ("Whether it is there.", False),
        ("Of two the first.", False),
        ("`text` without spaces.", False),
        ("SHA-256 of a file.", False),
    ],
)
def test_a_verb_is_told_from_other_words(docstring: str, right: bool) -> None:
    assert begins_with_verb(docstring) is right


def test_properties_are_exempt() -> None:
    source = """
@property
def first(self):
    'The first.'

@cached_property
def second(self):
    'The second.'

def third():
    'Return it.'
"""
    assert list(functions(source)) == [(10, "Return it.")]
