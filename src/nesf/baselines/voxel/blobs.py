"""The mask of a grid taken apart into blobs, each of which is to be one atom."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from nesf.shapes import Bool, Int

MIN_VOXELS = 4
"""A component of fewer voxels is noise."""
CONVEXITY = 0.8
"""A component that fills this share of its convex hull is one atom."""
VOXELS_PER_SEGMENT = 8
"""Segments that are larger than this on average are split again ..."""
DEEPEST = 5
"""... so many times at most."""

# Face and space diagonals of a cube, one of each opposite pair.
_DIAGONALS = np.array([d for d in product((-1, 0, 1), repeat=3) if d > (0, 0, 0) and np.count_nonzero(d) > 1])

Blob = Int[np.ndarray, "voxels 3"]
"""Indices of the voxels of an atom."""


def split(mask: Bool[np.ndarray, "d d d"]) -> list[Blob]:
    """The blobs of a mask: its connected components, and the parts of those that are not convex.

    Two balls that overlap, or several in a row, fill their hull well enough to pass as one: the method's weakness.

    >>> mask = np.zeros((16, 16, 16), dtype=bool)
    >>> mask[1:3, 1:3, 1:3] = mask[8:12, 8:12, 8:12] = mask[14, 14, 14] = True
    >>> [len(blob) for blob in split(mask)]
    [8, 64]
    """
    return list(_blobs(mask.astype(np.int32), depth=0))


def _blobs(segments: Int[np.ndarray, "x y z"], depth: int) -> Iterator[Blob]:
    """Blobs of the numbered segments; touching segments of different number are different components."""
    from skimage.measure import label, regionprops

    for region in regionprops(label(segments, connectivity=1)):
        if region.area < MIN_VOXELS:
            continue
        origin = np.array(region.bbox[:3])
        if _is_convex(region.image):
            yield region.coords
            continue
        parts = _watershed(region.image)
        names = np.unique(parts[parts > 0])
        if np.count_nonzero(parts) // VOXELS_PER_SEGMENT > len(names) and depth < DEEPEST:
            yield from (blob + origin for blob in _blobs(parts, depth + 1))
        else:
            yield from (np.argwhere(parts == name) + origin for name in names)


def _is_convex(blob: Bool[np.ndarray, "x y z"]) -> bool:
    """Whether a connected blob, which reaches from face to face of its bounding box, fills enough of its hull."""
    from skimage.morphology import convex_hull_image

    voxels = np.count_nonzero(blob)
    # The hull lies between the planes that touch the blob from both sides. Most blobs fill even that polyhedron,
    # which takes a tenth of the time.
    heights = _DIAGONALS @ np.indices(blob.shape).reshape(3, -1)
    own = heights[:, blob.ravel()]
    between = (heights >= own.min(1, keepdims=True)) & (heights <= own.max(1, keepdims=True))
    if voxels >= CONVEXITY * np.count_nonzero(between.all(0)):
        return True
    # A blob without volume is one layer of voxels, and its hull is found in the plane.
    layers = [axis for axis in range(3) if blob.shape[axis] == 1][:1]
    return bool(voxels >= CONVEXITY * np.count_nonzero(convex_hull_image(blob.squeeze(tuple(layers)))))


def _watershed(blob: Bool[np.ndarray, "x y z"]) -> Int[np.ndarray, "x y z"]:
    """The blob divided among what is left of it after an erosion; the parts are numbered from 2, other voxels 0."""
    from skimage.measure import label
    from skimage.morphology import ball, dilation, erosion
    from skimage.segmentation import watershed

    image = blob.astype(np.uint8)
    # Both continue the picture beyond its faces by its mirror image, so faces of the crop are not eroded.
    core, grown = erosion(image, ball(1)), dilation(image, ball(1))
    markers = label(core) + 1
    markers[grown > core] = 0
    parts = watershed(image, markers)
    return np.where(parts > 1, parts, 0).astype(np.int32)
