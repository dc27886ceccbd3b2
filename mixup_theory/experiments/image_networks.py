"""Networks for images: a small CNN, and the pre-activation ResNet-18 for images of 32x32."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["cnn", "resnet18"]


class _AsImages(nn.Module):
    """Gives inputs that are stored flat, [n, C H W], the shape of images; images pass through."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x if x.ndim == 4 else x.reshape(len(x), *self.shape)


def cnn(shape: tuple[int, int, int], channels: tuple[int, ...], num_classes: int) -> nn.Sequential:
    """Return blocks of a 3x3 convolution, a ReLU and a 2x2 maximum, then one linear layer.

    Args:
        shape: Channels, height and width of an image.
        channels: Channels of each block; the side is halved (rounded down) by each.
        num_classes: Length of the output, the logits.

    Returns:
        One module per block and the last layer; float32. It takes images, or rows of the same size.

    Example:
        >>> cnn((1, 28, 28), (8, 16), 10)[-1]  # 16 channels of 7x7
        Sequential(
          (0): Flatten(start_dim=1, end_dim=-1)
          (1): Linear(in_features=784, out_features=10, bias=True)
        )
    """
    (width, height, side), blocks = shape, []
    for out in channels:
        blocks.append(nn.Sequential(nn.Conv2d(width, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)))
        width, height, side = out, height // 2, side // 2
    blocks[0].insert(0, _AsImages(shape))
    return nn.Sequential(*blocks, nn.Sequential(nn.Flatten(), nn.Linear(width * height * side, num_classes)))


class _Block(nn.Module):
    """Two 3x3 convolutions, each after batch normalisation and ReLU, and a shortcut around them."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(out)
        self.conv1 = nn.Conv2d(width, out, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(width, out, 1, stride, bias=False) if (width, stride) != (out, 1) else None

    def forward(self, x: Tensor) -> Tensor:
        ready = functional.relu(self.norm1(x))
        around = x if self.shortcut is None else self.shortcut(ready)
        return around + self.conv2(functional.relu(self.norm2(self.conv1(ready))))


class _Head(nn.Module):
    """Batch normalisation, ReLU, mean over the image, linear layer."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm2d(width), nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(functional.relu(self.norm(x)).mean(dim=(2, 3)))


def resnet18(shape: tuple[int, int, int], width: int, num_classes: int) -> nn.Sequential:
    """Return the pre-activation ResNet-18 for small images: a 3x3 stem, four stages of two blocks, one linear layer.

    Stage k has width 2^(k-1) `width`, and from the second on half the side. The first hidden state is that after the
    stem and the first stage, as in the code of manifold mixup.

    Args:
        shape: Channels, height and width of an image.
        width: Channels of the stem; 64 in the paper.
        num_classes: Length of the output, the logits.

    Returns:
        One module per stage and the last layer; float32. It takes images, or rows of the same size.

    References:
        He et al. 2016, "Identity mappings in deep residual networks".

    Example:
        >>> network = resnet18((3, 32, 32), 64, 10)
        >>> sum(parameter.numel() for parameter in network.parameters())
        11172170
    """
    stages = [nn.Sequential(_AsImages(shape), nn.Conv2d(shape[0], width, 3, padding=1, bias=False))]
    for k, (into, out) in enumerate([(1, 1), (1, 2), (2, 4), (4, 8)]):
        blocks = (_Block(width * into, width * out, 2 if k else 1), _Block(width * out, width * out, 1))
        stages = [nn.Sequential(*stages[0], *blocks)] if k == 0 else [*stages, nn.Sequential(*blocks)]
    return nn.Sequential(*stages, _Head(8 * width, num_classes))
