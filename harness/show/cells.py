"""Numbers as text. The heading of a column says how its numbers are shown, on the page and in Markdown alike."""

from harness.show.section import Cell


def text(heading: str, value: Cell) -> str:
    """Return the text of a cell.

    Under a heading with `%` a fraction is shown in percent, under one with `points` as a signed difference. Other
    numbers have three decimals, whole numbers none. None is a dash; a truth value is yes or no.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if "%" in heading:
        return f"{100 * value:.1f}"
    if "points" in heading:
        return signed(100 * value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def percent(value: float) -> str:
    """Return a fraction in percent for a sentence: `71.4 %`."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """Return a difference of fractions in percentage points for a sentence: `+3.1`."""
    return signed(100 * value)


def signed(value: float) -> str:
    """Return a number with its sign and one decimal; what rounds to zero has no sign."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def listed(names: list[str], limit: int = 5) -> str:
    """Join names as in `a, b and c`; of more than `limit` names only the first, and how many more. Empty for none."""
    if not names:
        return ""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
