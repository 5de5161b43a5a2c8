"""EM with running counts over a stream, after bias-corrected temperature scaling.

Source: Alexandari, Kundaje and Shrikumar, ICML 2020 (calibration before EM); the stream is that of `stream_em`.
Equation: as `stream_em`, with calibrated logits a z + b in place of z and the source prior in place of target_prior.
Known at batch t: logits of batches 1..t (with `first=answer` 1..t-1), and the source.
Failures: those of `em_bcts` and `stream_em`.

Access: labelled source images beyond the training set, as `em_bcts`.
"""

from dataclasses import dataclass
from typing import ClassVar

from harness.adapters.parts.calibration import Calibration, calibrated
from harness.adapters.stream_em import StreamEm
from harness.evidence.access import Access
from harness.evidence.arrays import Evidence
from methods.core.priors import ExpertPriors


@dataclass(frozen=True)
class StreamEmBcts(StreamEm):
    """Online EM with the source prior as reference and start."""

    name: ClassVar[str] = "stream_em_bcts"
    access: ClassVar[Access] = Access("estimated", "source", "stream")
    reads: ClassVar[tuple[str, ...]] = ("source",)

    def calibration(self, evidence: Evidence, expert_priors: ExpertPriors) -> Calibration:
        """Return BCTS on the source."""
        assert evidence.source is not None  # `missing` refused it
        return calibrated(evidence.source)
