"""Long tables of numbers in blocks of rows.

A block stays in the processor's cache between two products, and its products are too small for a library to spread over
threads: where others compute beside it, threads that wait for each other cost several times the products themselves.
"""

from collections.abc import Iterator

NUMBERS = 2**18
"""Numbers in a block."""


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield the blocks of a table of `rows` times `columns` numbers, in order."""
    step = max(1, NUMBERS // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
