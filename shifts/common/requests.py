"""Requests: what a command line asks for, as frozen dataclasses that everything below the command takes."""

import argparse
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

R = TypeVar("R")


def request_of(kind: type[R], options: argparse.Namespace) -> R:
    """Make a request of `kind` from the options of the same names.

    A field that is a request itself is made from the same options. A list becomes a tuple. An option that is missing
    or None leaves a field at its default.
    """
    return _filled(kind(), options)


def _filled(request: R, options: argparse.Namespace) -> R:
    """Return the request with its fields replaced by those options that are given."""
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(request)):  # type: ignore[arg-type]
        default, given = getattr(request, name), getattr(options, name, None)
        if is_dataclass(default):
            values[name] = _filled(default, options)
        elif given is not None:
            values[name] = tuple(given) if isinstance(given, list) else given
    return replace(request, **values)  # type: ignore[type-var]


def option_names(kind: type) -> list[str]:
    """Return the names of the options that a request is made from, in order."""
    found: list[str] = []
    for field in fields(kind):
        nested = is_dataclass(field.default) and not isinstance(field.default, type)
        found += option_names(type(field.default)) if nested else [field.name]
    return found
