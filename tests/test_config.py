"""The presets spell out the paper, and a configuration that is read is understood completely."""

import json
import re
from dataclasses import replace

import pytest

from nesf.config import FAST, PAPER, PRESETS, RELEASED, Config
from nesf.errors import NesfError

every_preset = pytest.mark.parametrize("preset", list(PRESETS))


@every_preset
def test_a_preset_survives_json(preset):
    text = json.dumps(PRESETS[preset].to_dict())
    assert Config.from_dict(json.loads(text)) == PRESETS[preset]


@every_preset
def test_every_preset_is_another_one(preset):
    assert [name for name, config in PRESETS.items() if config == PRESETS[preset]] == [preset]


def test_what_is_not_said_is_the_paper():
    assert Config.from_dict({}) == PAPER
    wider = Config.from_dict({"network": {"latent": 64}, "training": {"batch": 32}})
    assert wider == replace(
        PAPER, network=replace(PAPER.network, latent=64), training=replace(PAPER.training, batch=32)
    )


def test_paper_numbers():
    """Supplementary Notes 5 and 6, section 4.3."""
    network = PAPER.network
    assert network.latent == 192
    assert (network.atom_position, network.atom_species) == ((64, 128, 128), (128, 128))
    assert (network.atom_mix, network.bottleneck, network.lattice_head) == (512, (256, 256), (128,))
    assert network.position_field == (256, *[128] * 7)
    assert network.species_field == (256, 128)
    assert (network.dropout, network.query_at_last, network.query_encoding) == (0.3, True, "raw")

    loss, training = PAPER.loss, PAPER.training
    assert (loss.position, loss.species, loss.length, loss.angle) == (10, 0.1, 1, 1)
    assert (training.epochs, training.batch, training.learning_rate) == (3200, 128, 1e-3)
    assert (training.schedule, training.step_epochs, training.step_factor) == ("step", 640, 0.5)
    assert (training.keep, training.permute_elements, training.precision) == ("best", 0, "float32")

    everywhere, near, species = grids(PAPER)
    assert everywhere == (1.0, 0.5, None)
    assert near == (0.3, 1.2, 0.5, None)
    assert species == (0.1, 0.5, 0.5, None)

    found = PAPER.estimation
    assert (found.interval, found.iterations, found.score_threshold) == (0.5, 64, 0.9)
    assert (found.radius, found.min_particles, found.refine) == (0.5, 10, "best")
    assert (found.species_interval, found.species_width) == (0.1, 0.5)
    assert (found.region, found.converged) == ("training_box", 0)


def test_released_numbers():
    """The values of the implementation released with the paper, where they are others."""
    everywhere, near, species = grids(RELEASED)
    assert everywhere == (1.0, 0.5, None)
    assert near == (0.3, 1.2, 0.15, None)
    assert species == (0.1, 0.6, 0.05, None)
    assert RELEASED.network == replace(PAPER.network, query_at_last=False, mix_activation=False)
    assert RELEASED.training == replace(PAPER.training, batch=64)
    assert RELEASED.loss == PAPER.loss
    assert RELEASED.estimation == replace(PAPER.estimation, refine="weighted", species_width=0.6)


def test_fast_samples_where_the_released_values_do():
    assert [grid[:-1] for grid in grids(FAST)] == [grid[:-1] for grid in grids(RELEASED)]
    assert all(grid[-1] is not None for grid in grids(FAST))
    assert FAST.loss == PAPER.loss


def grids(config: Config) -> list[tuple]:
    sampling = config.sampling
    everywhere = sampling.position_global
    local = [(s.interval, s.width, s.sigma, s.per_crystal) for s in (sampling.position_local, sampling.species_local)]
    return [(everywhere.interval, everywhere.sigma, everywhere.per_crystal), *local]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"netwrok": {}}, "Unknown config key 'netwrok'; the keys here are: network, sampling, loss"),
        ({"training": {"lr": 1e-3}}, "Unknown config key 'training.lr'; .* epochs, batch, learning_rate"),
        ({"sampling": {"position_local": {"range": 1.2}}}, "'sampling.position_local.range'.* interval, width, sigma"),
        ({"training": {"epochs": "many"}}, "'training.epochs' must be of type int, not 'many'"),
        ({"training": {"epochs": 3.5}}, "'training.epochs' must be of type int, not 3.5"),
        ({"training": {"epochs": True}}, "'training.epochs' must be of type int, not True"),
        ({"training": {"learning_rate": False}}, "'training.learning_rate' must be of type float, not False"),
        ({"training": {"schedule": "cosine"}}, "'training.schedule' must be one of step, one-cycle, not 'cosine'"),
        ({"network": {"mix_activation": 1}}, "'network.mix_activation' must be of type bool, not 1"),
        ({"network": {"bottleneck": 256}}, "'network.bottleneck' must be a list, not 256"),
        ({"network": {"bottleneck": [256, "x"]}}, "'network.bottleneck' must be of type int, not 'x'"),
        ({"network": [192]}, r"'network.?' must be a table of NetworkSettings, not \[192\]"),
        ({"estimation": None}, "'estimation.?' must be a table of EstimationSettings, not None"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(values, words):
    with pytest.raises(NesfError, match=words):
        Config.from_dict(values)


def test_whole_numbers_do_for_floats_and_lists_for_tuples():
    config = Config.from_dict({"loss": {"angle": 2}, "network": {"bottleneck": [64]}})
    assert isinstance(config.loss.angle, float)
    assert config.network.bottleneck == (64,)
    assert Config.from_dict({"sampling": {"position_global": {"per_crystal": None}}}) == PAPER


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("training", {"epochs": 0}, "training.epochs is 0"),
        ("training", {"batch": 1}, "training.batch is 1"),
        ("training", {"validate_every": 0}, "training.validate_every is 0"),
        ("training", {"learning_rate": float("nan")}, "training.learning_rate is nan"),
        ("training", {"permute_elements": 1.5}, "training.permute_elements is 1.5"),
        ("network", {"latent": 0}, "network.latent"),
        ("network", {"dropout": 1.0}, "network.dropout is 1.0"),
        ("sampling", {"position_global": {"per_crystal": 0}}, "not 0"),
        ("sampling", {"species_local": {"interval": 0.0, "width": 0.5, "sigma": 0.1}}, "interval=0.0"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_by_name(section, values, named):
    with pytest.raises(NesfError, match=re.escape(named)):
        Config.from_dict({section: values})
