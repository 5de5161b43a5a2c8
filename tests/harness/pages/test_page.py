"""The report's files: page, Markdown, terminal table; what they hold, and that they hold nothing else."""

import json
import re
from dataclasses import replace
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from harness.choice.answers import situations
from harness.pages import explorer as board
from harness.pages import markdown
from harness.pages.blocks import blocks
from harness.pages.terminal import WIDTH
from harness.show.cells import text
from tests.harness.fake import fake_row
from tests.harness.pages.made import HOSTILE, Page, files, measured, reported, stored
from tests.harness.small import Result, call, command, one_line

MODULE = "harness.report"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The report of two methods and a second dataset."""
    folder = tmp_path_factory.mktemp("report")
    found = [*measured(), *measured("balpoe", more=0.013), *measured(dataset="other", seeds=(None,))]
    result = reported(stored(folder / "results", found), folder / "out")
    assert result.status == 0, result.err
    return folder, result


@pytest.fixture(scope="module")
def page(made: tuple[Path, Result]) -> Page:
    return Page((made[0] / "out" / "index.html").read_text(encoding="utf-8"))


@pytest.mark.exhaustive
def test_the_same_rows_give_the_same_bytes(made: tuple[Path, Result], tmp_path: Path) -> None:
    again = command("--results", made[0] / "results", "--output", tmp_path / "again", module=MODULE)
    assert again.status == 0, again.err
    assert files(tmp_path / "again") == files(made[0] / "out")
    assert again.out.splitlines()[:-1] == made[1].out.splitlines()[:-1]


def test_the_files(made: tuple[Path, Result]) -> None:
    names = set(files(made[0] / "out"))
    assert {"index.html", "report.md"} < names
    figures = {name for name in names if name.startswith("figures/")}
    assert names == {"index.html", "report.md"} | figures
    assert {name.rsplit(".", 1)[1] for name in figures} == {"png", "svg"}
    assert {f"figures/embedded-if100-quick-{name}.svg" for name in ("weights", "calibration", "distance")} < figures
    assert {f"figures/other-if100-quick-accuracy-{key}.png" for key in ("inductive", "told")} < figures
    assert made[1].out.splitlines()[-1] == str(made[0] / "out" / "index.html")


def test_the_page_needs_nothing_from_elsewhere(made: tuple[Path, Result], page: Page) -> None:
    document = (made[0] / "out" / "index.html").read_text(encoding="utf-8")
    written = re.sub(r"(?m)^\s*// .*$|base64,[\w+/=\s]+", "", document)
    assert re.findall(r"(?:https?:)?//\w", written) == []
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)
    policy = next(found["content"] for tag, found in page.tags if found.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert re.search(r"url\((?!#)", document) is None
    assert "@import" not in document


def test_headings_figures_and_tables_can_be_read_aloud(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert drawings
    assert all(found.get("role") == "img" and found.get("aria-label") for found in drawings)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption")
    named = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    doubled = {name for name in named if named.count(name) > 1}
    # Shapes that several drawings define alike have the hash of their content as a name.
    assert all(re.fullmatch("[mp][0-9a-f]{10}", name or "") for name in doubled)
    targets = {f"#{name}" for name in named}
    assert {found["href"] for tag, found in page.tags if tag == "a"} <= targets


def test_the_data_of_the_table_are_the_rows(page: Page) -> None:
    found = [*measured(), *measured("balpoe", more=0.013), *measured(dataset="other", seeds=(None,))]
    shown = page.results()
    assert len(shown) == 3 * 4 * 11
    for line in shown:
        own = [
            row
            for row in found
            if (row.dataset, row.method, row.adapter, row.shift)
            == (line["dataset"], line["method"], line["adapter"], line["shift"])
        ]
        assert len(own) == line["seeds"] == (1 if line["dataset"] == "other" else 2)
        assert line["top1"] == pytest.approx(100 * sum(row.top1 for row in own) / len(own), abs=0.006)
        assert line["delta"] == pytest.approx(100 * sum(row.delta_to_mean for row in own) / len(own), abs=0.006)
        assert line["tv"] == pytest.approx(own[0].tv_train_test, abs=6e-5)
        assert (line["prior"], line["labels"], line["test"]) == (
            own[0].prior_access,
            own[0].label_access,
            own[0].test_access,
        )
        hurts = all(row.top1 - row.delta_to_mean > row.top1_high for row in own)
        assert line["flags"] == hurts + 2 * (line["adapter"] == "oracle_prior")
        if len(own) == 1:
            assert line["spread"] == [round(100 * own[0].top1_low, 2), round(100 * own[0].top1_high, 2)]


def test_texts_of_the_table_are_sorted_for_the_reader(page: Page) -> None:
    columns = {column["key"]: column for column in page.data["columns"]}
    assert columns["shift"]["values"][0] == "forward_lt-50"
    assert columns["shift"]["values"][5] == "uniform"
    assert columns["prior"]["values"] == ["none", "estimated", "oracle"]
    filtered = {key for key, column in columns.items() if column.get("filter")}
    assert filtered == {"method", "adapter", "shift", "prior", "labels", "test", "dataset", "setting"}


def test_page_and_markdown_hold_the_same_tables(made: tuple[Path, Result], page: Page) -> None:
    lines = (made[0] / "out" / "report.md").read_text(encoding="utf-8").splitlines()
    caption = "The unlabelled test set: top-1, mean over train seeds"
    start = lines.index(f"**{caption}**") + 2
    body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start : start + 6]]
    del body[1]
    # The last block of the page wins among tables of one caption, the first of Markdown: choose what both have.
    tables = [rows for name, rows in page.tables.items() if name == caption]
    assert len(tables) == 1
    assert body[0] == tables[0][0]
    assert all(re.fullmatch(r"\d+\.\d|sade|balpoe|em", cell) for row in body[1:3] for cell in row)


def test_markdown_shows_every_figure_that_there_is(made: tuple[Path, Result]) -> None:
    shown = (made[0] / "out" / "report.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((figures/[^)]+)\)", shown))
    assert linked == {name for name in files(made[0] / "out") if name.endswith(".png")}


def test_the_terminal_table_is_short(made: tuple[Path, Result]) -> None:
    lines = made[1].out.splitlines()[:-1]
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "embedded, train imbalance 100, recipe quick"
    other = lines.index("other, train imbalance 100, recipe quick")
    told = lines.index("-- Upper reference, told the true test prior (no choice in practice); 1 more not apart")
    assert lines.count(f"{'over 11 published shifts':<32}  mean  {'worst':<21} {'regret':<21} best in") == 2
    assert told < other < len(lines) < 40


def test_the_terminal_table_shows_whoever_is_best(made: tuple[Path, Result]) -> None:
    (block, _) = blocks([*measured(), *measured("balpoe", more=0.013), *measured(dataset="other", seeds=(None,))])
    first, *_ = situations(block.rows)
    title, *shown = made[1].out.splitlines()[3:]
    assert title.startswith("-- With no test data at hand")
    group = list(takewhile(lambda line: not line.startswith("--"), shown))
    for criterion, best in (("mean", first.best_mean), ("worst", first.best_worst), ("regret", first.least_regret)):
        (line,) = [line for line in group if criterion in line[80:] or "all three" in line]
        assert line.split()[:3] == [best.method, f"{100 * best.mean:.1f}", f"{100 * best.worst:.1f}"]


def test_hostile_names_are_text_everywhere(tmp_path: Path) -> None:
    found = [replace(row, adapter=row.adapter) for row in [*measured(HOSTILE), *measured("plain", shifts=("uniform",))]]
    result = reported(stored(tmp_path / "results", found), tmp_path / "out")
    assert result.status == 0, result.err
    document = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    page = Page(document)
    assert "<script>alert" not in document
    assert len(page.scripts) == 3
    assert HOSTILE in page.text
    assert HOSTILE in {line["method"] for line in page.results()}
    shown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in shown
    escaped = markdown.escape(HOSTILE)
    assert escaped in shown
    cells = [line for line in shown.splitlines() if line.startswith(f"| {escaped} ")]
    assert cells
    assert all(len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", cells[0])) for line in cells[:1])
    assert "&lt;script" in (tmp_path / "out/figures/embedded-if100-quick-accuracy-inductive.svg").read_text()


def test_one_row_of_one_shift_makes_a_report(tmp_path: Path) -> None:
    result = reported(stored(tmp_path / "results", [fake_row()]), tmp_path / "out")
    assert result.status == 0, result.err
    assert "There is no answer over several shifts" in result.out
    text = Page((tmp_path / "out/index.html").read_text()).text
    assert "There is no answer over several shifts" in text
    assert "With no test data at hand, on backward_lt-50: sade, no adaptation is right on 50.0 %" in text


def test_analyses_without_rows_make_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.show.section import Section
    from harness.studies.why import section as why

    monkeypatch.setattr(why, "section", lambda results: Section("why", "Why", "Because."))
    result = reported(stored(tmp_path / "results", []), tmp_path / "out")
    assert result.status == 0, result.err
    assert "Because." in Page((tmp_path / "out/index.html").read_text()).text
    assert result.out == f"{tmp_path / 'out' / 'index.html'}\n"


def test_every_part_of_the_folder_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.pages import parts
    from harness.show.section import Section, Table
    from harness.studies.sweep import section as preference

    table = Table("Shares", ("name", "share %", "count"), (("a", 0.25, 1234), ("b", None, 5)))
    monkeypatch.setattr(preference, "section", lambda results: Section("sweep", "Sweeps", "A lead.", (table,)))
    report = parts.gather(tmp_path, [])
    assert [section.key for section in report.further] == ["sweep"]
    shown = markdown.render(report)
    assert "## Sweeps\n\nA lead." in shown
    assert "| a | 25.0 | 1,234 |" in shown
    assert text("share %", None) == "-"


def test_the_board_is_compact() -> None:
    (block,) = blocks(measured())
    made = board.board([block])
    assert len(json.dumps(made, separators=(",", ":"))) < 150 * len(made["rows"]) + 4000


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_bad_input_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    wanted = {"missing": "there is no results folder", "empty": "holds no rows", "file": "there is no results folder"}
    result = call("--results", tmp_path / name, module="harness.report")
    assert result.status == 2
    assert wanted[name] in one_line(result.err)
    assert not (tmp_path / "empty" / "report").exists()


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = reported(stored(tmp_path / "results", [fake_row()]), tmp_path / "file")
    assert result.status == 2
    assert "is a file; give a folder" in one_line(result.err)


def test_the_report_goes_into_the_results_folder_by_default(tmp_path: Path) -> None:
    results = stored(tmp_path / "results", [fake_row()])
    result = call("--results", results, module="harness.report")
    assert result.status == 0, result.err
    assert (results / "report" / "index.html").exists()


def test_no_torch_and_help_with_examples() -> None:
    import subprocess
    import sys

    from tests.harness.small import environment

    code = (
        "import sys, runpy; sys.argv = ['report', '--help']\n"
        "try: runpy.run_module('harness.report', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "import harness.pages.parts, harness.pages.page, harness.answer\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert "python -m harness.report --results results/reference --output report" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
