"""How many examples property tests draw: `quick` by default, `--hypothesis-profile thorough` for all promises.

Both draw the same examples every time (`derandomize`), so that nobody's change fails by chance.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import settings

settings.register_profile("quick", deadline=None, derandomize=True, max_examples=20)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=200)


def few(test: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a property test that is slow for each example: it draws a fifth of the profile's."""
    return settings(max_examples=settings().max_examples // 5)(test)
