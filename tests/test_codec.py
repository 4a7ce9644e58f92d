"""The model as users meet it: what goes in, what comes out, and what is said when it cannot."""

import re
from dataclasses import replace

import ase
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pymatgen.core import Lattice, Molecule, Structure

from nesf import testing, weights
from nesf.bench.agreement import difference
from nesf.codec import AT_ONCE, Codec, load
from nesf.config import FAST
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.fields import StructureField
from nesf.io import to_ase, to_pymatgen
from nesf.io.table import read_table, write_table
from nesf.metrics import compare
from nesf.model import Autoencoder
from nesf.training import Trainer

KNOWN = (testing.rocksalt(), testing.caesium_chloride(), testing.perovskite())
CONFIG = replace(
    FAST,
    network=replace(
        FAST.network,
        latent=16,
        atom_position=(16,),
        atom_species=(16,),
        atom_mix=32,
        bottleneck=(32,),
        position_field=(64, 64, 64),
        species_field=(32,),
    ),
    training=replace(FAST.training, epochs=120, batch=3, learning_rate=1e-2, precision="float32", permute_elements=0.0),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with a model that was trained for a second: it gives structures back, but not good ones."""
    domain, batch = Domain.of(KNOWN), CrystalBatch.from_crystals(KNOWN)
    torch.manual_seed(0)
    model = Autoencoder(CONFIG.network, domain.vocabulary)
    for _ in Trainer(model, batch, None, CONFIG.sampling, CONFIG.loss, CONFIG.training).run():
        pass
    folder = tmp_path_factory.mktemp("run")
    weights.save(folder / "model.safetensors", model, weights.Card("tiny", "fast", CONFIG, domain))
    return folder


@pytest.fixture(scope="module")
def codec(folder) -> Codec:
    return load(folder)


def unlike(id: str = "stranger") -> Crystal:
    """A crystal with an element that the model does not know."""
    return Crystal.from_frac(id, [11, 54], [[0, 0, 0], [0.5, 0.5, 0.5]], 4.123 * np.eye(3))


def test_a_run_folder_and_its_file_are_the_same_model(folder, codec):
    by_file = load(folder / "model.safetensors")
    assert np.array_equal(by_file.encode(KNOWN), codec.encode(KNOWN))
    assert np.array_equal(load(str(folder)).encode(KNOWN), codec.encode(KNOWN))


def test_the_tiny_model_finds_something(codec):
    assert [type(found) for found in codec.reconstruct(KNOWN)] == [Crystal] * 3


@pytest.mark.parametrize("convert", [lambda c: c, to_pymatgen, to_ase], ids=["crystal", "pymatgen", "ase"])
def test_every_kind_of_structure_is_encoded_to_the_same(codec, convert):
    one, many = codec.encode(convert(KNOWN[0])), codec.encode([convert(c) for c in KNOWN])
    assert one.shape == (16,)
    assert many.shape == (3, 16)
    np.testing.assert_allclose(many, codec.encode(KNOWN), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one, many[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("convert", "kind"),
    [(lambda c: c, Crystal), (to_pymatgen, Structure), (to_ase, ase.Atoms)],
    ids=["crystal", "pymatgen", "ase"],
)
def test_what_goes_in_comes_out(codec, convert, kind):
    single = codec.reconstruct(convert(KNOWN[0]))
    assert isinstance(single, kind)
    several = codec.reconstruct([convert(c) for c in KNOWN])
    assert [type(found) for found in several] == [kind] * 3


def test_kinds_may_be_mixed(codec):
    found = codec.reconstruct([to_ase(KNOWN[0]), KNOWN[1], to_pymatgen(KNOWN[2])])
    assert [type(f) for f in found] == [ase.Atoms, Crystal, Structure]


@pytest.mark.parametrize(("kind", "type_"), [("crystal", Crystal), ("pymatgen", Structure), ("ase", ase.Atoms)])
def test_latents_become_the_wanted_kind(codec, kind, type_):
    z = codec.encode(KNOWN)
    assert isinstance(codec.decode(z[0], kind=kind), type_)
    assert [type(found) for found in codec.decode(z, kind=kind)] == [type_] * 3


def test_reconstruct_is_encode_and_decode(codec):
    found = codec.decode(codec.encode(KNOWN), [c.id for c in KNOWN])
    assert found == codec.reconstruct(KNOWN)
    assert codec.reconstruct(KNOWN, literal=True)[0].formula == found[0].formula


@pytest.mark.parametrize(
    ("convert", "id_of"),
    [
        (lambda c: c, lambda found: found.id),
        (to_pymatgen, lambda found: found.properties["material_id"]),
        (to_ase, lambda found: found.info["material_id"]),
    ],
    ids=["crystal", "pymatgen", "ase"],
)
def test_ids_survive(codec, convert, id_of):
    assert [id_of(found) for found in codec.reconstruct([convert(c) for c in KNOWN])] == ["NaCl", "CsCl", "SrTiO3"]
    assert id_of(codec.reconstruct(convert(KNOWN[2]))) == "SrTiO3"


def test_ids_of_latents(codec):
    z = codec.encode(KNOWN)
    assert [found.id for found in codec.decode(z)] == ["z-0", "z-1", "z-2"]
    assert [found.id for found in codec.decode(z, ["a", "b", "c"])] == ["a", "b", "c"]
    with pytest.raises(NesfError, match="3 latent vectors were given with 2 ids"):
        codec.decode(z, ["a", "b"])


def test_encoding_a_stranger_is_refused_by_name(codec):
    with pytest.raises(NesfError, match=r"^The model tiny cannot take 'stranger': It contains Xe"):
        codec.encode([KNOWN[0], unlike()])


def test_reconstructing_one_is_a_failure_in_its_place(codec):
    found = codec.reconstruct([KNOWN[0], unlike(), KNOWN[1]])
    assert [f.id for f in found] == ["NaCl", "stranger", "CsCl"]
    assert [type(f) for f in found] == [Crystal, Failure, Crystal]
    assert "contains Xe" in found[1].reason
    # Equivalent atoms are as good as each other, so their order is a matter of the last digit.
    assert difference(found[0], codec.reconstruct(KNOWN[0])) is None
    assert isinstance(codec.reconstruct(unlike()), Failure)
    assert [type(f) for f in codec.reconstruct([unlike(), unlike("x")])] == [Failure, Failure]


def test_something_else_is_no_structure(codec):
    for function in (codec.encode, codec.reconstruct):
        with pytest.raises(NesfError, match="A dict is no crystal; expected a Crystal, a pymatgen Structure"):
            function([KNOWN[0], {}])
        with pytest.raises(NesfError, match="A NoneType is no crystal"):
            function(None)
        with pytest.raises(NesfError, match="A Molecule is no crystal"):
            function(Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.74]]))


def test_two_atoms_in_one_place_are_refused_and_not_merged(codec):
    twice = Crystal.from_frac("twice", [11, 17, 17], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.54]], 5 * np.eye(3))
    reason = "It has its atom 2 (Cl) 0.20 Å from its atom 3 (Cl)"
    assert codec.refusal(twice).startswith(reason)
    for kind in (lambda one: one, to_pymatgen, to_ase):
        assert codec.reconstruct([KNOWN[0], kind(twice)])[1].reason.startswith(reason)
        with pytest.raises(NesfError, match="no two atoms are closer than"):
            codec.encode(kind(twice))


def test_an_iterator_of_structures_will_do(codec):
    assert np.array_equal(codec.encode(iter(KNOWN)), codec.encode(KNOWN))
    assert codec.reconstruct(iter(KNOWN)) == codec.reconstruct(KNOWN)


def test_none_are_none(codec):
    assert codec.encode([]).shape == (0, 16)
    assert codec.decode(np.zeros((0, 16))) == []
    assert codec.reconstruct([]) == []


@pytest.mark.parametrize("shape", [(15,), (3, 17), (2, 3, 16), ()])
def test_latents_of_another_shape_are_refused(codec, shape):
    for function in (codec.decode, codec.field):
        with pytest.raises(NesfError, match=re.escape(f"have 16 numbers; the array has shape {shape}.")):
            function(np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_latents_that_are_not_finite_are_refused(codec, bad):
    z = np.zeros((2, 16))
    z[1, 3] = bad
    with pytest.raises(NesfError, match="not a finite number"):
        codec.decode(z)


def test_latents_far_from_any_crystal_fail_as_values(codec):
    z = codec.encode(KNOWN)
    found = codec.decode(np.stack((z[0], 1e4 * z[1], -1e4 * z[1], z[2])))
    assert [type(f) for f in found] == [Crystal, Failure, Failure, Crystal]
    assert found[1].id == "z-1"


def test_the_field_can_be_queried(codec):
    field = codec.field(codec.encode(KNOWN))
    assert isinstance(field, StructureField)
    batch = CrystalBatch.from_crystals(KNOWN)
    there = field.displacement(batch.cart, batch.owner)
    assert not there.requires_grad
    # Trained for a second, it knows roughly where the atoms are.
    assert there.norm(dim=1).mean() < 0.5


def test_progress_counts_every_structure(codec):
    steps: list[int] = []
    codec.reconstruct([KNOWN[1]] * (AT_ONCE["cpu"] + 3), progress=steps.append)
    assert steps == [AT_ONCE["cpu"], 3]
    steps.clear()
    codec.decode(np.tile(codec.encode(KNOWN[1]), (AT_ONCE["cpu"] + 3, 1)), progress=steps.append)
    assert steps == [AT_ONCE["cpu"], 3]


def test_loading_what_is_no_model(tmp_path):
    with pytest.raises(NesfError, match=r"is a folder without model.safetensors"):
        load(tmp_path)
    with pytest.raises(NesfError, match="unheard-of is neither a run folder, a weights file nor a shipped model"):
        load("unheard-of")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(NesfError, match=r"broken.safetensors cannot be read"):
        load(tmp_path / "broken.safetensors")


def test_one_disordered_structure_is_a_failure_in_its_place():
    mixed = {"Fe": 0.5, "Ni": 0.5}
    disordered = Structure(Lattice.cubic(4.0), [mixed], [[0, 0, 0]], properties={"material_id": "alloy"})
    sound = to_pymatgen(testing.rocksalt())
    model = load()
    done = []
    first, second, third = model.reconstruct([sound, disordered, sound], progress=done.append)
    assert sum(done) == 3
    assert isinstance(first, Structure)
    assert isinstance(third, Structure)
    assert second.id == "alloy"
    assert "disordered: site 1 holds" in second.reason
    with pytest.raises(NesfError, match="disordered"):
        model.encode([sound, disordered])


@pytest.mark.parametrize("frac", [[0.99, 1.04], [0.01, -0.04], [0.5, 7.45]])
def test_an_atom_of_another_cell_is_found_behind_one_of_this(frac, tmp_path):
    cell = np.diag([30.0, 5.0, 5.0])
    crystal = Crystal("x", [11, 17], [[x * 30, 2.5, 2.5] for x in frac], cell)
    write_table(tmp_path / "x.parquet", [crystal])
    # As another program has written it, which our own tables are told from.
    pq.write_table(pq.read_table(tmp_path / "x.parquet").replace_schema_metadata(None), tmp_path / "x.parquet")
    (read,) = read_table(tmp_path / "x.parquet")
    for given in (crystal, read):
        found = load().reconstruct(given)
        assert found.formula == "NaCl"
        assert compare(crystal, found, periodic=True).actual.distances.max() < 1e-4
    assert compare(read, found).actual.distances.max() < 1e-4


def test_right_angles_come_back_right():
    found = load().reconstruct(to_pymatgen(testing.rocksalt()))
    assert found.lattice.angles == pytest.approx((90, 90, 90), abs=1e-10)
