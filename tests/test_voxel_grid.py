"""The voxel baseline's representation: density, labels, ramps, and how they are turned."""

from math import pi

import numpy as np
import pytest
import torch

from nesf.baselines.voxel.grid import GridSettings, Voxels, voxelise
from nesf.baselines.voxel.lengths import lattice_lengths
from nesf.baselines.voxel.radii import MAX_NUMBER, ionic_radii, number_problem
from nesf.baselines.voxel.rotation import ROTATIONS, rotate, turn
from nesf.crystal import Crystal, CrystalBatch
from nesf.errors import NesfError
from nesf.testing import known_crystals

PUBLISHED = GridSettings()
FLOOR = GridSettings(label_fraction=0.5, label_voxels=1.5)


def grid_of(*crystals: Crystal, settings: GridSettings = PUBLISHED) -> Voxels:
    return voxelise(CrystalBatch.from_crystals(crystals), settings)


def cubic(numbers, frac, length) -> Crystal:
    return Crystal.from_frac("x", numbers, frac, length * np.eye(3))


def distances(crystal: Crystal, settings: GridSettings) -> np.ndarray:
    """(n, d, d, d) from each atom of the crystal, as in a box, to each voxel, one by one."""
    edges = 1.5 * crystal.lengths / settings.size
    layers = np.stack(np.meshgrid(*[np.arange(settings.size)] * 3, indexing="ij"), axis=-1)
    centres = (layers + 0.5) * edges - 0.25 * crystal.lengths
    return np.stack([np.linalg.norm(centres - f * crystal.lengths, axis=-1) for f in crystal.frac])


def radii_of(crystal: Crystal) -> np.ndarray:
    return ionic_radii(torch.tensor(crystal.numbers)).numpy().astype(float)


@pytest.mark.parametrize(("number", "radius"), [(1, 1.2), (2, 1.2), (3, 0.9), (8, 1.26), (55, 1.81), (94, 0.9675)])
def test_the_table_of_radii(number, radius):
    assert ionic_radii(torch.tensor([number])).item() == pytest.approx(radius)


def test_the_table_covers_every_class_and_refuses_the_next_element():
    radii = ionic_radii(torch.arange(MAX_NUMBER + 1))
    assert radii.min() == pytest.approx(0.3)
    assert radii.max() == pytest.approx(1.94)
    # Without data are H, the noble gases but Xe, and the background.
    assert (radii == 1.2).nonzero().flatten().tolist() == [0, 1, 2, 10, 18, 36, 86]
    assert number_problem(torch.tensor([MAX_NUMBER])) is None
    with pytest.raises(NesfError, match="Am has no class"):
        grid_of(cubic([95], [[0, 0, 0]], 4.0))


@pytest.mark.parametrize("number", [13, 22, 6])
def test_the_density_of_an_atom_integrates_to_its_atomic_number(number):
    voxels = grid_of(cubic([number], [[0.5, 0.5, 0.5]], 6.0 if number != 6 else 3.0))
    edge = PUBLISHED.edges(voxels.lengths)[0, 0]
    assert voxels.density.sum() * edge**3 == pytest.approx(number, rel=0.01)


def test_the_density_at_an_atom_is_the_height_of_its_gaussian():
    frac = 16.5 * 1.5 / 32 - 0.25  # the centre of voxel 16
    density = grid_of(cubic([13], [[frac] * 3], 6.0)).density[0]
    assert density.max() == density[16, 16, 16]
    assert density.max() == pytest.approx(13 / ((2 * pi) ** 1.5 * 0.675**3), rel=1e-4)


@pytest.mark.parametrize("settings", [PUBLISHED, FLOOR, GridSettings(size=16)], ids=["published", "floor", "16"])
def test_grids_follow_their_definition_voxel_by_voxel(settings):
    voxels = grid_of(*known_crystals(), settings=settings)
    for i, crystal in enumerate(known_crystals()):
        far, sigma = distances(crystal, settings), radii_of(crystal)
        heights = crystal.numbers / ((2 * pi) ** 1.5 * sigma**3)
        density = (heights[:, None, None, None] * np.exp(-(far**2) / (2 * sigma[:, None, None, None] ** 2))).sum(0)
        assert voxels.density[i].numpy() == pytest.approx(density, abs=1e-4)
        least = settings.label_voxels * (1.5 * crystal.lengths / settings.size).max()
        radius = np.maximum(settings.label_fraction * sigma, least)[:, None, None, None]
        # A voxel that stands on the border of a ball, or midway, may fall on either side.
        closest = np.sort(far, axis=0)
        sure = (np.abs(far - radius) > 1e-4).all(0) & (
            closest[min(1, len(far) - 1)] - closest[0] > 1e-4 * (len(far) > 1)
        )
        inside = far < radius
        only = (inside * crystal.numbers[:, None, None, None]).max(0)
        expected = np.where(inside.sum(0) > 1, crystal.numbers[far.argmin(0)], only)
        assert sure.mean() > 0.3
        assert (voxels.labels[i].numpy() == expected)[sure].all()
        assert (expected > 0).sum() > 20


def test_where_balls_overlap_the_nearest_atom_counts_and_elsewhere_the_ball():
    # Caesium, 1.81 Å, and lithium, 0.9 Å, 1.9 Å apart along x in a cell of 8 Å.
    caesium, lithium = 3.0, 4.9
    crystal = cubic([55, 3], [[caesium / 8, 0.5, 0.5], [lithium / 8, 0.5, 0.5]], 8.0)
    edge, middle = 0.375, 16  # voxel 16 is centred 0.19 Å above the atoms' y and z
    labels = grid_of(crystal).labels[0, :, middle, middle].tolist()
    x = [(i + 0.5) * edge - 2 for i in range(32)]
    off = 2 * (edge / 2) ** 2

    def label(place):
        i = int(np.argmin(np.abs(np.array(x) - place)))
        return labels[i], (x[i] - caesium) ** 2 + off, (x[i] - lithium) ** 2 + off

    # In both balls: nearer to lithium, then nearer to caesium ...
    both, to_caesium, to_lithium = label(4.2)
    assert to_caesium < 1.81**2
    assert to_lithium < 0.9**2
    assert (both, to_lithium < to_caesium) == (3, True)
    # ... and in the caesium ball only, beside lithium: farther from caesium than from lithium, and still caesium.
    wide = cubic([55, 6], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5 + 1.2 / 8]], 8.0)
    far = distances(wide, PUBLISHED)
    only = (far[0] < 1.8) & (far[1] > 0.31) & (far[1] < far[0] - 0.01)
    assert only.sum() > 10
    assert (grid_of(wide).labels[0].numpy()[only] == 55).all()
    assert (grid_of(wide).labels == 6).any()


def test_the_floor_is_the_longest_edge_of_a_voxel():
    cell = np.diag([3.0, 4.0, 6.0])
    labels = grid_of(Crystal.from_frac("C", [6], [[0.5] * 3], cell), settings=FLOOR).labels
    volume = (labels > 0).sum() * np.prod(1.5 / 32 * np.diag(cell))
    assert volume == pytest.approx(4 / 3 * pi * (1.5 * 6.0 * 1.5 / 32) ** 3, rel=0.1)


def test_a_batch_gives_what_each_crystal_gives_alone_in_the_order_given():
    voxels = grid_of(*known_crystals())
    for i, crystal in enumerate(known_crystals()):
        alone = grid_of(crystal)
        assert torch.equal(voxels.labels[i], alone.labels[0])
        assert torch.allclose(voxels.density[i], alone.density[0], atol=1e-6)
    chosen = voxels.select(torch.tensor([3, 1]))
    assert torch.equal(chosen.grids(), voxels.grids()[[3, 1]])


def test_more_crystals_than_fit_into_a_chunk():
    crystals = known_crystals() * 8
    labels = grid_of(*crystals).labels
    assert all(torch.equal(labels[i], labels[i % 5]) for i in range(len(crystals)))


def test_ramps_start_at_zero_and_carry_the_lengths():
    crystals = known_crystals()
    voxels = grid_of(*crystals)
    grids = voxels.grids()
    assert grids.shape == (len(crystals), 4, 32, 32, 32)
    assert torch.equal(grids[:, 0], voxels.density)
    assert grids[0, 1, :, 5, 7].tolist() == pytest.approx([i * 1.5 * 5.64 / 32 for i in range(32)], rel=1e-6)
    true = np.stack([c.lengths for c in crystals])
    slope = lattice_lengths(grids[:, 1:], PUBLISHED).numpy()
    assert slope == pytest.approx(true, abs=1e-6)
    legacy = lattice_lengths(grids[:, 1:], PUBLISHED, "legacy").numpy()
    assert legacy == pytest.approx(true * 31 / 32, abs=1e-5)


def test_noise_on_the_ramps_averages_out_of_the_slope_and_lengthens_the_range():
    grids = grid_of(cubic([13], [[0.5] * 3], 4.5)).grids()
    noisy = grids[:, 1:] + 0.2 * torch.randn(grids[:, 1:].shape, generator=torch.Generator().manual_seed(0))
    assert lattice_lengths(noisy, PUBLISHED).numpy() == pytest.approx(4.5, rel=0.003)
    assert (lattice_lengths(noisy, PUBLISHED, "legacy") > 4.6).all()


@pytest.mark.parametrize("size", [0, 8, 24, 40])
def test_a_grid_that_cannot_be_halved_four_times_is_refused(size):
    with pytest.raises(NesfError, match="halved four times"):
        GridSettings(size=size)


def test_the_rotations_are_the_24_proper_ones_of_a_cube_and_the_first_moves_nothing():
    size = 3
    places = torch.stack(torch.meshgrid(*[torch.arange(size) - 1.0] * 3, indexing="ij")).flatten(1)
    matrices = set()
    for rotation in range(len(ROTATIONS)):
        moved = turn(places.unflatten(1, (size,) * 3), rotation).flatten(1)
        matrix = moved @ torch.linalg.pinv(places)
        assert torch.allclose(matrix @ places, moved, atol=1e-5)
        assert torch.linalg.det(matrix).item() == pytest.approx(1.0, abs=1e-5)
        matrices.add(tuple(matrix.round().int().flatten().tolist()))
    assert len(matrices) == 24
    assert torch.equal(turn(places.unflatten(1, (size,) * 3), 0).flatten(1), places)


@pytest.mark.parametrize("plane", [(0, 1), (0, 2), (1, 2)])
def test_four_quarter_turns_in_a_plane_are_none(plane):
    voxels = grid_of(*known_crystals())
    quarter = next(n for n in range(24) if _is_quarter_turn(n, plane))
    for volume in (voxels.grids(), voxels.labels):
        turned = volume
        for _ in range(4):
            turned = turn(turned, quarter)
        assert torch.equal(turned, volume)
        assert not torch.equal(turn(volume, quarter), volume)
        assert turn(volume, quarter).dtype == volume.dtype


def _is_quarter_turn(number: int, plane: tuple[int, int]) -> bool:
    probe = torch.arange(27).reshape(3, 3, 3)
    return torch.equal(turn(probe, number), torch.rot90(probe, 1, plane))


def test_grids_and_labels_turn_together_as_often_as_asked():
    voxels = grid_of(*known_crystals())
    grids, labels = (volume.repeat_interleave(20, 0) for volume in (voxels.grids(), voxels.labels))
    # A channel that says which voxels have a label must do so afterwards.
    grids[:, 0] = labels.float()
    kept = grids.clone()
    turned, species = rotate(grids, labels, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(grids, kept), "what is handed in stays as it is"
    assert torch.equal(turned[:, 0], species.float())
    assert species.dtype == torch.uint8
    moved = (turned != grids).flatten(1).any(1).float().mean()
    assert 0.3 < moved < 0.65
    assert rotate(grids, labels, 0.0, torch.Generator())[0] is grids


def test_every_rotation_comes_up_equally_often():
    probe = torch.arange(27.0).reshape(1, 1, 3, 3, 3).expand(2400, -1, -1, -1, -1)
    turned, _ = rotate(probe, probe[:, 0].to(torch.uint8), 1.0, torch.Generator().manual_seed(0))
    _, counts = turned.flatten(1).unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert 60 < counts.min() < counts.max() < 140
