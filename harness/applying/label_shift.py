"""Adaptation to label shift in a program, by the conventions of scikit-learn."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from harness import adapters
from harness.adapters.parts.check import check_seed
from harness.adapters.parts.contract import Adapter, Fitted
from harness.adapters.parts.streams import StreamAdapter
from harness.applying.knowledge import Knowledge, knowledge


class LabelShiftAdapter(ClassifierMixin, BaseEstimator):
    """Turns the logits of a batch of unlabelled images into probabilities, adapted to the batch's class shares.

    adapter: an adapter by name, with options on it as in `eb_em:rule=best`; those of `harness.apply` for whole sets.
    seed: of what it draws.

    After `fit`: `classes_` [C], `n_features_in_` (C), `n_experts_`. Each call adapts anew to the images that it is
    given, all together: answers for one image depend on the others of the call.
    """

    def __init__(self, adapter: str = "choose_source", seed: int = 0) -> None:
        self.adapter = adapter
        self.seed = seed

    def fit(self, X: Any, y: Any, train_counts: Any = None, expert_priors: Any = None) -> "LabelShiftAdapter":  # noqa: N803
        """Keep labelled source logits, which adapters calibrate on; best of images that were not trained on.

        X: logits [M, C] or [M, E, C]; y: labels [M], 0..C-1 for the columns, or C names, the columns in sorted order.
        train_counts: training images of each class [C]; None takes the counts of y, right for a source drawn as the
        training set was. expert_priors: label prior that the softmax, of each expert, answers for, [C] or [E, C]; None
        takes the shares of train_counts, right after cross-entropy; uniform is right after a balanced loss. Adapters
        that calibrate on the source do not need it.

        Raises ValueError for what does not fit, where the adapter does not apply and for one that is told the truth,
        BadInput for an unknown adapter.
        """
        made = self._chosen()
        self.known_: Knowledge = knowledge(X, y, train_counts, expert_priors)
        if (reason := made.missing(self.known_.evidence(self.known_.source.logits[:1]))) is not None:
            raise ValueError(f"{self.adapter} does not apply: {reason}")
        validate_data(self, X, skip_check_array=True, ensure_2d=False)  # remembers names of columns, if they have some
        self.classes_ = self.known_.classes
        self.n_features_in_ = len(self.classes_)
        self.n_experts_ = self.known_.source.logits.shape[1]
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "images classes"]:  # noqa: N803
        """Return adapted probabilities [N, C] of images with logits [N, C] or [N, E, C].

        Raises ValueError for logits of another model and where the adapter does not apply.
        """
        fitted, evidence = self._fitted(X)
        return np.asarray(softmax(fitted.predict(evidence).astype(np.float64), axis=1))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the class of each image [N]. Raises as `predict_proba`."""
        answers = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[answers])

    def estimate_prior(self, X: Any) -> Float[np.ndarray, " classes"]:  # noqa: N803
        """Return the estimated class shares [C] of a batch. Raises as `predict_proba`, and for one without estimate."""
        prior = self._fitted(X)[0].prior
        if prior is None:
            raise ValueError(f"{self.adapter} estimates no class shares")
        return prior.copy()

    def _chosen(self) -> Adapter:
        check_seed(self.seed)
        made = adapters.get(self.adapter)
        if not isinstance(made, Adapter) or isinstance(made, StreamAdapter):
            raise ValueError(
                f"{self.adapter} is not for a whole batch of unlabelled images; OnlineAdapter reads streams"
            )
        return made

    def _fitted(self, logits: Any) -> tuple[Fitted, Any]:
        check_is_fitted(self)
        validate_data(self, logits, reset=False, skip_check_array=True, ensure_2d=False)
        evidence = self.known_.evidence(logits)
        fitted = self._chosen().fit(evidence, self.known_.counts, self.known_.expert_priors, self.seed)
        return fitted, evidence
