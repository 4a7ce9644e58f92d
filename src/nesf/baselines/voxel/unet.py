"""The segmentation network: a grid in, for each voxel its element and whether it lies inside an atom."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.baselines.voxel.layers import BATCH_NORM, Conv3d, conv3d, doubled_conv3d, start_like_keras, start_standardised
from nesf.shapes import Float

CLASSES = 95
"""Background and the elements 1 to 94; the class of an element is its atomic number."""
CHANNELS = 4
"""Density and three coordinates."""
LEVELS = (32, 64, 128, 256, 512)
"""Channels of the published network."""


@dataclass(frozen=True)
class Segmentation:
    """What the network says about a batch of grids.

    Attributes:
        species: logits of the classes of each voxel.
        mask: logit of each voxel for being inside an atom.
    """

    species: Float[Tensor, "n classes d d d"]
    mask: Float[Tensor, "n d d d"]


class Down(nn.Module):
    """Two times convolution, ReLU and batch norm, in this order."""

    def __init__(self, inside: int, middle: int, outside: int) -> None:
        super().__init__()
        self.first = Conv3d(inside, middle)
        self.first_norm = nn.BatchNorm3d(middle, **BATCH_NORM)
        self.second = Conv3d(middle, outside)
        self.second_norm = nn.BatchNorm3d(outside, **BATCH_NORM)

    def forward(self, x: Float[Tensor, "n c d d d"]) -> tuple[Float[Tensor, "n k d d d"], Float[Tensor, "n k d d d"]]:
        """The output, and what the second ReLU gave before it was normed."""
        return self._finish(self.first(x))

    def _finish(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(self.second(self.first_norm(torch.relu(x))))
        return self.second_norm(features), features


class Up(Down):
    """The same for a finer grid and a coarser one of twice the voxel, which are joined first."""

    def __init__(self, fine: int, coarse: int, middle: int, outside: int) -> None:
        super().__init__(fine + coarse, middle, outside)
        self.fine = fine

    def join(self, fine: Float[Tensor, "n a d d d"], coarse: Float[Tensor, "n b s s s"]) -> Float[Tensor, "n k d d d"]:
        """The block's output for the two grids."""
        weight, bias = self.first.weight, self.first.bias
        assert bias is not None
        x = conv3d(fine, weight[:, : self.fine])
        return self._finish(x + doubled_conv3d(coarse, weight[:, self.fine :], bias))[0]


class UNet(nn.Module):
    """A plain three-dimensional U-Net with four resolutions.

    Args:
        width: share of the published numbers of channels; 1 is the published network (31,156,800 parameters).
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        a, b, c, d, e = (max(1, round(width * channels)) for channels in LEVELS)
        self.down = nn.ModuleList((Down(4, a, b), Down(b, b, c), Down(c, c, d), Down(d, e, e)))
        self.up = nn.ModuleList((Up(d, e, e, d), Up(c, d, d, c), Up(b, c, c, c)))
        # Both heads are one product: the last channel is the mask.
        self.heads = nn.Conv3d(c, CLASSES + 1, 1)
        start_like_keras(self)

    def forward(self, grids: Float[Tensor, "n 4 d d d"]) -> Segmentation:
        """Classes and mask of every voxel; the side of the grid must be divisible by 8."""
        skips, _ = self._descend(grids)
        x = skips.pop()
        for block, skip in zip(self.up, reversed(skips), strict=True):
            assert isinstance(block, Up)
            x = block.join(skip, x)
        logits = self.heads(x)
        return Segmentation(logits[:, :CLASSES], logits[:, CLASSES])

    def features(self, grids: Float[Tensor, "n 4 d d d"]) -> list[Tensor]:
        """Outputs of the second ReLU of each resolution, finest first: what the perceptual loss compares."""
        return self._descend(grids)[1]

    def _descend(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        outputs, features = [], []
        for i, block in enumerate(self.down):
            x, before = block(functional.max_pool3d(x, 2) if i else x)
            outputs.append(x)
            features.append(before)
        return outputs, features

    @torch.no_grad()
    def start_from(self, grids: Float[Tensor, "n 4 d d d"], labels: Tensor) -> None:
        """Start from what some true grids say without any learning: scale of the channels, frequency of the classes.

        Args:
            grids: as the network sees them.
            labels: (n, d, d, d) atomic number of each voxel, 0 for none.
        """
        start_standardised(self.down, grids)
        counts = torch.bincount(labels.flatten().long(), minlength=CLASSES) + labels.numel() / CLASSES * 1e-3
        share = counts / counts.sum()
        assert self.heads.bias is not None
        self.heads.bias.copy_(torch.cat((share.log(), (1 / share[:1] - 1).log())))
