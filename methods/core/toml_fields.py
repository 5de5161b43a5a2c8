"""Values of a dataclass's fields from a TOML file: unknown keys and values of another type are refused."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from shifts.common.errors import BadInput, check_name


def read_fields(what: str, path: Path, cls: type, **more: type) -> dict[str, Any]:
    """Read a TOML file of fields of `cls`, or of keys in `more` (name=type); `what` it is, for messages.

    Raises BadInput for a missing or unreadable file, unknown keys and values of another type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(f"{what} {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{what} {path} is not TOML: {error}") from error
    hints = get_type_hints(cls)
    kinds = {**more, **{field.name: hints[field.name] for field in fields(cls)}}
    for key, value in table.items():
        check_name(f"key in {what} {path}", key, kinds)
        table[key] = _typed(f"{key} in {what} {path}", value, kinds[key])
    return table


def _typed(what: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        return check_name(what, str(value), get_args(kind))
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise BadInput(f"{what} must be a list, not {value!r}")
        return tuple(_typed(what, part, get_args(kind)[0]) for part in value)
    if type(value) is int and abs(value) >= 2**63:  # TOML's own limit
        raise BadInput(f"{what} is too large a number")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise BadInput(f"{what} must be of type {kind.__name__}, not {value!r}")
    return value
