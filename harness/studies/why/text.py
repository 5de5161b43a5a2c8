"""Findings as text."""

from pathlib import Path
from textwrap import wrap

from harness.show.text import WIDTH, as_text


def report(results: Path) -> str:
    """Return sentences and tables of all that is stored, for a terminal."""
    from harness.studies.why import findings
    from harness.studies.why.section import lead
    from harness.studies.why.tables import gather, tables

    stored = gather(results)
    if not stored:
        return f"nothing is stored under {results}: no rows (python -m harness.run) and no findings (without --stored)"
    texts = [as_text(table) for reasons in stored for table in tables(reasons)]
    end = f"findings: {findings.path(results)}" if findings.path(results).exists() else "no findings are stored"
    return "\n\n".join([*texts, "\n".join(wrap(lead(stored), WIDTH)), end])


def store_findings(results: Path) -> None:
    """Write the findings of all stored answers; those of models that are done, also after a failure."""
    from harness.studies.why import answers, findings

    found = findings.of_answers(answers.load_all(results))
    if found:
        findings.store(findings.path(results), found)
