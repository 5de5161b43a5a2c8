"""Templates and workflow: forms that GitHub can read, which ask for what `harness.check` prints."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
FIELDS = {"input", "textarea", "dropdown", "checkboxes"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_github_needs_and_asks_for_the_check(form: Path) -> None:
    found = read(form)
    assert {"name", "description", "body"} <= set(found) <= {"name", "description", "labels", "body"}
    ids = [field["id"] for field in found["body"]]
    assert len(set(ids)) == len(ids)
    for field in found["body"]:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert field["type"] in FIELDS
        assert field["attributes"]["label"]
        assert ("options" in field["attributes"]) == (field["type"] in ("dropdown", "checkboxes"))
    (check,) = [field for field in found["body"] if field["id"] == "check"]
    assert "python -m harness.check" in check["attributes"]["description"]


def test_there_are_forms_for_bugs_methods_and_rows() -> None:
    assert [form.stem for form in FORMS] == ["bug", "new_method", "new_rows"]
    assert read(ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml") == {"blank_issues_enabled": True}


def test_a_pull_request_is_asked_for_the_check() -> None:
    text = (ROOT / ".github" / "pull_request_template.md").read_text(encoding="utf-8")
    assert "python -m harness.check FOLDER --output check.md" in text


def test_the_workflow_runs_what_everybody_can_run() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "ci.yml")
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert workflow["permissions"] == {"contents": "read"}
