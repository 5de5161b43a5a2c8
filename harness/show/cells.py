"""How a number is shown, by what its column's heading says; one rule for the page, Markdown and the terminal."""

from harness.show.section import Cell


def text(heading: str, value: Cell) -> str:
    """A cell's text: `%` in the heading shows a fraction in percent, `points` a signed difference of fractions.

    Other numbers have three decimals, whole ones none; an absent value is a dash, a truth value yes or no.
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
    """`71.4 %`, for sentences."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """`+3.1`, a difference in percentage points, for sentences."""
    return signed(100 * value)


def signed(value: float) -> str:
    """One decimal with its sign; none for what rounds to zero."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def listed(names: list[str], limit: int = 5) -> str:
    """`a, b and c`, or the first few and how many more; empty for none."""
    if not names:
        return ""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
