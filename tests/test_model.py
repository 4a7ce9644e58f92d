"""The networks against the paper's table and against a literal writing of it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from nesf import testing
from nesf.config import FAST, PAPER, RELEASED
from nesf.crystal import Crystal, CrystalBatch
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.fields.sampling import Queries
from nesf.model import Autoencoder, NetworkSettings
from nesf.model.autoencoder import LatticeEstimate
from nesf.precision import autocast
from nesf.training.losses import losses, targets

relaxed = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
EIGHTY = Vocabulary(tuple(range(1, 81)))
ALL = Vocabulary(tuple(range(1, 95)))
SMALL = NetworkSettings(
    latent=16,
    atom_position=(8, 12),
    atom_species=(10,),
    atom_mix=24,
    bottleneck=(20,),
    lattice_head=(8,),
    position_field=(32, 16, 16),
    species_field=(24, 16),
)
BFLOAT16_ANGSTROM = 0.02
"""How far bfloat16 layers may move a displacement of a few angstrom: its values are spaced by 1 in 256."""


def lively(network: NetworkSettings, vocabulary: Vocabulary = ALL, seed: int = 0) -> Autoencoder:
    """An untrained model whose batch norms are no identities, in evaluation mode."""
    torch.manual_seed(seed)
    model = Autoencoder(network, vocabulary)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def parameters_of(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("config", "expected"), [(PAPER, 765_714), (RELEASED, 765_465)])
def test_the_network_has_as_many_parameters_as_that_of_the_paper(config, expected):
    assert parameters_of(Autoencoder(config.network, EIGHTY)) == expected


def test_the_parts_have_the_sizes_of_the_table():
    model = Autoencoder(PAPER.network, EIGHTY)
    shapes = [tuple(m.weight.shape)[::-1] for m in model.modules() if isinstance(m, nn.Linear)]
    encoder = [(3, 64), (64, 128), (128, 128), (80, 128), (128, 128), (256, 512), (518, 256), (256, 256), (256, 192)]
    heads = [(192, 128), (128, 3)] * 2
    position = [(195, 256), (259, 128), *[(131, 128)] * 6, (131, 3)]
    species = [(195, 256), (259, 128), (131, 80)]
    assert shapes == encoder + heads + position + species


def kinds(model: nn.Module) -> list[type]:
    known = (nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout)
    leaves = [m for m in model.modules() if not list(m.children())]
    return [next(kind for kind in known if isinstance(leaf, kind)) for leaf in leaves]


def test_a_hidden_layer_is_linear_then_relu_then_norm_then_dropout():
    model = Autoencoder(PAPER.network, EIGHTY)
    hidden = [nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout]
    assert kinds(model.encoder.bottleneck) == [*hidden, *hidden, nn.Linear]
    assert kinds(model.length_head) == [nn.Linear, nn.ReLU, nn.Linear]
    assert kinds(model.position_field.hidden[0]) == [nn.ReLU, nn.BatchNorm1d]
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.3}


def literal_field(field: nn.Module, z: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """A field decoder as the table has it: z beside the query, and the query beside every layer's input."""
    query = points
    if field.query_encoding == "fourier":
        waves = [2.0**k * torch.pi * points for k in range(10)]
        # All sines before all cosines, axis by axis, octave by octave.
        query = torch.cat(
            [f(wave[:, i : i + 1]) for f in (torch.sin, torch.cos) for i in range(3) for wave in waves], 1
        )
    features = z
    for linear, hidden in zip(field.linears, field.hidden, strict=True):
        norm = hidden[1]
        features = torch.relu(linear(torch.cat((features, query), 1)))
        features = (features - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    return field.last(torch.cat((features, query), 1) if field.query_at_last else features)


@pytest.mark.parametrize("query_at_last", [True, False])
@pytest.mark.parametrize("encoding", ["raw", "fourier"])
@pytest.mark.parametrize("network", [SMALL, PAPER.network], ids=["small", "paper"])
@torch.no_grad()
def test_the_fields_agree_with_the_literal_network(network, encoding, query_at_last):
    model = lively(replace(network, query_encoding=encoding, query_at_last=query_at_last))
    random = torch.Generator().manual_seed(0)
    z, points = torch.randn(4, network.latent, generator=random), torch.rand(60, 3, generator=random) * 6
    owner = torch.arange(4).repeat_interleave(15)
    field = model.decode_field(z)
    displacement = literal_field(model.position_field, z[owner], points)
    logits = literal_field(model.species_field, z[owner], points)
    torch.testing.assert_close(field.displacement(points, owner), displacement, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(field.species_logits(points, owner), logits, rtol=1e-5, atol=1e-5)
    # Training takes another path to the same values.
    for per_crystal in (15, None):
        queries = Queries(points, owner, per_crystal)
        torch.testing.assert_close(field.displacement_at(queries), displacement, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(field.species_logits_at(queries), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mix_activation", [True, False])
@torch.no_grad()
def test_the_encoder_agrees_with_the_literal_network(mix_activation):
    model = lively(replace(SMALL, mix_activation=mix_activation))
    encoder = model.encoder
    for crystal in testing.known_crystals():
        elements = nn.functional.one_hot(torch.tensor(crystal.numbers) - 1, 94).float()
        atoms = torch.cat((encoder.position(torch.tensor(crystal.cart).float()), encoder.species(elements)), 1)
        atoms = encoder.mix[0](atoms)
        pooled = (torch.relu(atoms) if mix_activation else atoms).max(0).values
        parameters = torch.tensor([*crystal.lengths, *crystal.angles_rad]).float()
        expected = encoder.bottleneck(torch.cat((pooled, parameters)).unsqueeze(0))
        torch.testing.assert_close(model.encode(CrystalBatch.from_crystals([crystal])), expected, rtol=1e-4, atol=1e-5)


@relaxed
@given(testing.crystals(), st.integers(0, 2**31))
@torch.no_grad()
def test_the_order_of_atoms_does_not_matter(crystal, seed):
    order = torch.randperm(len(crystal), generator=torch.Generator().manual_seed(seed)).numpy()
    shuffled = Crystal(crystal.id, crystal.numbers[order], crystal.cart[order], crystal.cell)
    one, other = (lively(SMALL).encode(CrystalBatch.from_crystals([c])) for c in (crystal, shuffled))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_neighbours_in_a_batch_do_not_matter():
    model, crystals = lively(PAPER.network), testing.known_crystals()
    together = model.encode(CrystalBatch.from_crystals(crystals))
    alone = torch.cat([model.encode(CrystalBatch.from_crystals([c])) for c in crystals])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert torch.pdist(together).min() > 0.01


@torch.no_grad()
def test_a_model_evaluates_as_it_trained():
    torch.manual_seed(0)
    model = Autoencoder(replace(SMALL, dropout=0.0), ALL).train()
    batch = CrystalBatch.from_crystals(testing.known_crystals())
    for _ in range(200):  # until the running statistics are those of this batch
        trained = model.encode(batch)
    # Also with five crystals: the variance kept must be the one that the batch was normalised by.
    torch.testing.assert_close(model.eval().encode(batch), trained, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_each_part_of_a_crystal_is_seen():
    model, crystal = lively(SMALL), testing.triclinic()
    moved = crystal.cart.copy()
    moved[1] += 0.5
    others = [
        Crystal("x", [22, 8, 9], crystal.cart, crystal.cell),
        Crystal("x", crystal.numbers, moved, crystal.cell),
        Crystal("x", crystal.numbers, crystal.cart, crystal.cell * 1.1),
    ]
    codes = model.encode(CrystalBatch.from_crystals([crystal, *others]))
    assert torch.pdist(codes).min() > 1e-3


def test_an_element_outside_the_vocabulary_is_refused():
    model = lively(SMALL, Vocabulary((11, 12)))
    with pytest.raises(NesfError, match="outside the vocabulary: Cl"):
        model.encode(CrystalBatch.from_crystals([testing.rocksalt()]))


def test_the_hurdle_head_says_right_angles_exactly():
    angles = torch.tensor([[1.4, 1.5, 2.1], [1.6, 1.7, 1.8]])
    estimate = LatticeEstimate(torch.ones(2, 3), angles, torch.tensor([[-1.0, -2.0, 3.0], [0.0, 0.1, -0.1]]))
    right = torch.pi / 2
    assert estimate.angles_rad.tolist() == torch.tensor([[right, right, 2.1], [right, 1.7, right]]).tolist()
    assert LatticeEstimate(torch.ones(2, 3), angles, None).angles_rad.equal(angles)


@torch.no_grad()
def test_a_right_angled_estimate_makes_a_diagonal_cell():
    model = lively(replace(SMALL, angle_head="hurdle"))
    model.angle_head.layers[-1].bias[3:] = -1e3
    field = model.decode_field(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    assert (field.lattice.angles_rad == torch.pi / 2).all()
    off_diagonal = field.cells[:, ~torch.eye(3, dtype=torch.bool)]
    assert off_diagonal.abs().max() < 1e-6
    torch.testing.assert_close(field.cells.diagonal(dim1=1, dim2=2).abs(), field.lattice.lengths.abs())


@pytest.mark.parametrize("config", [PAPER, RELEASED, FAST], ids=["paper", "released", "fast"])
def test_the_gradient_reaches_every_parameter(config):
    torch.manual_seed(0)
    crystals = [*testing.known_crystals(), testing.triclinic()]
    model, batch = Autoencoder(config.network, ALL).train(), CrystalBatch.from_crystals(crystals)
    wanted = targets(batch, model, FAST.sampling, None, torch.Generator().manual_seed(0))
    losses(model, batch, wanted, config.loss)["total"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("encoding", ["raw", "fourier"])
@torch.no_grad()
def test_bfloat16_layers_keep_the_place_of_a_query(encoding):
    model = lively(replace(RELEASED.network, query_encoding=encoding))
    random = torch.Generator().manual_seed(0)
    z, points = torch.randn(4, 192, generator=random), torch.rand(400, 3, generator=random) * 6
    owner = torch.arange(4).repeat_interleave(100)
    exact = model.decode_field(z).displacement(points, owner)
    with autocast("bfloat16", points.device):
        rounded = model.decode_field(z).displacement(points, owner)
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < BFLOAT16_ANGSTROM
