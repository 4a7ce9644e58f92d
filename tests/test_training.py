"""Training: losses, schedules, repeatability, resuming; and eight crystals learned by heart."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file

from nesf import testing
from nesf.config import FAST, PAPER, UNIVERSAL
from nesf.crystal import Crystal, CrystalBatch
from nesf.data.augmentation import Deformation, ElementPermutation, InTurn, OriginShift
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.fields.sampling import GlobalSampling, LocalSampling
from nesf.model import AnchorSettings, Autoencoder, NetworkSettings
from nesf.model.anchors import AnchorField, Anchors
from nesf.model.autoencoder import LatticeEstimate
from nesf.model.set_autoencoder import SetAutoencoder
from nesf.model.set_encoder import OrderedAtoms
from nesf.training import LossSettings, SamplingSettings, Trainer, TrainingSettings, checkpoint
from nesf.training.losses import anchor_loss, angle_loss, distance, losses, targets
from nesf.training.schedule import learning_rate
from nesf.training.team import Team

ELEMENTS = Vocabulary((8, 11, 12, 17, 22, 38, 55))
# Dropout is on, so that its randomness is tested, too.
SMALL = NetworkSettings(
    latent=16,
    atom_position=(16,),
    atom_species=(16,),
    atom_mix=32,
    bottleneck=(32,),
    lattice_head=(16,),
    position_field=(32, 32, 32),
    species_field=(32,),
    angle_head="hurdle",
)
FEW = SamplingSettings(
    GlobalSampling(per_crystal=16),
    LocalSampling(0.3, 1.2, 0.15, per_crystal=32),
    LocalSampling(0.1, 0.6, 0.05, per_crystal=16),
)
QUICK = TrainingSettings(
    epochs=6, batch=4, learning_rate=3e-3, schedule="one-cycle", validate_every=2, permute_elements=0.5
)


def eight() -> CrystalBatch:
    return CrystalBatch.from_crystals([*testing.known_crystals(), *testing.known_crystals()[:3]])


def trainer(settings: TrainingSettings = QUICK, data: CrystalBatch | None = None, **network) -> Trainer:
    torch.manual_seed(settings.seed)
    model = Autoencoder(replace(SMALL, **network), ELEMENTS)
    augmentation = ElementPermutation(ELEMENTS, settings.permute_elements)
    return Trainer(model, data or eight(), eight(), FEW, FAST.loss, settings, augmentation=augmentation)


def state(of: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in of.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_the_step_schedule_halves():
    paper = PAPER.training
    rates = [learning_rate(paper, epoch * 43 + 42, 43) for epoch in (0, 639, 640, 1279, 1280, 3199)]
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 1e-3 / 16]


def test_one_cycle_rises_linearly_and_falls_along_a_cosine():
    settings = replace(QUICK, epochs=10, warmup=0.2, learning_rate=0.01)
    rates = [learning_rate(settings, step, 10) for step in range(100)]
    assert rates[:20] == pytest.approx([0.01 * (i + 1) / 20 for i in range(20)])
    assert rates[20:] == pytest.approx([0.005 * (1 + math.cos(math.pi * i / 80)) for i in range(80)])
    assert max(rates) == 0.01
    assert 0 < rates[-1] < 1e-5


def test_the_total_is_the_weighted_sum():
    """Equation 2 of the paper."""
    torch.manual_seed(0)
    model, batch = Autoencoder(SMALL, ELEMENTS).eval(), eight()
    wanted = targets(batch, model, FEW, None, None)
    parts = losses(model, batch, wanted, LossSettings(10.0, 0.1, 1.0, 1.0))
    total = 10 * parts["position"] + 0.1 * parts["species"] + parts["length"] + parts["angle"]
    torch.testing.assert_close(parts["total"], total)


def test_each_loss_is_the_mean_that_it_says():
    torch.manual_seed(0)
    model, batch = Autoencoder(replace(SMALL, angle_head="plain"), ELEMENTS).eval(), eight()
    wanted = targets(batch, model, FEW, None, torch.Generator().manual_seed(0))
    parts = losses(model, batch, wanted, LossSettings())
    field = model.decode_field(model.encode(batch))
    at = wanted.position
    error = field.displacement(at.points, at.owner) - wanted.vectors
    torch.testing.assert_close(parts["position"], (error**2).sum() / (3 * len(at.points)))
    at = wanted.species
    chances = field.species_logits(at.points, at.owner).softmax(1)
    torch.testing.assert_close(parts["species"], -chances[torch.arange(len(chances)), wanted.classes].log().mean())
    lengths, angles_rad = batch.parameters()
    torch.testing.assert_close(parts["length"], ((field.lattice.lengths - lengths) ** 2).sum() / 24)
    torch.testing.assert_close(parts["angle"], ((field.lattice.angles_rad - angles_rad) ** 2).sum() / 24)


def test_position_targets_are_global_and_local_and_species_targets_local_only():
    batch = eight()
    wanted = targets(batch, Autoencoder(SMALL, ELEMENTS), FEW, None, None)
    assert (wanted.position.per_crystal, wanted.species.per_crystal) == (16 + 32, 16)
    # Without noise, local points stay in the cube around their atom, so this atom is the nearest.
    assert wanted.species.points.shape == (8 * 16, 3)
    vectors = wanted.vectors.reshape(8, 48, 3)
    assert vectors[:, 16:].abs().max() < 0.6 + 1e-4
    assert vectors[:, :16].abs().max() > 0.7


def test_the_hurdle_loss_asks_for_an_angle_only_where_it_is_not_right():
    right = torch.pi / 2
    wanted = torch.tensor([[right, right + 1e-4, right + 0.2]])
    far = LatticeEstimate(torch.zeros(1, 3), wanted + 0.3, torch.tensor([[-2.0, -2.0, 2.0]]))
    # Each decision is right with logit 2: a loss of log(1 + e^-2); one angle of three is asked for.
    assert float(angle_loss(far, wanted)) == pytest.approx(math.log1p(math.exp(-2)) + 0.3**2 / 3, abs=1e-5)
    wrong = replace(far, oblique_logits=-far.oblique_logits)
    assert float(angle_loss(wrong, wanted)) == pytest.approx(math.log1p(math.exp(2)) + 0.3**2 / 3, abs=1e-5)
    assert float(angle_loss(replace(far, oblique_logits=None), wanted)) == pytest.approx(0.3**2, abs=1e-5)


@pytest.mark.parametrize(
    ("crystals", "batch", "steps"),
    [(8, 4, 2), (8, 3, 3), (7, 3, 2), (9, 4, 2), (2, 128, 1), (10, 4, 3)],
)
def test_a_last_batch_of_one_crystal_is_left_out(crystals, batch, steps):
    data = CrystalBatch.from_crystals([testing.rocksalt()] * crystals)
    training = trainer(replace(QUICK, batch=batch, epochs=1), data)
    assert training.steps_per_epoch == steps
    counted: list[int] = []
    training.augmentation = lambda part, _: counted.append(len(part)) or part
    list(training.run())
    assert len(counted) == steps
    assert min(counted) > 1


def test_a_few_epochs_reduce_the_loss():
    reports = list(trainer(replace(QUICK, epochs=40, validate_every=40), dropout=0.0).run())
    assert reports[-1].train["total"] < 0.5 * reports[0].train["total"]


def test_reports_say_what_happened():
    reports = list(trainer().run())
    assert [r.epoch for r in reports] == [1, 2, 3, 4, 5, 6]
    assert [r.validation is not None for r in reports] == [False, True] * 3
    best = math.inf
    for report in reports:
        better = report.validation is not None and report.validation["total"] < best
        assert report.improved is better
        best = report.validation["total"] if better else best
    assert all(later.seconds > earlier.seconds for earlier, later in pairwise(reports))
    assert reports[-1].learning_rate == learning_rate(QUICK, 11, 2)


def test_a_seed_repeats_a_training_bit_for_bit():
    runs = [trainer(), trainer(), trainer(replace(QUICK, seed=1))]
    reports = [[replace(r, seconds=0.0, training_seconds=0.0) for r in run.run()] for run in runs]
    assert reports[0] == reports[1] != reports[2]
    assert same(state(runs[0]), state(runs[1]))
    assert not same(state(runs[0]), state(runs[2]))


@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path, stop):
    whole = trainer()
    rest = [replace(r, seconds=0.0, training_seconds=0.0) for r in whole.run()][stop:]

    first = trainer()
    for report in first.run():
        if report.epoch == stop:
            break
    checkpoint.save(tmp_path / "checkpoint.safetensors", first)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]

    second = trainer()
    torch.manual_seed(12345)  # a new process is in another state
    checkpoint.restore(tmp_path / "checkpoint.safetensors", second)
    assert (second.epoch, second.best, second.seconds) == (stop, first.best, first.seconds)
    assert [replace(r, seconds=0.0, training_seconds=0.0) for r in second.run()] == rest
    assert same(state(second), state(whole))


def test_training_does_not_disturb_the_randomness_of_its_user():
    torch.manual_seed(3)
    expected = torch.rand(4)
    training = trainer(replace(QUICK, epochs=1), dropout=0.0)
    torch.manual_seed(3)
    list(training.run())
    assert torch.rand(4).equal(expected)


@pytest.mark.parametrize("kind", ["missing", "other bytes", "other network", "no checkpoint"])
def test_what_is_no_checkpoint_is_refused(tmp_path, kind):
    path = tmp_path / "checkpoint.safetensors"
    if kind == "other bytes":
        path.write_bytes(b"nothing of the kind")
    elif kind == "other network":
        checkpoint.save(path, trainer(atom_mix=8))
    elif kind == "no checkpoint":
        save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(NesfError, match=r"checkpoint.safetensors is not a checkpoint of this training: .*[^.]\.$"):
        checkpoint.restore(path, trainer())


def test_validation_is_repeatable_bit_for_bit_and_changes_nothing():
    training = trainer(replace(QUICK, epochs=2))
    list(training.run())
    before, generator = state(training), training.generator.get_state()
    first = training.validate()
    assert training.validate() == first
    assert same(state(training), before)
    assert training.generator.get_state().equal(generator)
    # It is in float32 whatever the training computes in.
    training.settings = replace(training.settings, precision="bfloat16")
    assert training.validate() == first


def test_bfloat16_training_reduces_the_loss_too():
    settings = replace(QUICK, epochs=40, validate_every=40, precision="bfloat16")
    reports = list(trainer(settings, dropout=0.0).run())
    assert reports[-1].train["total"] < 0.5 * reports[0].train["total"]
    assert all(p.dtype == torch.float32 for p in trainer(settings).model.parameters())


def test_the_paper_trains():
    """The full grids, dropout, the plain angle head and the training box, on small widths."""
    torch.manual_seed(0)
    model = Autoencoder(replace(SMALL, angle_head="plain"), ELEMENTS)
    settings = replace(PAPER.training, epochs=5, batch=8)
    box = ((0.0, 0.0, 0.0), (4.9, 4.1, 4.0))
    run = Trainer(model, eight(), eight(), PAPER.sampling, PAPER.loss, settings, box=box).run()
    reports = list(run)
    assert reports[-1].train["total"] < reports[0].train["total"]
    assert math.isfinite(reports[-1].validation["total"])


# --- the architecture "anchors", and what its preset trains with

ANCHORS = NetworkSettings(
    architecture="anchors", latent=50, anchors=AnchorSettings(tokens=8, elements=4, width=16, heads=2, encoder_layers=1)
)
REST = replace(ANCHORS, latent=52)
LEARNED = replace(ANCHORS, anchors=replace(ANCHORS.anchors, copied=False))
CROWDED = replace(ANCHORS, anchors=replace(ANCHORS.anchors, tokens=3))
EVERYTHING = replace(QUICK, shift=0.5, strain=0.05, rattle=0.02, deform=0.5, group=2, clip=1.0, latent_noise=0.1)


def anchored(settings: TrainingSettings = QUICK, data: CrystalBatch | None = None, network=ANCHORS) -> Trainer:
    torch.manual_seed(settings.seed)
    augmentation = InTurn(
        ElementPermutation(ELEMENTS, settings.permute_elements),
        OriginShift(settings.shift),
        Deformation(settings.strain, settings.rattle, settings.deform),
    )
    data, model = data or eight(), SetAutoencoder(network, ELEMENTS)
    return Trainer(model, data, eight(), FEW, UNIVERSAL.loss, settings, augmentation=augmentation)


def perfect(atoms: OrderedAtoms, cells: torch.Tensor, tokens: int = 10) -> AnchorField:
    """The field whose anchors are the true atoms."""
    missing = tokens - atoms.exists.shape[1]
    exists = torch.nn.functional.pad(atoms.exists, (0, missing))
    frac = torch.nn.functional.pad(atoms.frac, (0, 0, 0, missing), value=0.3)
    classes = torch.nn.functional.pad(atoms.classes, (0, missing))
    logits = 40 * torch.nn.functional.one_hot(classes, len(ELEMENTS)).float()
    anchors = Anchors(frac, torch.where(exists, 100.0, -100.0), torch.full(exists.shape, 20.0), logits)
    square = torch.full((len(cells), 3), math.pi / 2)
    return AnchorField(anchors, LatticeEstimate(torch.ones(len(cells), 3), square, None), ELEMENTS).within(cells)


def atoms_of(batch: CrystalBatch) -> OrderedAtoms:
    return OrderedAtoms.of(batch, ELEMENTS.class_of(batch.numbers))


def test_a_distance_counts_by_its_square_where_it_is_small():
    errors = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.12, 0.0], [3.0, 0.0, 4.0], [0.001, 0.0, 0.0]])
    # The second is a leg of the triangle 5, 12, 13.
    expected = torch.tensor([0.0, 0.08, (25 + 0.05**2) ** 0.5 - 0.05, 0.001**2 / 0.1])
    torch.testing.assert_close(distance(errors), expected, rtol=1e-4, atol=1e-7)


def test_the_anchor_loss_vanishes_where_anchors_are_the_atoms_and_grows_as_they_move():
    batch = eight()
    atoms = atoms_of(batch)
    field = perfect(atoms, batch.cells)
    assert float(anchor_loss(field, atoms, 0.3)) < 1e-6
    found = []
    for moved in (0.05, 0.2, 0.8):
        # Along a, which is as long in fractions of each crystal's own cell.
        shift = torch.zeros(8, 1, 3)
        shift[:, 0, 0] = moved / batch.cells[:, 0, 0]
        other = replace(field.anchors, frac=field.anchors.frac + shift)
        loss = anchor_loss(AnchorField(other, field.lattice, ELEMENTS, batch.cells), atoms, 0.3)
        found.append(float(loss))
    expected = [(moved**2 + 0.05**2) ** 0.5 - 0.05 for moved in (0.05, 0.2, 0.8)]
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_anchor_loss_asks_for_elements_and_for_which_anchors_stand_for_none():
    batch = eight()
    atoms = atoms_of(batch)
    field = perfect(atoms, batch.cells)
    unsure = replace(field.anchors, logits=torch.zeros_like(field.anchors.logits))
    loss = anchor_loss(AnchorField(unsure, field.lattice, ELEMENTS, batch.cells), atoms, 0.3)
    assert float(loss) == pytest.approx(0.3 * math.log(len(ELEMENTS)), abs=1e-5)
    undecided = replace(field.anchors, pull=torch.zeros_like(field.anchors.pull))
    loss = anchor_loss(AnchorField(undecided, field.lattice, ELEMENTS, batch.cells), atoms, 0.3)
    assert float(loss) == pytest.approx(0.3 * math.log(2), abs=1e-5)
    # A pull of 4 against it costs one nat of certainty: log(1 + e).
    wrong = replace(field.anchors, pull=torch.where(field.anchors.pull > 0, -4.0, -100.0))
    loss = anchor_loss(AnchorField(wrong, field.lattice, ELEMENTS, batch.cells), atoms, 0.3)
    assert float(loss) == pytest.approx(0.3 * math.log(1 + math.e) * int(batch.counts.sum()) / 80, abs=1e-5)


def test_of_more_atoms_than_anchors_the_first_are_told():
    batch = eight()
    atoms = atoms_of(batch)
    field = perfect(atoms, batch.cells)
    few = AnchorField(Anchors(*(v[:, :2] for v in vars(field.anchors).values())), field.lattice, ELEMENTS, batch.cells)
    assert float(anchor_loss(few, atoms, 0.3)) < 1e-6


def test_losses_as_distances_are_what_they_say():
    torch.manual_seed(0)
    model, batch = SetAutoencoder(ANCHORS, ELEMENTS).eval(), eight()
    wanted = targets(batch, model, FEW, None, torch.Generator().manual_seed(0))
    # Noise, because the cell in z has no error of its own.
    noise = 0.1 * torch.randn(8, ANCHORS.latent, generator=torch.Generator().manual_seed(1))
    parts = losses(model, batch, wanted, replace(UNIVERSAL.loss, anchors=2.0), noise)
    field = model.decode_field(model.encode(batch) + noise)
    within = field.within(batch.cells)
    at = wanted.position
    error = within.displacement(at.points, at.owner) - wanted.vectors
    torch.testing.assert_close(parts["position"], ((error.square().sum(1) + 0.05**2).sqrt() - 0.05).mean())
    at = wanted.species
    chances = within.species_logits(at.points, at.owner).softmax(1)
    torch.testing.assert_close(parts["species"], -chances[torch.arange(len(chances)), wanted.classes].log().mean())
    lengths, angles_rad = batch.parameters()
    torch.testing.assert_close(parts["length"], (field.lattice.lengths.float().log() - lengths.log()).abs().mean())
    torch.testing.assert_close(parts["angle"], (field.lattice.angles_rad.float() - angles_rad).abs().mean())
    assert parts["length"] > 0.01
    torch.testing.assert_close(parts["anchors"], anchor_loss(within, atoms_of(batch), 0.3))
    total = parts["position"] + 0.3 * parts["species"] + 3 * (parts["length"] + parts["angle"]) + 2 * parts["anchors"]
    torch.testing.assert_close(parts["total"], total)
    still = losses(model, batch, wanted, UNIVERSAL.loss)
    assert max(still["length"], still["angle"]) < 1e-5


@pytest.mark.parametrize("network", [ANCHORS, CROWDED], ids="all crowded".split())
@torch.no_grad()
def test_the_losses_of_a_teams_parts_add_up_to_those_of_the_batch(network):
    torch.manual_seed(0)
    model, batch = SetAutoencoder(network, ELEMENTS).eval(), eight()

    def of(team: Team) -> dict[str, torch.Tensor]:
        wanted = targets(batch, model, FEW, None, torch.Generator().manual_seed(0), team)
        return losses(model, batch.select(torch.arange(*team.part(8))), wanted, UNIVERSAL.loss)

    whole, parts = of(Team()), [of(Team(rank, 3)) for rank in range(3)]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value, rtol=1e-5, atol=1e-6)


def test_without_its_weight_there_is_no_anchor_loss():
    model, batch = SetAutoencoder(ANCHORS, ELEMENTS).eval(), eight()
    wanted = targets(batch, model, FEW, None, None)
    assert "anchors" not in losses(model, batch, wanted, replace(UNIVERSAL.loss, anchors=0.0))
    perceptrons = Autoencoder(SMALL, ELEMENTS).eval()
    assert "anchors" not in losses(perceptrons, batch, wanted, LossSettings(anchors=1.0))


@pytest.mark.parametrize("network", [ANCHORS, REST, LEARNED, CROWDED], ids="copied rest learned crowded".split())
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_gradient_reaches_every_parameter_of_anchors(network, weight):
    torch.manual_seed(0)
    model, batch = SetAutoencoder(network, ELEMENTS).train(), eight()
    wanted = targets(batch, model, FEW, None, torch.Generator().manual_seed(0))
    losses(model, batch, wanted, replace(UNIVERSAL.loss, anchors=weight))["total"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("network", [ANCHORS, LEARNED, CROWDED], ids="copied learned crowded".split())
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_anchors_train(network, precision):
    settings = replace(QUICK, epochs=40, validate_every=40, learning_rate=1e-2, precision=precision)
    reports = list(anchored(settings, network=network).run())
    assert reports[-1].train["total"] < 0.6 * reports[0].train["total"]
    assert math.isfinite(reports[-1].validation["total"])


def crystals_of_sizes(sizes) -> CrystalBatch:
    """A crystal of each size in a cubic cell, whose edge tells it from the others."""
    every = []
    for i, size in enumerate(sizes):
        frac = torch.rand(size, 3, generator=torch.Generator().manual_seed(i)).numpy()
        edge = 4 + i / 100
        every.append(Crystal.from_frac(str(i), [8] * size, frac, [[edge, 0, 0], [0, edge, 0], [0, 0, edge]]))
    return CrystalBatch.from_crystals(every)


def batches_seen(training: Trainer) -> list[CrystalBatch]:
    seen: list[CrystalBatch] = []
    training.augmentation = lambda batch, _: seen.append(batch) or batch
    list(training.run())
    return seen


@pytest.mark.parametrize("group", [1, 2, 3, 100])
@pytest.mark.parametrize("crystals", [24, 23, 26, 3])
def test_grouped_batches_show_every_crystal_once_in_an_epoch(group, crystals):
    sizes = torch.randint(1, 12, (crystals,), generator=torch.Generator().manual_seed(0)).tolist()
    settings = replace(QUICK, batch=4, group=group, epochs=2, permute_elements=0.0)
    training = anchored(settings, crystals_of_sizes(sizes))
    seen = batches_seen(training)
    per_epoch = training.steps_per_epoch
    assert len(seen) == 2 * per_epoch
    orders = []
    for epoch in (seen[:per_epoch], seen[per_epoch:]):
        assert [len(batch) for batch in epoch[:-1]] == [4] * (per_epoch - 1)
        edges = torch.cat([batch.cells[:, 0, 0] for batch in epoch])
        assert edges.sort().values.equal(training.data.cells[:, 0, 0].sort().values)
        orders.append(edges)
    assert crystals < 4 or not orders[0].equal(orders[1])


def test_grouped_batches_hold_crystals_of_about_one_size():
    sizes = torch.randint(1, 12, (64,), generator=torch.Generator().manual_seed(0)).tolist()

    def filled_up(group: int) -> float:
        settings = replace(QUICK, batch=8, group=group, epochs=1, permute_elements=0.0)
        seen = batches_seen(anchored(settings, crystals_of_sizes(sizes)))
        return sum(int(batch.counts.max()) * len(batch) for batch in seen) / sum(sizes)

    alone, few, all_together = filled_up(1), filled_up(4), filled_up(8)
    assert 1 <= all_together < few < alone
    assert all_together < 1.2


def test_a_long_gradient_is_shortened_and_a_short_one_is_left():
    def gradient(clip: float) -> torch.Tensor:
        training = anchored(replace(QUICK, epochs=1, clip=clip, batch=8))
        list(training.run())
        return torch.cat([p.grad.flatten() for p in training.model.parameters()])

    free = gradient(math.inf)
    assert free.norm() > 0.1
    short = gradient(0.01)
    assert float(short.norm()) == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(short / short.norm(), free / free.norm(), rtol=1e-4, atol=1e-6)
    assert gradient(1e6).equal(free)


def test_noise_in_z_is_drawn_only_where_it_is_wanted():
    still, noisy = anchored(), anchored(replace(QUICK, latent_noise=0.1))
    before = still.generator.get_state()
    assert still._noise(8) is None
    assert still.generator.get_state().equal(before)
    noise = noisy._noise(1000)
    assert noise.shape == (1000, ANCHORS.latent)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)


def test_no_noise_is_noise_of_zero():
    torch.manual_seed(0)
    model, batch = SetAutoencoder(ANCHORS, ELEMENTS), eight()
    wanted = targets(batch, model, FEW, None, None)
    zero = torch.zeros(8, ANCHORS.latent)
    without, of_zero = losses(model, batch, wanted, UNIVERSAL.loss), losses(model, batch, wanted, UNIVERSAL.loss, zero)
    assert all(without[name].equal(of_zero[name]) for name in without)
    some = losses(model, batch, wanted, UNIVERSAL.loss, zero + 0.3)
    assert not some["total"].equal(without["total"])


def test_the_noise_is_part_of_training_and_not_of_validation():
    still, noisy = anchored(replace(QUICK, epochs=1)), anchored(replace(QUICK, epochs=1, latent_noise=0.5))
    assert still.validate() == noisy.validate()
    (one,), (other,) = still.run(), noisy.run()
    assert one.train["total"] != other.train["total"]


@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_interrupted_training_of_anchors_goes_on_as_if_it_had_not_been(tmp_path, stop, precision):
    settings = replace(EVERYTHING, precision=precision)
    whole = anchored(settings)
    rest = [replace(r, seconds=0.0, training_seconds=0.0) for r in whole.run()][stop:]
    first = anchored(settings)
    for report in first.run():
        if report.epoch == stop:
            break
    checkpoint.save(tmp_path / "checkpoint.safetensors", first)
    second = anchored(settings)
    torch.manual_seed(12345)  # a new process is in another state
    checkpoint.restore(tmp_path / "checkpoint.safetensors", second)
    assert [replace(r, seconds=0.0, training_seconds=0.0) for r in second.run()] == rest
    assert same(state(second), state(whole))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"group": 0}, r"training.group is 0; it must be at least 1"),
        ({"clip": -1.0}, r"training.clip is -1.0; it must not be negative"),
        ({"latent_noise": math.nan}, r"training.latent_noise is nan"),
        ({"deform": 1.5}, r"training.deform is 1.5; it is a share"),
        ({"shift": -0.1}, r"training.shift is -0.1; it is a share"),
    ],
)
def test_settings_that_make_no_training_are_refused(wrong, words):
    with pytest.raises(NesfError, match=words):
        replace(QUICK, **wrong)
