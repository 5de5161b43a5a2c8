"""Named things with options on the name: `sade:tau=3`, `balpoe:tau=0/1/2`, typed by the thing's dataclass fields."""

import ast
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from shifts.common.errors import BadInput, check_name
from shifts.labels.shift import number_text


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """Split `name:key=value,key=value` into name and raw options. Raises BadInput where a part is no key=value."""
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise BadInput(f"option {part!r} of {text!r} is not key=value (several are joined by commas)")
        if key in options:
            raise BadInput(f"option {key!r} is given twice in {text!r}")
        options[key] = value
    return name, options


def build(cls: type, options: Mapping[str, str]) -> Any:
    """Make a dataclass value from textual options. Raises BadInput for unknown keys and values of another type."""
    hints = get_type_hints(cls)
    allowed = {field.name: hints[field.name] for field in fields(cls)}
    values = {}
    for key, text in options.items():
        if not allowed:
            raise BadInput(f"{cls.name} takes no options; given: {key!r}")  # type: ignore[attr-defined]
        check_name(f"option of {cls.name}", key, allowed)  # type: ignore[attr-defined]
        values[key] = parse_value(key, text, allowed[key])
    try:
        return cls(**values)
    except ValueError as error:
        raise BadInput(f"{cls.name}: {error}") from error  # type: ignore[attr-defined]


def parse_value(key: str, text: str, kind: Any) -> Any:
    """Parse one textual value as `kind`: bool, int, float, str, Literal[...] or tuple[float, ...] (joined by `/`)."""
    if get_origin(kind) is Literal:
        return check_name(f"value of {key}", text, [str(choice) for choice in get_args(kind)])
    if kind is bool:
        return check_name(f"value of {key}", text.lower(), ["true", "false"]) == "true"
    many = get_origin(kind) is tuple
    one = get_args(kind)[0] if many else kind
    try:
        values = tuple(one(part) for part in (text.split("/") if many else (text,)))
    except ValueError:
        shown = "numbers joined by /" if many else kind.__name__
        raise BadInput(f"{key}={text!r} is not of type {shown}") from None
    if one is float and not all(map(math.isfinite, values)):
        raise BadInput(f"{key}={text!r} is not finite")
    return values if many else values[0]


def canonical_name(value: Any) -> str:
    """Return the one text for a named value: its name, then the options that differ from their defaults, sorted."""
    parts = []
    for field in sorted(fields(value), key=lambda field: field.name):
        current = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if current != default:
            parts.append(f"{field.name}={_text(current)}")
    return value.name + (":" + ",".join(parts) if parts else "")


def look_up(kind: str, text: str, table: Mapping[str, str]) -> Any:
    """Build what `text` names; `table` maps names to `module:Class`, imported only when asked for."""
    name, options = split_name(text)
    module, _, cls = table[check_name(kind, name, table)].partition(":")
    return build(getattr(importlib.import_module(module), cls), options)


def headline(module: str) -> str:
    """Return the first line of a module's docstring, read without running a module that is not loaded."""
    return docstring(module).partition("\n")[0]


def docstring(module: str) -> str:
    """Return a module's docstring, read without running a module that is not loaded."""
    if module in sys.modules:
        return inspect.cleandoc(sys.modules[module].__doc__ or "")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""


def class_fields(module: str, cls: str) -> list[tuple[str, str, Any]]:
    """Return (name, type, default) of a dataclass's fields, read without running its module; no default: `...`.

    Types are as in the source, but for names that the module gives to types. Defaults must be literals.
    """
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    names = {ast.unparse(node.targets[0]): node.value for node in body if isinstance(node, ast.Assign)}
    (found,) = [node for node in body if isinstance(node, ast.ClassDef) and node.name == cls]
    return [
        (
            ast.unparse(node.target),
            ast.unparse(names.get(ast.unparse(node.annotation), node.annotation)),
            ... if node.value is None else ast.literal_eval(node.value),
        )
        for node in found.body
        if isinstance(node, ast.AnnAssign)
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "/".join(_text(part) for part in value)
    return number_text(value) if isinstance(value, float) else str(value)
