"""Residual blocks of networks for 224-pixel images, with the names of parts that published weight files have.

Source: He et al., CVPR 2016; Xie et al., CVPR 2017 (groups). The stride is on the 3x3 convolution, as in torchvision's
networks, whose weight files fit: conv1, bn1, conv2, bn2, (conv3, bn3,) downsample.0, downsample.1.
"""

from typing import ClassVar

from torch import Tensor, nn


class Block(nn.Module):
    """Maps [B, before, H, W] to [B, expansion * planes, H / stride, W / stride].

    The shortcut is a 1x1 convolution with BatchNorm where shapes change. It is made first, so that the random numbers
    of a seed fall as they always did.
    """

    expansion: ClassVar[int]

    def __init__(self, before: int, planes: int, stride: int = 1, *, groups: int = 1, group_width: int = 64) -> None:
        super().__init__()
        width = self.expansion * planes
        shortcut = None
        if stride != 1 or before != width:
            shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.make(before, planes, stride, groups, group_width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def make(self, before: int, planes: int, stride: int, groups: int, group_width: int) -> None:
        """Make the convolutions and their BatchNorms, in the order of the forward pass."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        residual = self.residual(x)
        residual += x if self.downsample is None else self.downsample(x)
        return self.relu(residual)


class BasicBlock(Block):
    """Two 3x3 convolutions; it has no groups, and their width is not read."""

    expansion = 1

    def make(self, before: int, planes: int, stride: int, groups: int, group_width: int) -> None:
        self.conv1 = nn.Conv2d(before, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Block):
    """Convolutions 1x1, 3x3 and 1x1; the middle one is planes * group_width / 64 * groups wide, in `groups` groups."""

    expansion = 4

    def make(self, before: int, planes: int, stride: int, groups: int, group_width: int) -> None:
        middle = planes * group_width // 64 * groups
        self.conv1 = nn.Conv2d(before, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, self.expansion * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * planes)

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))
