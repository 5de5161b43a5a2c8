"""Cards: what a file says, beside what the rows say of it."""

from pathlib import Path

from harness.adapters import ADAPTERS
from harness.pages import cards
from methods.core.options import docstring
from methods.papers import METHODS
from tests.harness.fake import fake_row


def test_every_method_and_adapter_has_a_card(tmp_path: Path) -> None:
    methods, adapters = cards.write([fake_row()], tmp_path)
    for file, targets in ((methods, METHODS), (adapters, ADAPTERS)):
        text = file.read_text(encoding="utf-8")
        for name, target in targets.items():
            assert f"\n## {name}\n\n```text\n{docstring(target.partition(':')[0])}\n```\n" in text
        assert text.count("\n## ") == len(targets)


def test_figures_of_rows(tmp_path: Path) -> None:
    published = {"recipe": "published", "reported_value": 0.48, "reported_source": "a paper", "reported_primary": True}
    rows = [
        fake_row(top1=0.5, **published),
        fake_row(top1=0.6, adapter="em", shift="dirichlet-1-s0", delta_to_mean=0.1, recipe="published"),
        fake_row(top1=0.4, adapter="em", shift="dirichlet-1-s1", delta_to_mean=-0.1, recipe="published"),
    ]
    methods, adapters = (file.read_text(encoding="utf-8") for file in cards.write(rows, tmp_path))
    assert (
        r"| sade, embedded, recipe published | mean | backward\_lt-50 | 50.0 | 1 | 48.0 | +2.0 | a paper |" in methods
    )
    line = r"| embedded, recipe published | sets without an order | 2 | 0.0 | 50.0 | -10.0 | sade s0, dirichlet-1-s1 |"
    assert line in adapters
