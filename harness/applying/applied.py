"""From evidence of unlabelled images to answers, estimated class shares and whether to trust them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from harness.adapters.mean import Mean
from harness.adapters.parts.chosen import Chosen, estimate_of
from harness.adapters.parts.contract import Adapter, Fitted, Prior, WeightedExperts
from harness.adapters.parts.spread import replicates
from harness.adapters.parts.streams import Arriving
from harness.applying import output
from harness.applying.answers import Answers, answers
from harness.applying.reading import Given
from harness.applying.verdict import Verdict, verdict
from harness.evidence.arrays import UnlabelledEvidence
from methods.core.priors import normalise
from shifts.labels.distance import total_variation

LEVEL = 0.9
"""Of the intervals of class shares and of the gain."""

MOST_NUMBERS = 2**23
"""Posteriors behind the intervals of class shares: some seconds."""


@dataclass(frozen=True, eq=False)
class Applied:
    """Answers for unlabelled images.

    classes: the class of each image [N]; probabilities: how sure each is [N]; plain: the classes without adaptation
    [N]; prior: the estimated class shares [C], None where the adapter estimates none; low, high: their 90 % interval
    [C], None where there is none; verdict: whether to adapt, None for `mean`; adapted: whether these are answers with
    adaptation, which an adapter that chooses may not give; class_names [C]; ids [N]: the images' names, None where they
    have none.
    """

    read: UnlabelledEvidence = field(repr=False)
    adapter: Adapter
    answers: Answers = field(repr=False)
    verdict: Verdict | None
    prior: Prior | None = field(repr=False)
    low: Prior | None = field(repr=False)
    high: Prior | None = field(repr=False)
    adapted: bool

    @property
    def classes(self) -> Int[np.ndarray, " images"]:
        return self.answers.classes

    @property
    def probabilities(self) -> Float[np.ndarray, " images"]:
        return self.answers.probabilities

    @property
    def plain(self) -> Int[np.ndarray, " images"]:
        return self.answers.plain

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names; one that several classes have stands with each one's number."""
        names = self.read.class_names
        times = Counter(names)
        return tuple(name if times[name] == 1 else f"{name} ({place})" for place, name in enumerate(names))

    @property
    def ids(self) -> tuple[str, ...] | None:
        return self.read.ids

    @cached_property
    def train(self) -> Prior:
        """The class shares of the training images [C]."""
        return normalise(self.read.train_counts)

    def write(self, path: str | Path) -> None:
        """Write the answers (Parquet, CSV or JSON lines, by the suffix), and the shares beside them.

        Raises BadInput for another suffix and OSError.
        """
        path = Path(path)
        output.write(path, self.answers, self.class_names, self.ids)
        output.write_prior(output.prior_path(path), self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return class shares, adapter and verdict as what JSON can hold."""
        prior = self.prior
        numbers: Mapping[str, Prior | None] = {
            "train_share": self.train,
            "estimated_share": prior,
            "low": self.low,
            "high": self.high,
        }
        return {
            "adapter": {"name": self.adapter.name, "version": self.adapter.version, "settings": self._settings()},
            "access": self.adapter.access.fields,
            "images": len(self.classes),
            "source_images": 0 if self.read.evidence.source is None else len(self.read.evidence.source.labels),
            "adapted": self.adapted,
            "changed": self.answers.changed,
            "tv_train_estimate": None if prior is None else total_variation(self.train, prior),
            "interval": LEVEL,
            "classes": [
                {"class": name} | {what: None if of is None else float(of[place]) for what, of in numbers.items()}
                for place, name in enumerate(self.class_names)
            ],
            "verdict": None if self.verdict is None else self.verdict.as_json(),
        }

    def _settings(self) -> dict[str, Any]:
        settings = asdict(self.adapter)
        if isinstance(self.adapter, Arriving):
            del settings["order"]  # of test sets that are drawn; here it is that of the file
        return settings


def applied(given: Given, adapter: Adapter, seed: int) -> Applied:
    """Fit the adapter to the images, answer for each and judge. Raises ValueError where it cannot be fitted."""
    read = given.read
    evidence, counts, priors = read.evidence, read.train_counts, read.expert_priors
    plain = Mean().fit(evidence, counts, priors, seed)
    fitted = adapter.fit(evidence, counts, priors, seed)
    final = answers(evidence, adapter, fitted, plain)
    estimate = estimate_of(fitted)
    kept = isinstance(fitted, Chosen) and not fitted.said.adapt
    tried = answers(evidence, adapter, estimate, plain) if kept else final
    low, high = _interval(read, adapter, estimate, seed)
    said = verdict(read, adapter, fitted, plain, tried, seed)
    return Applied(read, adapter, final, said, estimate.prior, low, high, not kept and adapter.name != Mean.name)


def _interval(
    read: UnlabelledEvidence, adapter: Adapter, estimate: Fitted, seed: int
) -> tuple[Prior | None, Prior | None]:
    """Return where the shares lie in LEVEL of the replicates, None where the estimate has none."""
    if not isinstance(estimate, WeightedExperts) or estimate.mixture is None or estimate.prior is None:
        return None, None
    source = read.evidence.source if "source" in adapter.reads else None
    others = replicates(read.evidence, estimate.prior, estimate.mixture, source, seed, numbers=MOST_NUMBERS)
    low, high = np.quantile(others, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.minimum(low, estimate.prior), np.maximum(high, estimate.prior)
