"""What pyproject.toml and constraints.txt ask for, the installed command `tailshift`, and other people's packages."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.__main__ import VERBS
from methods.core import versions

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PATHS = {
    name: sysconfig.get_path(name, "venv", {"base": "{base}", "platbase": "{base}"}) for name in ("scripts", "purelib")
}
"""Of a virtual environment, with a place for its folder."""


def asked() -> dict[str, Requirement]:
    """The dependencies of the package and of its tests."""
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def pinned() -> dict[str, str]:
    """Name -> version in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_dependency_was_tested_in_a_version_of_its_range() -> None:
    assert sorted(pinned()) == sorted(asked())
    for name, version in pinned().items():
        assert asked()[name].specifier.contains(version), name


def test_no_torch_is_refused_for_being_new() -> None:
    assert {clause.operator for clause in asked()["torch"].specifier} == {">="}
    lowest = ".".join(map(str, versions.OLDEST))
    assert [clause.version for clause in asked()["torch"].specifier] == [lowest]
    assert versions.note(pinned()["torch"]) is None


def test_safetensors_that_writes_wrong_numbers_is_refused() -> None:
    assert not asked()["safetensors"].specifier.contains("0.8.0")


@pytest.mark.parametrize(
    ("version", "word"),
    [
        ("{0}.{1}.0", None),
        ("{2}.{3}.1+cpu", None),
        ("{2}.{4}.0.dev20270101+cu130", "newer"),
        ("3.0.0", "newer"),
        ("1.13.1", "older"),
        ("main", "older"),
    ],
)
def test_another_torch_than_tested_is_told_once(
    version: str, word: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from methods.jobs.request import chosen_device

    version = version.format(*versions.OLDEST, *versions.NEWEST, versions.NEWEST[1] + 1)
    monkeypatch.setattr(torch, "__version__", version)
    versions.tell_untested.cache_clear()
    for _ in range(2):
        chosen_device("cpu")
    told = capsys.readouterr().err.splitlines()
    versions.tell_untested.cache_clear()
    assert len(told) == (word is not None)
    if word is not None:
        assert told[0].startswith(f"note: PyTorch {version} is {word} than the tested versions (")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that has our wheel, and the other packages from here."""
    room = tmp_path_factory.mktemp("install")
    source, environment = room / "source", room / "venv"
    for name in ("harness", "methods", "shifts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    alone = ["--no-index", "--no-deps"]
    subprocess.run([*pip, "wheel", *alone, "--no-build-isolation", "--wheel-dir", str(room), str(source)], check=True)
    (wheel,) = room.glob("*.whl")
    venv.create(environment)
    paths = {name: path.format(base=environment) for name, path in PATHS.items()}
    python = str(Path(paths["scripts"]) / "python")
    subprocess.run([*pip, "--python", python, "install", *alone, "--no-compile", str(wheel)], check=True)
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(paths["purelib"]) / "others.pth").write_text("\n".join(sorted(others)), encoding="utf-8")
    return Path(paths["scripts"])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with packages of other people that have our names."""
    for name in ("methods", "harness", "shifts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('somebody else')\n", encoding="utf-8")
    return tmp_path


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A program in a folder, without this clone on its path."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_installed_command_beside_other_packages_of_our_names(installed: Path, project: Path) -> None:
    listing = run(project, installed / "tailshift", "run", "--list")
    assert (listing.returncode, listing.stderr) == (0, "")
    assert "balpoe" in listing.stdout
    described = run(project, installed / "tailshift", "describe", "--shift", "all")
    assert described.returncode == 0, described.stderr
    assert "backward_lt-50" in described.stdout


@pytest.mark.exhaustive
def test_printed_commands_work_beside_other_packages_of_our_names(installed: Path, project: Path, data: Path) -> None:
    small = ["--dataset", data, "--train-imbalance", "10", "--methods", "softmax"]
    jobs = run(project, installed / "tailshift", "run", *small, "--dry-run", "--jobs")
    assert (jobs.returncode, jobs.stderr) == (0, "")
    python, *words = shlex.split(jobs.stdout)
    assert (python, words[:3]) == ("python", ["-P", "-m", "methods.train"])
    planned = run(project, installed / "python", *words, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "training left" in planned.stdout


def test_somebody_elses_package_is_said_in_one_line(installed: Path, project: Path) -> None:
    shutil.rmtree(project / "harness")
    done = run(project, installed / "python", "-m", "harness.run", "--list")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"error: the package 'methods' is that of .*, not tailshift's; use the .* tailshift.*\n", done.stderr
    )
    library = run(project, installed / "python", "-c", "import harness.rows")
    assert "ImportError: the package 'methods' is that of" in library.stderr


def test_verbs_are_listed_without_loading_anything() -> None:
    code = "import sys; sys.argv = ['tailshift', *sys.argv[1:]]; from harness.__main__ import main; main(); "
    code += "print(sorted({'torch', 'numpy', 'datasets'} & set(sys.modules)))"
    for words in ([], ["--help"], ["-h"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("\n[]\n")
        assert re.findall(r"^  (\w+)  +\S", done.stdout, re.MULTILINE) == list(VERBS)


def test_every_verb_is_a_command() -> None:
    assert all(importlib.util.find_spec(module) for module, _ in VERBS.values())
    for verb, module in {"train": "methods.train", "report": "harness.report", "describe": "shifts.describe"}.items():
        done = run(ROOT, sys.executable, "-m", "harness", verb, "--help")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: python -m {module}")


def test_unknown_verb_gets_the_nearest_first() -> None:
    done = run(ROOT, sys.executable, "-m", "harness", "rout")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown verb 'rout'; allowed: route, ")


def test_processes_that_are_started_know_our_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.jobs.request import module_words

    monkeypatch.chdir(ROOT)
    assert module_words("methods.train") == ["-m", "methods.train"], "a clone works without being installed"
    monkeypatch.chdir(tmp_path)
    assert module_words("methods.train") == ["-P", "-m", "methods.train"]
