"""Training: losses, schedules, repeatability, resuming; and eight crystals learned by heart."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file

from nesf import testing
from nesf.config import FAST, PAPER
from nesf.crystal import CrystalBatch
from nesf.data.augmentation import ElementPermutation
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.fields.sampling import GlobalSampling, LocalSampling
from nesf.model import Autoencoder, NetworkSettings
from nesf.model.autoencoder import LatticeEstimate
from nesf.training import LossSettings, SamplingSettings, Trainer, TrainingSettings, checkpoint
from nesf.training.losses import angle_loss, losses, targets
from nesf.training.schedule import learning_rate

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
