"""Adam over arrays, for adapters that learn by gradients (no adapter).

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, with PyTorch's constants.
Equation: m <- .9 m + .1 g, v <- .999 v + .001 g^2; x <- x - rate (m / (1 - .9^t)) / (sqrt(v / (1 - .999^t)) + 1e-8).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

Arrays = Sequence[Float[np.ndarray, "..."]]


@dataclass
class Adam:
    """Moves `parameters` in place, a step at a time."""

    parameters: Arrays
    rate: float
    steps: int = 0
    means: Arrays = field(init=False)
    squares: Arrays = field(init=False)

    def __post_init__(self) -> None:
        self.means, self.squares = ([np.zeros_like(one) for one in self.parameters] for _ in range(2))

    def step(self, slopes: Arrays) -> None:
        """Take a step down `slopes`, one for each parameter."""
        self.steps += 1
        least, largest = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        for parameter, slope, mean, square in zip(self.parameters, slopes, self.means, self.squares, strict=True):
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope**2 - square)
            parameter -= self.rate * (mean / least) / (np.sqrt(square / largest) + 1e-8)
