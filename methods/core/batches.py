"""How an epoch is cut into batches, none of them of one image."""

LEAST = 2
"""Images that BatchNorm needs at once where its maps are of one pixel."""


def batch_sizes(images: int, batch_size: int) -> list[int]:
    """Return the sizes of an epoch's batches, in order; an image that would be left alone joins the batch before it."""
    whole, rest = divmod(images, batch_size)
    if whole and rest == 1:
        return [batch_size] * (whole - 1) + [batch_size + 1]
    return [batch_size] * whole + [rest] * (rest > 0)


def regrouped(images: int, batch_size: int, accumulate: int = 1) -> bool:
    """Return whether one image would have been a batch, or one of its `accumulate` pieces, were there no such rule."""
    rest = images % batch_size
    alone = images > batch_size and rest == 1
    return alone or (accumulate > 1 and (rest or batch_size) < LEAST * accumulate)
