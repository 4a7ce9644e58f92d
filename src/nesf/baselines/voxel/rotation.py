"""Grids turned by the rotations that map a cube onto itself."""

import torch
from torch import Tensor

from nesf.shapes import Float

# First one of the six faces comes to the end of the last axis, then it turns about that axis: 24 proper rotations,
# each as (quarter turns, plane) pairs. The first one moves nothing.
_FACES = ((0, (0, 2)), (1, (0, 2)), (2, (0, 2)), (3, (0, 2)), (1, (1, 2)), (3, (1, 2)))
ROTATIONS = tuple((face, (turns, (0, 1))) for face in _FACES for turns in range(4))


def rotate(
    grids: Float[Tensor, "n channels d d d"], labels: Tensor, share: float, generator: torch.Generator
) -> tuple[Float[Tensor, "n channels d d d"], Tensor]:
    """Turn each crystal with probability ``share`` by one of the 24 rotations, drawn evenly; channels stay in place.

    Every channel turns as a picture, so a ramp may afterwards run along another axis, or backwards.

    Args:
        grids: channels of each crystal.
        labels: (n, d, d, d) the species of each voxel, turned alike.
        share: probability that a crystal is turned.
        generator: where the choice comes from; one on the CPU lets a GPU run on.
    """
    if share == 0:
        return grids, labels
    device = generator.device
    turned = torch.rand(len(grids), generator=generator, device=device) < share
    drawn = torch.randint(len(ROTATIONS), (len(grids),), generator=generator, device=device)
    which = torch.where(turned, drawn, 0).cpu()
    grids, labels = grids.clone(), labels.clone()
    for rotation in which.unique().tolist():
        if rotation:
            index = (which == rotation).nonzero().squeeze(1).to(grids.device)
            grids[index] = turn(grids[index], rotation)
            labels[index] = turn(labels[index], rotation)
    return grids, labels


def turn(volumes: Tensor, rotation: int) -> Tensor:
    """Turn the last three axes of a tensor by the rotation of this number, 0 to 23."""
    for turns, (first, second) in ROTATIONS[rotation]:
        volumes = torch.rot90(volumes, turns, (first - 3, second - 3))
    return volumes
