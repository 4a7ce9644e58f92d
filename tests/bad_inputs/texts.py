"""POSCAR, extended XYZ and pymatgen JSON: each is a sound file of NaCl but for one thing."""

import json

from bad_inputs.case import Case, refused, works

POSCAR = "c\n1.0\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
XYZ = '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nNa 0 0 0\nCl 2 2 2\n'
CELL = [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
SITES = [
    {"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0]},
    {"species": [{"element": "Cl"}], "abc": [0.5] * 3},
]


def poscar(old: str, new: str) -> str:
    assert old in POSCAR
    return POSCAR.replace(old, new)


def xyz(old: str, new: str) -> str:
    assert old in XYZ
    return XYZ.replace(old, new, 1)


def structure(lattice: object = None, sites: object = SITES, **more: object) -> str:
    return json.dumps({"lattice": {"matrix": CELL} if lattice is None else lattice, "sites": sites, **more})


def site(element: str = "Na", occu: object = 1, **more: object) -> list[object]:
    return [{"species": [{"element": element, "occu": occu}], "abc": [0, 0, 0], **more}]


CASES: tuple[Case, ...] = (
    # POSCAR
    works("velocities.vasp", POSCAR + "\n0.1 0.1 0.1\n0.2 0.2 0.2\n", 2),
    works("selective.vasp", poscar("Direct\n0 0 0\n0.5 0.5 0.5", "Sel\nDirect\n0 0 0 T F T\n.5 .5 .5 F F F"), 2),
    refused(
        "selective_partly.vasp", poscar("Direct\n0 0 0", "Sel\nDirect\n0 0 0 T F T"), "line 11 has no three of T and"
    ),
    works("comment_empty.vasp", poscar("c\n", "\n"), 2),
    works("deuterium.vasp", poscar("Na Cl", "D Cl"), 2),
    refused("three_scales.vasp", poscar("1.0", "1 1 1"), "line 2 is '1 1 1'; expected one number"),
    refused("fortran_exponent.vasp", poscar("1.0", "1.0D0"), "line 2 is '1.0D0'"),
    refused("underscore.vasp", poscar("0.5 0.5 0.5", "0_5 0.5 0.5"), "line 10 is '0_5 0.5 0.5'"),
    refused("symbols_in_capitals.vasp", poscar("Na Cl", "CO Cl"), "'CO' at site 1, which is no element"),
    works("volume.vasp", poscar("1.0", "-64"), 2),
    works("left_handed.vasp", poscar("0 0 4", "0 0 -4"), 2),
    works("potentials.vasp", poscar("Na Cl", "Na_pv Cl/1a2b"), 2),
    works("symbols_behind.vasp", "c\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0 Na\n.5 .5 .5 Cl\n", 2),
    refused("no_symbols.vasp", poscar("Na Cl\n", ""), "does not name its elements"),
    refused("no_symbols_but_a_comment.vasp", poscar("Na Cl\n", "").replace("c\n", "Na Cl\n", 1), "does not name"),
    refused("symbols_disagree.vasp", poscar("0 0 0\n0.5", "0 0 0 Cl\n0.5"), "line 9 says Cl where line 6 says Na"),
    refused("unknown_symbol.vasp", poscar("Na Cl", "Xx Cl"), "'Xx' at site 1, which is no element"),
    refused("scale_zero.vasp", poscar("1.0", "0"), "its scale on line 2 is '0'"),
    refused("scale_nan.vasp", poscar("1.0", "nan"), "line 2 is 'nan'"),
    refused("flat.vasp", poscar("0 0 4", "0 4 0"), "without volume"),
    refused("flat_volume.vasp", poscar("1.0", "-64").replace("0 0 4", "0 4 0"), "lie in a plane"),
    refused("mode.vasp", poscar("Direct", "Wrong"), "line 8 is 'Wrong'"),
    refused("no_mode.vasp", poscar("Direct\n", ""), "expected Direct or Cartesian"),
    refused("too_few_counts.vasp", poscar("1 1\nD", "1\nD"), "names 2 elements on line 6 and gives 1"),
    refused("too_few_positions.vasp", poscar("1 1\nD", "1 2\nD"), "line 11"),
    refused("too_many_positions.vasp", POSCAR + "0.2 0.2 0.2\n", "line 11 is one more position"),
    refused("a_billion_atoms.vasp", poscar("1 1\nD", "1 999999999\nD"), "announces 1000000000 atoms"),
    refused("negative_count.vasp", poscar("1 1\nD", "3 -1\nD"), "line 7 is '3 -1'"),
    refused("no_atoms.vasp", poscar("1 1\nD", "0 0\nD"), "announces 0 atoms"),
    refused("two_numbers.vasp", poscar("0.5 0.5 0.5", "0.5 0.5"), "line 10 is '0.5 0.5'"),
    refused("nan.vasp", poscar("0.5 0.5 0.5", "nan 0.5 0.5"), "line 10 is 'nan 0.5 0.5'"),
    refused("overlap.vasp", poscar("0.5 0.5 0.5", "1 1 1"), "0.00 Å from its atom 2"),
    refused("truncated.vasp", POSCAR[:40], "ends on line"),
    refused("empty.vasp", "", "ends on line 1"),
    # Extended XYZ
    works("numbers.xyz", xyz("species:S:1", "Z:I:1").replace("Na", "11").replace("Cl 2", "17 2"), 2),
    works("left_handed.xyz", xyz('0 0 4"', '0 0 -4"'), 2),
    works("long_comment.xyz", xyz("Lattice", "a" * 60_000 + " Lattice"), 2),
    works(
        "further_columns.xyz",
        xyz("pos:R:3", "pos:R:3:forces:R:3").replace("0\n", "0 1 2 3\n").replace("2 2\n", "2 2 1 2 3\n"),
        2,
    ),
    works("single_quotes.xyz", xyz('"4', "'4").replace('0 4"', "0 4'"), 2),
    refused("symbol_in_capitals.xyz", xyz("Na 0", "CO 0"), "'CO' at site 1, which is no element"),
    refused("deuterium.xyz", xyz("Na 0", "D 0"), "atom 1 is D"),
    refused("number_negative.xyz", xyz("species:S:1", "Z:I:1").replace("Na", "-1").replace("Cl 2", "17 2"), "below 1"),
    refused("number_and_symbol.xyz", xyz("species:S:1", "species:S:1:Z:I:1"), "lack pos:R:3 or"),
    refused("own_name.xyz", xyz("pos:R:3", "pos:R:3:positions:R:3"), "positions:R:3"),
    refused("small_letters.xyz", xyz("Properties", "properties"), "its comment has 'properties'"),
    refused("pbc_text.xyz", xyz(" Prop", ' pbc="abc" Prop'), "pbc abc"),
    refused("two_columns.xyz", xyz("pos:R:3", "pos:R:2"), "pos:R:2"),
    refused("molecule.xyz", "1\nwater\nO 0 0 0\n", "a molecule, not a crystal"),
    refused("slab.xyz", xyz(" Prop", ' pbc="T T F" Prop'), "pbc TTF"),
    refused("eight_numbers.xyz", xyz('0 0 4"', '0 4"'), "not in the form of a 9-long"),
    refused("lattice_nan.xyz", xyz('"4', '"nan'), "its Lattice has a number that is too large or not finite"),
    refused("lattice_flat.xyz", xyz('0 0 4"', '0 4 0"'), "lie in a plane"),
    refused("coordinate_nan.xyz", xyz("2 2 2", "2 nan 2"), "atom 2 has '2 nan 2'"),
    refused("symbol.xyz", xyz("Na 0", "Qq 0"), "'Qq' at site 1"),
    refused("zero_atoms.xyz", xyz("2\n", "0\n"), "'0' where a frame's number of atoms"),
    refused("a_billion_atoms.xyz", xyz("2\n", "999999999\n"), "'999999999' where"),
    refused("a_billion_columns.xyz", xyz("pos:R:3", "pos:R:999999999"), "pos:R:999999999"),
    refused("no_positions.xyz", xyz(":pos:R:3", ""), "lack pos:R:3 or species:S:1"),
    refused("few_columns.xyz", xyz("Cl 2 2 2", "Cl 2 2"), "atom 2 has only 3 columns"),
    refused("truncated.xyz", XYZ[:-9], "ends in the middle"),
    Case("second_frame.xyz", (XYZ + xyz("2 2 2", "x y z") + XYZ).encode(), atoms=(2, 2), says=("Frame 2",)),
    Case("wrong_count.xyz", (XYZ + xyz("2\n", "1\n")).encode(), atoms=(2,), says=("'Cl 2 2 2' where",)),
    Case("truncated_frame.xyz", (XYZ + XYZ + XYZ[:-9]).encode(), atoms=(2, 2), says=("ends in the middle",)),
    # pymatgen JSON
    works("parameters.json", structure({"a": 4, "b": 4, "c": 4, "alpha": 90, "beta": 90, "gamma": 90}), 2),
    works("code.json", structure(properties={"x": {"@module": "antigravity", "@class": "x"}}), 2),
    works("code_of_a_site.json", structure(sites=site(properties={"x": {"@module": "antigravity", "@class": "x"}})), 1),
    works("deuterium.json", structure(sites=site("D")), 1),
    refused("lattice_of_nine.json", structure({"matrix": [4, 0, 0, 0, 4, 0, 0, 0, 4]}), "numbers of shape (9,)"),
    refused(
        "element_twice.json", structure(sites=[{"species": site()[0]["species"] * 2, "abc": [0, 0, 0]}]), "disordered"
    ),
    refused(
        "cartesian_alone.json", structure(sites=[{"species": site()[0]["species"], "xyz": [0, 0, 0]}]), "lacks 'abc'"
    ),
    refused("coordinate_infinite.json", structure(sites=site(abc=[float("inf"), 0, 0])), "not finite"),
    refused("half_a_file.json", structure()[:50], "is no JSON"),
    refused("deep.json", "[" * 100_000, "is no JSON"),
    refused("number.json", "5", "holds no pymatgen structure"),
    refused("other.json", '{"a": {"b": 1}}', "holds no pymatgen structure"),
    refused("no_sites.json", structure(sites=[]), "at least 1 site"),
    refused("sites_null.json", structure(sites=None), "no readable pymatgen structure"),
    refused("lattice_text.json", structure("cubic"), "no readable pymatgen structure"),
    refused("lattice_ragged.json", structure({"matrix": [[4], [0, 4]]}), "no readable pymatgen structure"),
    refused(
        "lattice_nan.json", structure({"matrix": [[float("nan"), 0, 0], *CELL[1:]]}), "a number that is not finite"
    ),
    refused("lattice_flat.json", structure({"matrix": [CELL[0]] * 3}), "without volume"),
    refused("lattice_slab.json", structure({"matrix": CELL, "pbc": [True, True, False]}), "not periodic"),
    refused("partial.json", structure(sites=site(occu=0.5)), "disordered: site 1 holds Na:0.5"),
    refused("empty_site.json", structure(sites=site(occu=0)), "disordered: site 1 holds Na:0;"),
    refused("occupancy_nan.json", structure(sites=site(occu=float("nan"))), "disordered: site 1 holds Na:nan"),
    refused("dummy.json", structure(sites=site("X0+")), "'X0+' at site 1, which is no element"),
    refused("two_coordinates.json", structure(sites=site(abc=[0, 0])), "site 1 has numbers of shape (2,)"),
    refused("coordinate_text.json", structure(sites=site(abc=["x", 0, 0])), "could not convert"),
    refused("coordinate_huge.json", structure(sites=site(abc=[10**400, 0, 0])), "too large"),
    refused("coordinates_disagree.json", structure(sites=site(xyz=[2, 0, 0])), "contradicts itself"),
    Case("partly.json", f'{{"a": {structure()}, "b": {{"x": 1}}}}'.encode(), atoms=(2,), says=("'b' is no pymatgen",)),
)
