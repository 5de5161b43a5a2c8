"""The papers behind rows: every method, adapter and dataset of ours leads to one, and BibTeX can be read."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.adapters import ADAPTERS
from harness.citing.bibliography import bibliography, cited, source_of_adapter, source_of_method
from harness.records import rows
from methods.papers import METHODS
from methods.papers import reported as figures
from shifts.common.errors import BadInput
from shifts.images.entries import ENTRIES
from tests.harness.fake import fake_label_row, fake_row
from tests.harness.small import call

ROOT = Path(__file__).parents[3]
WITHOUT = {"softmax", "bce", "best_expert"}
"""The baselines without a paper, and the row of other papers' tables."""
NOT_OF_A_PAPER = {"independent rerun of BalPoE, 5 seeds", "quoted by wizwand"}


def entries(text: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Kind, key and fields of each entry; braces balance within a field."""
    for kind, key, body in re.findall(r"^@(\w+)\{([\w]+),\n(.*?)^\}$", text, re.MULTILINE | re.DOTALL):
        found = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
        assert len(found) == len(body.splitlines())
        for value in found.values():
            assert value.count("{") == value.count("}")
        yield kind, key, found


@pytest.mark.parametrize("name", [name for name in (*METHODS, *ADAPTERS) if name not in WITHOUT])
def test_every_method_and_adapter_names_its_papers(name: str) -> None:
    named = [source(name) for source in (source_of_method, source_of_adapter) if source(name)]
    assert named
    assert all(cited(text) for text in named), f"harness/citing/papers.toml has no paper that {name} names: {named}"


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("em", {"saerens2002adjusting"}),
        ("rlls", {"azizzadenesheli2019regularized"}),
        ("eb_em_recal", {"shimodaira2000improving", "saerens2002adjusting", "alexandari2020maximum"}),
        ("stream_history", {"wu2021online", "lipton2018detecting", "azizzadenesheli2019regularized"}),
    ],
)
def test_papers_of_an_adapter_with_those_of_adapters_that_it_is_made_of(name: str, keys: set[str]) -> None:
    assert set(cited(source_of_adapter(f"{name}:rule=best"))) == keys


def test_papers_of_methods_that_share_a_surname_are_told_apart() -> None:
    assert cited(source_of_method("ltml")) == ["guo2021ltml"]
    assert cited(source_of_method("ride")) == ["wang2021ride"]
    assert cited(source_of_method("focal")) == ["lin2017focal"]


def test_licences_that_ask_for_a_citation_lead_to_one() -> None:
    asking = [entry for entry in ENTRIES if "cite" in entry.licence]
    assert len(asking) > 5
    assert all(cited(entry.licence) for entry in asking)


def test_sources_of_published_figures_lead_to_a_paper() -> None:
    text = Path(figures.__file__).with_suffix(".toml").read_text(encoding="utf-8")
    sources = {table["source"] for table in tomllib.loads(text)["figures"]} - NOT_OF_A_PAPER
    assert all(cited(source) for source in sources)


def test_every_paper_is_named_somewhere() -> None:
    text = Path(figures.__file__).with_suffix(".toml").read_text(encoding="utf-8")
    named = [*map(source_of_method, METHODS), *map(source_of_adapter, ADAPTERS), *(entry.licence for entry in ENTRIES)]
    named += [table["source"] for table in tomllib.loads(text)["figures"]]
    facts = tomllib.loads((ROOT / "harness" / "citing" / "papers.toml").read_text(encoding="utf-8"))["paper"]
    assert {paper["key"] for paper in facts} == {key for text in named for key in cited(text)}


def test_bibliography_of_rows() -> None:
    made = bibliography(
        [
            fake_row(method="sade:tau=3", adapter="eb_em:rule=best", dataset="cifar100", shift="forward_lt-50"),
            fake_row(method="mine", adapter="theirs", dataset="cifar100-like", shift="dirichlet-1-s0"),
            fake_row(method="softmax", dataset="evidence:x", reported_source="LADE's notebook", shift="natural"),
            fake_label_row(method="ltml", adapter="mean"),
        ]
    )
    assert made.papers["zhang2022sade"] == ["method sade"]
    assert made.papers["krizhevsky2009learning"] == ["data cifar100", "data cifar100-like"]
    assert made.papers["hong2021lade"] == ["published figures from LADE's notebook", "test sets of the published kind"]
    assert made.papers["guo2021ltml"] == ["method ltml"]
    assert made.unknown == ["adapter theirs", "data evidence:x", "method mine", "method softmax"]
    found = {key: (kind, fields) for kind, key, fields in entries(made.text())}
    assert list(found) == [*sorted(made.papers), "tailshift"]
    assert found["saerens2002adjusting"][0] == "article"
    assert found["krizhevsky2009learning"][0] == "techreport"
    assert found["zhang2022sade"][0] == "inproceedings"
    assert all({"author", "title", "year"} <= set(fields) for _, fields in found.values())
    assert all(re.fullmatch(r"\{.*\}", fields["title"]) for _, fields in found.values())


def test_hostile_names_stay_within_their_comment() -> None:
    made = bibliography([fake_row(method="x\n@book{y,", reported_source="SADE's README\n@book{y,")])
    assert "\n@book" not in made.text()
    assert made.papers["zhang2022sade"]


def test_the_command_writes_a_file_and_says_what_names_no_paper(tmp_path: Path) -> None:
    rows.pack([fake_row(method="mine")], tmp_path)
    output = tmp_path / "papers.bib"
    arguments = ["--results", tmp_path, "--format", "bibtex", "--output", output]
    done = call(*arguments, module="harness.export")
    assert done.out.splitlines()[0] == f"{output}: 3 papers behind 1 rows"
    assert done.out.splitlines()[1] == "no paper is named by: method mine"
    assert len(list(entries(output.read_text(encoding="utf-8")))) == 4
    (tmp_path / "rows-embedded.parquet").unlink()
    with pytest.raises(BadInput, match="holds no rows"):
        call(*arguments, module="harness.export")


def test_the_citation_file_is_that_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["title"].startswith(f"{project['name']}: ")
    assert {"cff-version", "message", "authors", "title"} <= set(citation)
