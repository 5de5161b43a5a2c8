"""What `fp32` and `bf16` mean: training switches TF32 off, and bfloat16 is for products only."""

from pathlib import Path

import pytest
import torch

from methods import papers
from methods.core.precision import Precision, arithmetic
from tests.methods import tiny


def test_float32_is_float32(tmp_path: Path) -> None:
    libraries = torch.backends.cudnn, torch.backends.cuda.matmul
    for library in libraries:
        library.allow_tf32 = True
    tiny.run(papers.get("softmax"), tmp_path / "state")
    assert [library.allow_tf32 for library in libraries] == [False, False]


@pytest.mark.parametrize(("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_in_the_precision_asked_for_and_sums_in_float32(precision: Precision, kind: torch.dtype) -> None:
    values = torch.rand(4, 4)
    with arithmetic(torch.device("cpu"), precision):
        assert (values @ values).dtype == kind
        assert torch.conv2d(values[None, None], values[None, None]).dtype == kind
        assert (values + values).sum().dtype == torch.float32
