"""What `python -m harness.apply` does."""

from dataclasses import dataclass
from pathlib import Path

from harness.adapters.parts.check import check_seed
from harness.applying import output
from harness.applying.applied import Applied, applied
from harness.applying.reading import Given, given
from harness.applying.recommended import Order, chosen, recommended
from harness.applying.text import text
from shifts.common.errors import BadInput, check_name


@dataclass(frozen=True)
class ApplyRequest:
    """Answers for the images of one evidence file; the options of the same names say what each field is."""

    model: Path = Path()
    images: Path | None = None
    adapters: tuple[str, ...] = ()
    order: Order = "whole"
    batch: int | None = None
    seed: int = 0
    output: Path | None = None
    dry_run: bool = False

    def work(self) -> str:
        """Answer and write the files that were asked for; returns what to print. Raises BadInput."""
        if self.output is not None:
            output.check(self.output, [self.model, *([] if self.images is None else [self.images])])
        read = self.given()
        found = recommended(read.read.evidence, self.order) if self._name is None else None
        if self.dry_run:
            adapter = chosen(self._name, read.read.evidence, self.order, self.batch)
            return f"{read.images}: {len(read.read.evidence.logits):,} images would be answered by {adapter.name}"
        made = self.applied(read)
        lines = [text(made, found)]
        if self.output is not None:
            made.write(self.output)
            lines += ["", f"{self.output}: the answers", f"{output.prior_path(self.output)}: the class shares"]
        else:
            lines += [
                "",
                "--output FILE writes the answers (.parquet, .csv, .jsonl), with the class shares beside them",
            ]
        return "\n".join(lines)

    @property
    def _name(self) -> str | None:
        return self.adapters[0] if self.adapters else None

    def given(self) -> Given:
        """Read the files. Raises BadInput."""
        check_name("order", self.order, ("whole", "stream"))
        if self.batch is not None and self.batch < 1:
            raise BadInput(f"batch must be at least 1, not {self.batch}")
        check_seed(self.seed)
        return given(self.model, self.images)

    def applied(self, read: Given | None = None) -> Applied:
        """Answer for the images. Raises BadInput."""
        read = self.given() if read is None else read
        adapter = chosen(self._name, read.read.evidence, self.order, self.batch)
        try:
            return applied(read, adapter, self.seed)
        except ValueError as error:
            raise BadInput(f"{read.images}: {error}") from error
