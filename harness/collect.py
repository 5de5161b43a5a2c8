"""`python -m harness.collect`: evidence of anybody's model, from the model and images."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shifts.common.command import Parser, command, whole
from shifts.common.requests import request_of
from shifts.sets.arguments import add_data_arguments

if TYPE_CHECKING:
    import torch

EXAMPLES = """\
  python -m harness.collect --timm resnet50.a1_in1k --dataset my-imagenet --loss cross_entropy
      --train-counts dataset --train-imbalance natural --views 3 --output resnet50.safetensors
  python -m harness.collect --timm resnet18 --weights mine.safetensors --class-names dataset --dataset my-photos
      --loss cross_entropy --train-counts dataset --train-imbalance natural --output mine.safetensors
  python -m harness.collect --transformers OWNER/NAME --images tonight/ --loss cross_entropy --train-counts counts.json
      --output tonight.safetensors
  python -m harness.collect --checkpoint results/checkpoints/embedded-sade-quick-s0-0123456789ab.safetensors
      --images tonight/ --views 3 --output tonight.safetensors
"""


def collect(
    model: "torch.nn.Module",
    *,
    test: Iterable[Any],
    output: str | Path,
    train_counts: Any = None,
    loss: Any = None,
    source: Iterable[Any] | None = None,
    source_seen: int = 0,
    class_names: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    views: int = 0,
    mean: Any = None,
    std: Any = None,
    features: bool = False,
    head: str | Sequence[str] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    stored: Literal["float32", "float16"] = "float32",
) -> Path:
    """Pass images through your model and write the evidence file, for `harness.apply` and `harness.run --evidence`.

    model         any module on any device; it returns logits [B, C] or of experts [B, E, C], as a tensor, in something
                  with `.logits`, or as a tuple's first part. It is run in evaluation mode, and left as it was.
    test, source  loaders, or any iterables, of (images, labels), of images alone, or of dictionaries with both; names
                  of images may stand beside them. They give the same images in the same order each time. Source images
                  are labelled, outside the test images and best not trained on: adapters that calibrate need them;
                  source_seen of them were trained on.
    output        the file; `output.parts` beside it holds what is there until all is.
    train_counts  training images of each class, in the order of the model's outputs; needed.
    loss          the loss that the model was trained with: cross_entropy, balanced_softmax, logit_adjusted:tau=1 (one
                  for all experts, or a list with one an expert), or the label prior that each expert's softmax answers
                  for, [E, C]; needed.
    class_names   in the order of the model's outputs; otherwise 0, 1, ...
    ids           a name of each test image, where batches have none.
    views         pairs of random views of each test image (adapter `sade` needs some, 3 are usual).
    mean, std     where images come as pixels in 0..1 or bytes: the model sees (pixels - mean) / std. Needed for views.
    features      store what goes into the last linear layer of each expert, and these layers; head names them (by
                  `named_modules`), where the logits are not what linear layers give.
    precision     bf16 runs convolutions and matrix products in bfloat16.
    stored        type of stored logits and features.

    Labels may be absent, of all images: the file then serves `harness.apply`, not `harness.run`. Memory holds one batch
    at a time. A run that was stopped goes on with the same call. Returns the path. Raises BadInput, with one line
    on what is missing or does not fit, and WorkFailed for logits that are not finite.
    """
    from harness.collecting.loop import Request, run

    request = Request(
        model=model,
        train_counts=train_counts,
        loss=loss,
        output=Path(output),
        source_seen=source_seen,
        class_names=class_names,
        views=views,
        mean=mean,
        std=std,
        features=features,
        head=head,
        precision=precision,
        stored=stored,
    )
    return run(request, test, source, ids)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    from harness.collecting.command import CollectRequest

    print(request_of(CollectRequest, options).work())
    return 0


def parser() -> Parser:
    """Make the command's arguments."""
    made = Parser(
        "python -m harness.collect", "Evidence of your own model, for harness.apply and harness.run.", EXAMPLES
    )
    group = made.add_argument_group("model (one of the first three)")
    group.add_argument("--timm", metavar="NAME", help="a model of timm: resnet50.a1_in1k, hf-hub:OWNER/NAME")
    group.add_argument("--transformers", metavar="NAME", help="an image classifier of the Hub, or a local folder")
    group.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="a checkpoint of ours; it needs none of the rest"
    )
    group.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights to load: safetensors, or .pth with tensors"
    )
    group.add_argument(
        "--class-names",
        metavar="FILE",
        help="what the outputs are, in order: a JSON list, one name a line, or `dataset` if they are in its order",
    )
    group.add_argument(
        "--loss",
        nargs="+",
        metavar="LOSS",
        help="that the model was trained with: cross_entropy, balanced_softmax, logit_adjusted:tau=1 (one, or one an "
        "expert), or a JSON file with the label prior that each expert answers for",
    )
    group.add_argument(
        "--train-counts",
        metavar="FILE",
        help="training images of each class: JSON, a list or by class name, or `dataset` for the training set that the "
        "data options name",
    )
    add_data_arguments(made, dataset="")
    group = made.add_argument_group("images")
    group.add_argument(
        "--images", type=Path, metavar="FOLDER", help="images that nobody has labelled, in place of the test split"
    )
    group.add_argument("--no-source", action="store_true", help="leave labelled source images out")
    group = made.add_argument_group("what to store, and how")
    group.add_argument("--views", type=whole(0), default=0, metavar="K", help="view pairs an image (default: 0)")
    group.add_argument("--features", action="store_true", help="also the inputs of the last layers, and these layers")
    group.add_argument("--head", nargs="+", metavar="NAME", help="the last layers by name, where they are not found")
    group.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the passes (default: fp32)")
    group.add_argument("--stored", choices=("float32", "float16"), default="float32", help="default: float32")
    group.add_argument("--batch", type=whole(1), metavar="N", help="images in a pass (default: 32, 256 on CUDA)")
    group.add_argument("--decoders", type=whole(0), metavar="N", help="processes that decode (default: one a core)")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    group.add_argument("--output", type=Path, metavar="FILE", help="the evidence file; needed")
    return made


if __name__ == "__main__":
    sys.exit(main(None))
