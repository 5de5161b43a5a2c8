"""Heads by preference, as arrays: what turns features into logits at each point of a lattice of preferences.

Source: Zhao et al., NeurIPS 2024: a hypernetwork turns a preference into the experts' cosine classifiers. It is asked
beforehand, once for each lattice point, so that whoever uses its heads needs no network.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Float, Float32

STEPS = 10
"""Steps of the lattice along an edge of the simplex: multiples of 0.1, 66 points for three experts."""


_SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class PreferenceHeads:
    """The experts' cosine classifiers at each of P preferences over E experts.

    points: preferences, non-negative, each sums to one. weights: classifiers, of any length. scale: s of the cosine.
    priors: the label prior that each preference stands for, normalise(prod_e p_e^{alpha_e}).
    Raises ValueError for shapes that do not belong together, for points or priors off the simplex and for weights or
    a scale that are not finite (the scale: not positive).
    """

    points: Float[np.ndarray, "points experts"]
    weights: Float32[np.ndarray, "points experts dim classes"]
    scale: float
    priors: Float[np.ndarray, "points classes"]

    def __post_init__(self) -> None:
        if self.weights.ndim != 4 or 0 in self.weights.shape:
            raise ValueError(f"heads must be [points, experts, dim, classes], not of shape {self.weights.shape}")
        points, experts, _, classes = self.weights.shape
        _check_simplex(self.points, (points, experts), "preferences")
        _check_simplex(self.priors, (points, classes), "priors of preferences")
        if not np.isfinite(self.weights).all():
            raise ValueError("heads have NaN or infinite values")
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"the scale of heads must be positive and finite, not {self.scale}")

    @cached_property
    def unit(self) -> Float32[np.ndarray, "points experts dim classes"]:
        """The classifiers with columns of length one."""
        return _normalise(self.weights, axis=2)

    def logits(
        self, features: Float32[np.ndarray, "images experts dim"], point: int
    ) -> Float32[np.ndarray, "images experts classes"]:
        """Return s * <f / |f|, w_c / |w_c|> of each expert at lattice point number `point`.

        Raises ValueError for features of other experts or another dimension.
        """
        unit = _normalise(self._checked(features), axis=-1)
        logits = np.matmul(unit.swapaxes(0, 1), self.unit[point]).swapaxes(0, 1)
        return np.ascontiguousarray(self.scale * logits, dtype=np.float32)

    def ensemble(
        self, features: Float32[np.ndarray, "images experts dim"], point: int
    ) -> Float32[np.ndarray, "images classes"]:
        """Return the mean over experts of `logits`, as one matrix product. Raises ValueError as `logits`."""
        return self.flat(features) @ self.flat_heads[point]

    def flat(self, features: Float32[np.ndarray, "images experts dim"]) -> Float32[np.ndarray, "images joint"]:
        """Return normalised features with experts side by side, joint = experts * dim.

        Raises ValueError as `logits`.
        """
        return _normalise(self._checked(features), axis=-1).reshape(len(features), -1)

    @cached_property
    def flat_heads(self) -> Float32[np.ndarray, "points joint classes"]:
        """What `flat` features are multiplied with for the mean over experts: (s / E) * normalised classifiers."""
        points, experts, _, classes = self.weights.shape
        return (self.unit * np.float32(self.scale / experts)).reshape(points, -1, classes)

    def _checked(
        self, features: Float32[np.ndarray, "images experts dim"]
    ) -> Float32[np.ndarray, "images experts dim"]:
        wanted = self.weights.shape[1:3]
        if features.ndim != 3 or features.shape[1:] != wanted:
            raise ValueError(f"features of shape {features.shape} do not belong to heads for {list(wanted)}")
        return features


@dataclass(frozen=True, eq=False)
class Classifiers:
    """The last layer of each expert, which turns its features into its logits.

    weights: [E, D, C], float32; biases: [E, C], or None. scale: None for a linear layer; else the classifiers are
    cosine ones, with logits scale * <f / |f|, w_c / |w_c|>. Raises ValueError for shapes that do not belong together,
    values that are not finite and a scale that is not positive.
    """

    weights: Float32[np.ndarray, "experts dim classes"]
    biases: Float32[np.ndarray, "experts classes"] | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.weights.ndim != 3 or 0 in self.weights.shape:
            raise ValueError(f"classifiers must be [experts, dim, classes], not of shape {self.weights.shape}")
        experts, _, classes = self.weights.shape
        if self.biases is not None and self.biases.shape != (experts, classes):
            raise ValueError(f"classifier_biases must be [{experts}, {classes}], not {list(self.biases.shape)}")
        if not np.isfinite(self.weights).all() or not (self.biases is None or np.isfinite(self.biases).all()):
            raise ValueError("classifiers have NaN or infinite values")
        if self.scale is not None and not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"the scale of cosine classifiers must be positive and finite, not {self.scale}")

    def logits(
        self, features: Float32[np.ndarray, "images experts dim"]
    ) -> Float32[np.ndarray, "images experts classes"]:
        """Return the logits of features. Raises ValueError for features of other experts or another dimension."""
        if features.ndim != 3 or features.shape[1:] != self.weights.shape[:2]:
            wanted = list(self.weights.shape[:2])
            raise ValueError(f"features of shape {features.shape} do not belong to classifiers for {wanted}")
        weights = self.weights
        if self.scale is not None:
            features, weights = _normalise(features, axis=-1), _normalise(weights, axis=1)
        logits = np.matmul(features.swapaxes(0, 1), weights).swapaxes(0, 1)
        logits = logits if self.scale is None else self.scale * logits
        return np.ascontiguousarray(logits if self.biases is None else logits + self.biases, dtype=np.float32)


def lattice(experts: int, steps: int = STEPS) -> Float[np.ndarray, "points experts"]:
    """Return all preferences over `experts` whose shares are multiples of 1 / steps; the centre first, on them or not.

    The rest run in lexicographic order, the last corner first.
    Raises ValueError for fewer than two experts or one step.
    """
    if experts < 2 or steps < 1:
        raise ValueError(f"a lattice needs two experts and a step, not {experts} and {steps}")
    # Bars among steps + experts - 1 places: the gaps between them are the shares.
    places = steps + experts - 1
    bars = np.array(list(combinations(range(places), experts - 1)), dtype=np.int64)
    ends = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, places)))
    shares = np.diff(ends, axis=1) - 1
    others = shares[(shares * experts != steps).any(axis=1)]
    return np.concatenate([np.full((1, experts), 1 / experts), others / steps])


def _check_simplex(values: Float[np.ndarray, "points parts"], shape: tuple[int, int], what: str) -> None:
    if values.shape != shape:
        raise ValueError(f"{what} must be {list(shape)}, not {list(values.shape)}")
    # negated, so that NaN is refused too
    if not ((values >= 0).all() and np.allclose(values.sum(1), 1, atol=1e-5)):
        raise ValueError(f"{what} must be non-negative and each sum to one")


def _normalise(values: Float[np.ndarray, "..."], axis: int) -> Float32[np.ndarray, "..."]:
    """Return the values divided by their Euclidean norm along an axis, which counts as at least 1e-12."""
    values = np.asarray(values, dtype=np.float32)
    norms = np.sqrt(np.einsum("...i,...i->...", np.moveaxis(values, axis, -1), np.moveaxis(values, axis, -1)))
    return np.asarray(values / np.expand_dims(np.maximum(norms, _SMALLEST_NORM), axis))


_IMAGES_AT_ONCE = 512


def agreement(
    heads: PreferenceHeads, view_features: Float32[np.ndarray, "pairs 2 images experts dim"]
) -> Float32[np.ndarray, "images points"]:
    """Return the cosine of the two views' ensemble predictions at each point, the mean over pairs, for each image."""
    pairs, _, images = view_features.shape[:3]
    table = np.zeros((images, len(heads.points)), np.float32)
    for start in range(0, images, _IMAGES_AT_ONCE):
        rows = slice(start, min(start + _IMAGES_AT_ONCE, images))
        for pair in view_features[:, :, rows]:
            flat = heads.flat(pair.reshape(-1, *pair.shape[2:]))
            for point, head in enumerate(heads.flat_heads):
                table[rows, point] += view_cosines(flat @ head)
    return table / np.float32(pairs)


def view_cosines(logits: Float32[np.ndarray, "two_views classes"]) -> Float32[np.ndarray, " images"]:
    """Return the cosine of the softmax answers to two views.

    `logits` has one view's rows after the other's and is overwritten.
    """
    logits -= logits.max(axis=1, keepdims=True)
    # the cosine ignores scale, so softmax need not be normalised
    powers = np.exp(logits, out=logits)
    half = len(powers) // 2
    squares = np.einsum("bc,bc->b", powers, powers)
    norms = np.sqrt(squares[:half] * squares[half:])
    return np.asarray(np.einsum("bc,bc->b", powers[:half], powers[half:]) / norms)
