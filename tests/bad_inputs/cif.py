"""CIFs: each is a sound one of NaCl but for one thing."""

from bad_inputs.case import Case, refused, works

HEADS = "label type_symbol fract_x fract_y fract_z occupancy"
ROWS = ("Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1")
P1 = "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n"


def cell(a: object = 5.64, b: object = 5.64, c: object = 5.64, angles: tuple[object, ...] = (90, 90, 90)) -> str:
    lengths = "".join(f"_cell_length_{name} {value}\n" for name, value in zip("abc", (a, b, c), strict=True))
    names = ("alpha", "beta", "gamma")
    return lengths + "".join(f"_cell_angle_{name} {value}\n" for name, value in zip(names, angles, strict=True))


def cif(
    cell: str = cell(), symmetry: str = P1, heads: str = HEADS, rows: tuple[str, ...] = ROWS, more: str = ""
) -> str:
    head = "".join(f"_atom_site_{name}\n" for name in heads.split())
    return f"data_x\n{more}{cell}{symmetry}loop_\n{head}" + "".join(f"{row}\n" for row in rows)


def first(row: str) -> str:
    """With another first atom."""
    return cif(rows=(row, ROWS[1]))


def operations(*texts: str) -> str:
    return "loop_\n_symmetry_equiv_pos_as_xyz\n" + "".join(f"'{text}'\n" for text in texts)


def named(name: str) -> str:
    return f"_symmetry_space_group_name_H-M '{name}'\n"


SILICON = ("Si1 Si 0.125 0.125 0.125 1",)
SKEWED = cell(4, 5, 6, (80, 90, 100))
GOOD = cif()


def of_one_element(symbol: str, count: int, formula: str, units: int) -> str:
    """So many atoms in P 1, with a formula and a number of formula units."""
    rows = tuple(f"{symbol}{i} {symbol} {i / 10} {i / 10} 0 1" for i in range(count))
    return cif(rows=rows, more=f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z {units}\n")


CASES: tuple[Case, ...] = (
    # The cell
    refused("no_cell.cif", cif(cell=""), "no _cell_length_a"),
    refused("no_angle.cif", GOOD.replace("_cell_angle_beta 90\n", ""), "no _cell_angle_beta"),
    refused("zero_length.cif", cif(cell(0)), "_cell_length_a (line 2) is '0'"),
    refused("negative_length.cif", cif(cell(c=-5.64)), "_cell_length_c (line 4) is '-5.64'"),
    refused("unknown_length.cif", cif(cell("?")), "is '?'"),
    refused("inapplicable_length.cif", cif(cell(".")), "is '.'"),
    refused("nan_length.cif", cif(cell("nan")), "is 'nan'"),
    refused("infinite_length.cif", cif(cell("inf")), "is 'inf'"),
    refused("huge_length.cif", cif(cell("1e308")), "is '1e308'"),
    refused("tiny_length.cif", cif(cell("1e-9")), "without volume"),
    refused("decimal_comma.cif", cif(cell("5,64")), "'5,64'"),
    refused("text_length.cif", cif(cell("long")), "'long'"),
    works("uncertainty.cif", cif(cell("5.6402(3)")), 2),
    works("thousand_angstrom.cif", cif(cell(1000, 1000, 1000)), 2),
    refused("impossible_angles.cif", cif(cell(angles=(120, 120, 150))), "belong to no cell"),
    refused("angle_0.cif", cif(cell(angles=(90, 90, 0))), "_cell_angle_gamma (line 7) is '0'"),
    refused("angle_180.cif", cif(cell(angles=(90, 90, 180))), "is '180'"),
    refused("angle_450.cif", cif(cell(angles=(90, 90, 450))), "is '450'"),
    refused("angle_negative.cif", cif(cell(angles=(90, 90, -90))), "is '-90'"),
    refused("angle_1.cif", cif(cell(angles=(90, 90, 1))), "its own image"),
    refused("no_value.cif", GOOD.replace("_cell_angle_beta 90", "_cell_angle_beta"), "no value for _cell_angle_beta"),
    refused("name_without_value.cif", cif(symmetry="_symmetry_space_group_name_H-M\n"), "no value for _symmetry"),
    refused("two_signs.cif", cif(cell("+-5")), "is '+-5'"),
    works("title_twice.cif", cif(more="_title a\n_title b\n"), 2),
    refused("cell_twice.cif", cif(more="_cell_length_a 4\n"), "gives _cell_length_a twice, on lines 2 and 3"),
    # The atoms
    refused("unknown_coordinate.cif", first("Na1 Na ? 0 0 1"), "'Na1' (row 1 of the atoms) has '?'"),
    refused("inapplicable_coordinate.cif", first("Na1 Na . . . 1"), "has '.' for the fractional coordinate x"),
    refused("nan_coordinate.cif", first("Na1 Na 0 nan 0 1"), "has 'nan' for the fractional coordinate y"),
    refused("infinite_coordinate.cif", first("Na1 Na 0 0 -inf 1"), "has '-inf'"),
    refused("huge_coordinate.cif", first("Na1 Na 1e308 0 0 1"), "has '1e308'"),
    refused("text_coordinate.cif", first("Na1 Na zero 0 0 1"), "has 'zero'"),
    refused("cartesian.cif", cif(heads="label Cartn_x Cartn_y Cartn_z", rows=("Na1 0 0 0",)), "Cartesian ones are not"),
    refused("no_coordinates.cif", cif(heads="label", rows=("Na1", "Cl1")), "lack fractional coordinates"),
    refused("no_rows.cif", cif(rows=()), "no element"),
    works("outside_of_the_cell.cif", first("Na1 Na 3 -2 1.0 1"), 2),
    refused("unknown_element.cif", first("Qq1 Qq 0 0 0 1"), "'Qq', which is no element"),
    refused("dummy_element.cif", first("X1 X 0 0 0 1"), "'X', which is no element"),
    refused("ghost_element.cif", first("Bq1 Bq 0 0 0 1"), "'Bq', which is no element"),
    refused("mass_number.cif", first("Na1 23Na 0 0 0 1"), "'23Na', which is no element"),
    refused("no_elements.cif", cif(heads="type_symbol fract_x fract_y fract_z", rows=("? 0 0 0",)), "no element"),
    refused("dummy_atom.cif", cif(heads=HEADS + " calc_flag", rows=("Na1 Na 0 0 0 1 dum",)), "is a dummy"),
    refused("attached_hydrogen.cif", cif(heads=HEADS + " attached_hydrogens", rows=("O1 O 0 0 0 1 2",)), "hydrogen"),
    works("deuterium.cif", first("D1 D 0 0 0 1"), 2),
    works("tritium.cif", first("T1 T 0 0 0 1"), 2),
    works("charges.cif", cif(rows=("Na1 Na1+ 0 0 0 1", "Cl1 Cl- 0.5 0.5 0.5 1")), 2),
    works("labels_alone.cif", cif(heads="label fract_x fract_y fract_z", rows=("NA1 0 0 0", "Cl2A .5 .5 .5")), 2),
    refused("partial.cif", first("Na1 Na 0 0 0 0.5"), "disordered: its atom 'Na1'"),
    refused("empty_site.cif", first("Na1 Na 0 0 0 0"), "disordered"),
    refused("overfull_site.cif", first("Na1 Na 0 0 0 1.5"), "disordered"),
    refused("negative_occupancy.cif", first("Na1 Na 0 0 0 -1"), "disordered"),
    refused("unknown_occupancy.cif", first("Na1 Na 0 0 0 ?"), "occupancy '?'"),
    works("default_occupancy.cif", first("Na1 Na 0 0 0 ."), 2),
    refused("mixed_site.cif", cif(rows=("Na1 Na 0 0 0 0.5", "K1 K 0 0 0 0.5", ROWS[1])), "disordered"),
    refused("two_elements_in_one_place.cif", cif(rows=(*ROWS, "K1 K 0 0 0 1")), "0.00 Å from its atom 3 (K)"),
    refused("atom_twice.cif", cif(rows=(*ROWS, "Na2 Na 0 0 0 1")), "0.00 Å from"),
    refused("too_close.cif", cif(rows=(*ROWS, "Na2 Na 0.07 0 0 1")), "0.39 Å from"),
    refused("too_close_to_an_image.cif", cif(rows=("Na1 Na 0.01 0 0 1", "Na2 Na 0.99 0 0 1")), "0.11 Å from"),
    works("close_as_hydrogen.cif", cif(rows=("H1 H 0 0 0 1", "H2 H 0.1312 0 0 1")), 2),
    # Symmetry
    works("no_symmetry.cif", cif(symmetry=""), 2),
    refused("unknown_symmetry.cif", cif(symmetry="_symmetry_space_group_name_H-M ?\n"), "space group is unknown"),
    refused(
        "another_group_of_the_same_order.cif",
        cif(symmetry=named("P 2 2 2") + operations("x,y,z", "-x,-y,z", "x,-y,z", "-x,y,z")),
        "lists the operations of P m m 2",
    ),
    refused(
        "more_formula_units.cif",
        cif(symmetry=named("F m -3 m"), more="_chemical_formula_sum 'Na Cl'\n_cell_formula_units_Z 2\n"),
        "its cell holds 2 formula units",
    ),
    works("pairs_as_formula_units.cif", of_one_element("N", 8, "N8", 4), 8),
    works("half_a_pair.cif", of_one_element("Cl", 1, "Cl1", 0), 1),
    works("two_pairs_of_five.cif", of_one_element("O", 5, "O5", 2), 5),
    refused(
        "one_pair_of_four.cif", of_one_element("N", 2, "N2", 4), "by _cell_formula_units_Z (line 3) its cell holds 4"
    ),
    refused("one_ring_of_sixteen.cif", of_one_element("S", 8, "S8", 4), "its cell holds 4 formula units of 'S8'"),
    works("underscore_in_name.cif", cif(cell(4, 5, 6, (90, 100, 90)), named("P 2_1/c")), 4),
    works("named_alone.cif", cif(symmetry=named("F m -3 m")), 8),
    works("number_alone.cif", cif(symmetry="_symmetry_Int_Tables_number 225\n"), 8),
    works("hall_symbol_alone.cif", cif(symmetry="_space_group_name_Hall '-F 4 2 3'\n"), 8),
    refused("unknown_group.cif", cif(symmetry=named("Z 9")), "'Z 9', which is not known"),
    refused("group_number_400.cif", cif(symmetry="_symmetry_Int_Tables_number 400\n"), "'400', which is not known"),
    refused("two_origins.cif", cif(symmetry=named("F d -3 m"), rows=SILICON), "two origins"),
    works("second_origin.cif", cif(symmetry=named("F d -3 m :2"), rows=SILICON), 8),
    works("rhombohedral_axes.cif", cif(cell(4, 4, 4, (60, 60, 60)), named("R -3 m"), rows=("Si1 Si 0 0 0 1",)), 1),
    works("hexagonal_axes.cif", cif(cell(4, 4, 9, (90, 90, 120)), named("R -3 m"), rows=("Si1 Si 0 0 0 1",)), 3),
    works("other_setting.cif", cif(cell(4, 5, 6, (90, 100, 90)), named("P 21/n"), rows=("Si1 Si .1 .2 .3 1",)), 4),
    refused("name_against_cell.cif", cif(SKEWED, named("P m -3 m")), "does not fit the space group"),
    refused(
        "operations_against_cell.cif", cif(SKEWED, operations("x,y,z", "z,x,y", "y,z,x")), "Its cell does not have"
    ),
    refused("name_against_operations.cif", cif(symmetry=named("F m -3 m") + P1), "contradicts itself"),
    works(
        "name_beside_all_atoms.cif",
        cif(symmetry=named("P m -3 m") + P1, more="_chemical_formula_sum 'Na Cl'\n_cell_formula_units_Z 1\n"),
        2,
    ),
    refused("operations_against_name.cif", cif(symmetry=named("P 1") + operations("x,y,z", "-x,-y,-z")), "contradicts"),
    refused("broken_operation.cif", cif(symmetry=operations("x,y,z", "x,y,q")), "Row 2 of its symmetry operations"),
    refused("short_operation.cif", cif(symmetry=operations("x,y,z", "x,y")), "'x,y', is none"),
    refused("flat_operation.cif", cif(symmetry=operations("x,y,z", "x,x,x")), "'x,x,x', is none"),
    refused("division_by_zero.cif", cif(symmetry=operations("x,y,z+1/0")), "is none"),
    refused("long_translation.cif", cif(symmetry=operations("x,y,z", "x+99999999999999,y,z")), "is none"),
    refused("odd_translation.cif", cif(symmetry=operations("x,y,z", "x+0.3,y,z")), "'x+0.3,y,z', is none"),
    refused("other_letters.cif", cif(symmetry=operations("h,k,l")), "'h,k,l', is none"),
    refused("shear.cif", cif(symmetry=operations("x,y,z", "x,x+y,z")), "form no group"),
    refused("inversion_twice.cif", cif(symmetry=operations("x,y,z", "-x,-y,-z", "-x+1/2,-y,-z")), "form no group"),
    works("decimal_translation.cif", cif(symmetry=operations("x,y,z", "x+0.5,Y+.5,z")), 4),
    works("origin_by_letter.cif", cif(symmetry=named("F d -3 m Z"), rows=SILICON), 8),
    refused("number_of_two_origins.cif", cif(symmetry="_symmetry_Int_Tables_number 227\n"), "two origins"),
    refused("number_1003.cif", cif(symmetry="_symmetry_Int_Tables_number 1003\n"), "'1003', which is not known"),
    refused("name_no_ascii.cif", cif(symmetry=named("é")), "which is not known"),
    refused("minus_no_ascii.cif", first("Na1 Na −0.1 0 0 1"), "has '~0.1'"),
    refused("no_identity.cif", cif(symmetry=operations("-x,-y,-z")), "form no group"),
    refused("operation_missing.cif", cif(symmetry=operations("x,y,z", "-x,-y,z", "-x,y,-z")), "form no group"),
    works("operation_twice.cif", cif(symmetry=operations("x,y,z", "-x,-y,-z", "-x,-y,-z")), 2),
    works(
        "rounded_special_position.cif",
        cif(
            cell(4, 4, 6, (90, 90, 120)), operations("x,y,z", "-y,x-y,z", "-x+y,-x,z"), rows=("Mg1 Mg 0.333 0.667 0 1",)
        ),
        1,
    ),
    refused("missing_atoms.cif", cif(more="_chemical_formula_sum 'Na Cl H4'\n"), "atoms are missing or too many"),
    refused(
        "missing_symmetry.cif",
        cif(symmetry="", more="_chemical_formula_sum 'Na Cl'\n_cell_formula_units_Z 4\n"),
        "list its symmetry operations",
    ),
    refused("modulated.cif", cif(more="_cell_modulation_dimension 1\n"), "modulated"),
    refused("magnetic.cif", cif(more="_space_group_magn.number_BNS 225.1\n"), "magnetic"),
    # The text
    refused("empty.cif", "", "no data block"),
    refused("binary.cif", bytes(range(256)) * 8, "line 1: expected block header"),
    refused("zip.cif", b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(64), "line 1: expected block header"),
    refused("gzip.cif", b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + bytes(64), "line 1: expected block header"),
    refused("web_page.cif", "<html><body>404 Not Found</body></html>", "line 1: expected block header"),
    refused("truncated.cif", GOOD[:230], "line 14: it is damaged, or ends too early"),
    refused("truncated_row.cif", GOOD[:-12], "line 11: Wrong number of values in loop _atom_site_"),
    refused("short_row.cif", cif(rows=("Na1 Na 0 0 0", ROWS[1])), "line 11: Wrong number of values"),
    refused("long_row.cif", cif(rows=("Na1 Na 0 0 0 1 7", ROWS[1])), "line 11: Wrong number of values"),
    refused("quote_never_closed.cif", cif(more="_title 'abc\n"), "line 2: unterminated"),
    refused("text_never_closed.cif", GOOD + ";\n" + GOOD[7:], "line 39: unterminated text field"),
    refused("quotes_never_closed.cif", GOOD + "'a " * 5000, "line 20: unterminated"),
    works("capitals.cif", GOOD.upper(), 2),
    works("byte_order_mark.cif", b"\xef\xbb\xbf" + GOOD.encode(), 2),
    works("utf16.cif", GOOD.encode("utf-16"), 2),
    works("latin1.cif", f"# caf\xe9 {GOOD[:0]}\n{GOOD}".encode("latin-1"), 2),
    works("windows_lines.cif", GOOD.replace("\n", "\r\n"), 2),
    works("old_mac_lines.cif", GOOD.replace("\n", "\r"), 2),
    works("title_no_ascii.cif", cif(more="_title 'café'\n_author\n;\né\n;\n"), 2),
    refused("text_before.cif", "See below.\n" + GOOD, "line 1: expected block header"),
    works("comments.cif", GOOD.replace("\nloop_", " # a\n#\n\nloop_"), 2),
    Case("blocks.cif", (GOOD + "data_none\n_x 1\n" + GOOD + cif(cell("?"))).encode(), atoms=(2, 2), says=("is '?'",)),
    works(
        "ten_thousand_atoms.cif",
        cif(
            cell(66, 66, 66),
            heads="label fract_x fract_y fract_z",
            rows=tuple(f"H {i % 22 / 22:.6f} {i // 22 % 22 / 22:.6f} {i // 484 / 22:.6f}" for i in range(10_000)),
        ),
        10_000,
    ),
    refused(
        "too_many_atoms.cif",
        cif(
            cell(500, 5, 5),
            heads="label fract_x fract_y fract_z",
            rows=tuple(f"H {i / 3e4} 0 0" for i in range(30_000)),
        ),
        "30000 atoms; at most 20000",
    ),
)
