"""README and docs: every link leads somewhere, every command parses, and the figure is made of the committed rows."""

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from harness.__main__ import VERBS
from harness.pages import cards, overview
from harness.pages.blocks import blocks
from harness.records import rows
from shifts.common import command
from shifts.common.command import Parser
from tests.programs import run_text

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "results").glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
]
PAGES += sorted(page for page in ROOT.glob(".github/**/*") if page.suffix in (".md", ".yml"))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Return module and arguments of each command of this program that a page shows."""
    found = []
    for line in re.findall(r"(?:python -m|-m|tailshift) [a-z][^\n`]*", page.read_text(encoding="utf-8")):
        words = shlex.split(line.split("|")[0], comments=True)
        end = next((place for place, word in enumerate(words) if re.match(r"\d?>|\.\.\.|=>?$", word)), len(words))
        end -= end < len(words) and words[end - 1].startswith("--")  # `--methods ...`
        start = words.index("-m") + 1 if "-m" in words[:2] else 1
        known = VERBS[words[1]][0] if words[0] == "tailshift" and words[1] in VERBS else words[start]
        if known.split(".")[0] in ("harness", "methods", "shifts", "benchmarks") and not known.endswith("VERB"):
            found.append((known, words[start + 1 : end]))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


class UnderstoodError(Exception):
    """The parser has read the line."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = Parser.parse_args

    def parse_only(self: Parser, *given: object) -> None:
        parse(self, *given)
        raise UnderstoodError

    monkeypatch.setattr(command.Parser, "parse_args", parse_only)
    for module, arguments in commands(page):
        main = import_module("benchmarks.__main__" if module == "benchmarks" else module).main
        try:
            status = main(arguments)
        except UnderstoodError:
            continue
        except SystemExit as end:  # --help, --list
            status = end.code
        assert status in (0, None), f"{module} {shlex.join(arguments)}"


def test_a_wrong_command_and_a_wrong_link_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](#a-title) [b](#b) [c](gone.md)\n`python -m harness.run --sift all`\n")
    assert broken(page) == ["#b", "gone.md"]
    assert commands(page) == [("harness.run", ["--sift", "all"])]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_figure_is_made_of_the_committed_rows(tmp_path: Path) -> None:
    found = blocks(rows.load_all(ROOT / "results" / "reference"))
    made = overview.write(found, tmp_path / "shifts.svg").read_text(encoding="utf-8")
    stored = (ROOT / "docs" / "shifts.svg").read_text(encoding="utf-8")
    assert points(stored) == pytest.approx(points(made), abs=0.5)


@pytest.mark.exhaustive
def test_the_cards_are_made_of_the_committed_rows(tmp_path: Path) -> None:
    for made in cards.write(rows.load_all(ROOT / "results" / "reference"), tmp_path):
        assert made.read_text(encoding="utf-8") == (ROOT / "docs" / "cards" / made.name).read_text(encoding="utf-8")


def points(svg: str) -> list[float]:
    """Return the places of all marks; they depend on the rows, and hardly on the version that drew them."""
    return [float(number) for mark in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', svg) for number in mark]


def printed_by(page: str, folder: Path, own_model: Path) -> list[str]:
    """Return what each program that a page shows prints, in a folder with the example of an own model."""
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    shutil.copy(own_model, folder / "my-model.safetensors")
    return [run_text(folder, program) for program in programs]


def test_the_programs_on_unlabelled_images_run(tmp_path: Path, own_model: Path) -> None:
    whole, stream = printed_by("docs/unlabelled-images.md", tmp_path, own_model)
    assert whole.startswith(("adapt ", "cannot be told ", "do not adapt "))
    assert stream.startswith("[2 2 2 1]")


def test_the_program_that_readme_shows_prints_what_readme_says(tmp_path: Path, own_model: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (program,) = printed_by("README.md", tmp_path, own_model)
    printed = re.findall(r"(\w+) +([\d.]+) %", program)
    assert len(printed) == 3
    assert all(f"`{adapter} {figure} %`" in text for adapter, figure in printed)


def test_the_site_has_every_page() -> None:
    """`mkdocs build` makes the site; here it is only held that no page is missing from its contents."""
    asked = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = [page for one in asked for page in (one["Cards"] if isinstance(one, dict) else [one])]
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))
