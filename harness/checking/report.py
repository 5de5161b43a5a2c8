"""What checks found, as text for a terminal and as Markdown for a reviewer."""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from textwrap import fill, shorten

from harness.checking import stored
from harness.checking.data import AtHand, Data
from harness.checking.examine import Examined
from harness.checking.findings import BEYOND, CHECKS, Findings
from harness.show.text import aligned, counted
from shifts.common.files import file_sha256, printable

SHOWN = 5
"""Faults of one kind that the Markdown names."""


def terminal(examined: Examined, width: int) -> str:
    """Return a table of the checks, why some could not be made, and the verdict, `width` characters wide."""
    findings = examined.findings
    counts = [_counts(findings, name) for name in CHECKS]
    lines = aligned(("check", "holds", "fault", "unchecked"), counts)
    indent = max(map(len, lines)) + 2
    table = [
        line.ljust(indent) + shorten(about, max(width - indent, 20), placeholder=" ...")
        for line, about in zip(lines, ["what holds", *CHECKS.values()], strict=True)
    ]
    blocks = [fill(_headline(examined), width), "\n".join(table)]
    blocks += ["\n".join(fill(line, width, subsequent_indent="  ") for line in _remarks(examined))]
    return "\n\n".join([*blocks, fill(verdict(findings), width)])


def markdown(examined: Examined) -> str:
    """Return the same as Markdown, with the files' hashes and the first faults of each kind."""
    findings = examined.findings
    parts = [
        "## `harness.check`",
        f"tailshift {version('tailshift')}. {_cell(_headline(examined))}\n\n**{verdict(findings)}**",
        "\n".join(f"- `{_cell(name)}` {sha}" for name, sha in _files(examined.folder)),
        "\n".join(
            ["| check | holds | fault | unchecked | what holds |", "| --- | ---: | ---: | ---: | --- |"]
            + [f"| {' | '.join(_counts(findings, name))} | {about} |" for name, about in CHECKS.items()]
        ),
    ]
    for name in filter(findings.faults.get, CHECKS):
        faults = findings.faults[name]
        more = [f"- and {len(faults) - SHOWN:,} more"] if len(faults) > SHOWN else []
        lines = [f"- {_cell(place)}: {_cell(said)}" for place, said in faults[:SHOWN]]
        parts.append("\n".join([f"### Fault: {name}", *lines, *more]))
    parts.append("\n".join(f"- {_cell(line)}" for line in _remarks(examined)))
    return "\n\n".join(parts) + "\n"


def fault_lines(findings: Findings) -> list[str]:
    """Return one line for each kind of fault: how often, and the first."""
    lines = []
    for name in filter(findings.faults.get, CHECKS):
        place, said = findings.faults[name][0]
        lines.append(printable(f"{name}: {counted(len(findings.faults[name]), 'time')}; first {place}: {said}"))
    return lines


def verdict(findings: Findings) -> str:
    """Return the end of it in one sentence, which never counts what was not checked."""
    unchecked = [name for name in CHECKS if findings.unknown.get(name)]
    left = f" Not or not wholly checked: {', '.join(unchecked)}." if unchecked else ""
    if findings.sound:
        return f"Nothing that could be checked is at fault.{left}"
    kinds = ", ".join(name for name in CHECKS if findings.faults.get(name))
    return f"At fault: {kinds}.{left}"


def plan(folder: Path, at_hand: AtHand) -> str:
    """Return which data the rows of a folder are of, and whether these are at hand."""
    findings = Findings()
    named = [*stored.single(folder, findings.add), *stored.multi(folder, findings.add)]
    lines = [f"{folder}: {counted(len(named), 'row')} in {counted(len(stored.files(folder)), 'place')}"]
    for name, count in sorted(Counter(row.dataset for _, row in named).items()):
        data = at_hand.of(name)
        told = "drawn again" if isinstance(data, Data) else f"not drawn again: {data.why}"
        lines.append(f"{name}: {counted(count, 'row')}, {told}")
    return "\n".join([*lines, *(f"unreadable: {line}" for line in fault_lines(findings))])


def _headline(examined: Examined) -> str:
    held = examined.held
    datasets = ", ".join(f"{name} {count:,}" for name, count in sorted(held["dataset"].items()))
    kinds = f"{counted(len(held['method']), 'method')}, {counted(len(held['adapter']), 'adapter')}"
    return printable(f"{examined.folder}: {counted(examined.rows, 'row')} ({datasets}), {kinds}.")


def _counts(findings: Findings, name: str) -> tuple[str, str, str, str]:
    faults, unknown = len(findings.faults.get(name, ())), sum(findings.unknown.get(name, Counter()).values())
    return name, f"{findings.holds[name]:,}", f"{faults:,}" if faults else "-", f"{unknown:,}" if unknown else "-"


def _remarks(examined: Examined) -> Iterator[str]:
    """Yield why checks could not be made, what was left out of them, and what none of them reaches."""
    reasons: dict[str, list[str]] = {}
    for name in CHECKS:
        for why, count in sorted(examined.findings.unknown.get(name, Counter()).items()):
            reasons.setdefault(why, []).append(f"{name} ({count:,})")
    for why, names in reasons.items():
        yield printable(f"not checked, {why}: {', '.join(names)}")
    yield from map(printable, examined.findings.notes)
    if examined.studies:
        yield f"not checked: {counted(examined.studies, 'file')} of studies (estimates, routes, sweeps, why)"
    yield BEYOND


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for file in stored.files(folder):
        if file.is_file():
            yield file.name, f"sha256 {file_sha256(file)}"
        else:
            yield str(file.relative_to(folder)), counted(sum(1 for _ in file.glob("*/[!.]*.json")), "file")


def _cell(text: str) -> str:
    """Return text that cannot be mistaken for Markdown or HTML."""
    return printable(text).translate({ord(letter): f"&#{ord(letter)};" for letter in "<>|`*[]&"})
