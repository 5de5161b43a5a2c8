"""What a model said about a pool, as arrays and as a file; what an adapter may see of it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.evidence.files import save_evidence

__all__ = ["save_evidence"]


def __getattr__(name: str) -> Any:
    """Return the writer of evidence files, which is imported only where it is used."""
    if name != "save_evidence":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.evidence.files import save_evidence

    return save_evidence
