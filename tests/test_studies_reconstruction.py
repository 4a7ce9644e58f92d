"""The studies of reconstruction: errors by size, true beside found, sensitivity of the estimation."""

import csv
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import nesf
from nesf.bench.agreement import agreement_of
from nesf.cli import main
from nesf.cli.studies.conduct import shown
from nesf.codec import Codec
from nesf.config import FAST, PRESETS
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import Dataset, load_dataset
from nesf.errors import NesfError
from nesf.evaluation import evaluate
from nesf.io import convert, write_table
from nesf.plots import Caption
from nesf.plots import reconstructions as drawn
from nesf.plots.structures import VIEW
from nesf.studies import Table, errors_by_size, reconstructions, sensitivity
from nesf.studies.record import read_record
from nesf.testing import caesium_chloride, hexagonal, perovskite, rocksalt


@pytest.fixture(scope="module")
def model() -> Codec:
    return nesf.load("lcs6a-paper")


@pytest.fixture(scope="module")
def textbook() -> Dataset:
    return load_dataset("textbook")


@pytest.fixture(scope="module")
def table(textbook: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a few crystals, some of which the model refuses."""
    path = tmp_path_factory.mktemp("data") / "few crystals.parquet"
    write_table(path, textbook.crystals[::10])
    return path


def named(*crystals: Crystal) -> Dataset:
    """A data set of some crystals."""
    return Dataset("mine", crystals, (), "0" * 64)


def answers(model: Codec, monkeypatch: pytest.MonkeyPatch, *found: Crystal | Failure) -> Codec:
    """The model, made to find just these crystals."""
    monkeypatch.setattr(model, "reconstruct", lambda _, progress: list(found))  # noqa: ARG005 (its name is given)
    return model


def shifted(crystal: Crystal, by: float) -> Crystal:
    """The crystal with all atoms moved along z, by less than half of the shortest distance."""
    return replace(crystal, cart=crystal.cart + np.array([0.0, 0.0, by]))


def texts(figure: Any) -> str:
    """Everything that a figure says."""
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")))


# Errors by size


def rows_of(size: int, positions: Sequence[float | None]) -> list[dict[str, Any]]:
    return [{"size": size, "count": 0, "position": x, "species": 0.0} for x in positions]


def test_a_band_holds_the_percentiles_of_known_numbers() -> None:
    (row,) = errors_by_size.by_size(rows_of(4, [float(i) for i in range(101)]), least=10)
    assert row["position"] == [16.0, 50.0, 84.0]
    assert (row["size"], row["crystals"], row["failures"], row["left_out"]) == (4, 101, 0, False)


def test_rare_sizes_are_left_out_and_counted() -> None:
    rows = errors_by_size.by_size([*rows_of(8, [0.1] * 9), *rows_of(2, [0.1] * 10)], least=10)
    assert [(row["size"], row["crystals"], row["left_out"]) for row in rows] == [(2, 10, False), (8, 9, True)]


def test_a_failure_has_no_position_and_is_counted() -> None:
    some, none = errors_by_size.by_size([*rows_of(2, [None, 0.5, None]), *rows_of(3, [None])], least=1)
    assert (some["position"], some["failures"]) == ([0.5, 0.5, 0.5], 2)
    assert (none["position"], none["failures"]) == (None, 1)


def test_errors_are_signed_and_a_failure_loses_all_its_atoms(model: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    true = rocksalt(), caesium_chloride(), perovskite()
    fewer = replace(true[0], numbers=true[0].numbers[1:], cart=true[0].cart[1:])
    more = shifted(true[1], 0.1)
    more = replace(more, numbers=np.append(more.numbers, 55), cart=np.append(more.cart, [[0.0, 0.0, 2.0]], axis=0))
    lost = Failure("SrTiO3", "No atom was found in the field.")
    rows = errors_by_size.errors_of_crystals(answers(model, monkeypatch, fewer, more, lost), named(*true))
    assert [(row["size"], row["count"]) for row in rows] == [(8, -1), (2, 1), (5, -5)]
    assert rows[1]["position"] == pytest.approx(0.1)
    assert (rows[2]["position"], rows[2]["species"]) == (None, 100.0)


def test_a_perfect_model_has_no_errors_at_any_size(model: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    true = rocksalt(), caesium_chloride(), perovskite()
    outcome = errors_by_size.study(answers(model, monkeypatch, *true), [named(*true)], least=1)
    assert [row["size"] for row in outcome.values["data"]["mine"]] == [2, 5, 8]
    for row in outcome.values["data"]["mine"]:
        assert row["count"] == row["position"] == row["species"] == [0.0, 0.0, 0.0]
    assert "3 crystals of 3 sizes; 3 of them" in outcome.summary


def test_where_nothing_is_found_there_is_a_picture_all_the_same(model: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Failure("NaCl", "No atom was found in the field.")
    outcome = errors_by_size.study(answers(model, monkeypatch, lost), [named(rocksalt())], least=1)
    assert outcome.values["data"]["mine"][0]["failures"] == 1
    assert "position error" in texts(outcome.pictures["errors_by_size"].figure)


def test_data_without_any_common_size_are_refused(model: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NesfError, match="mine has at most 1 crystals of one size; lower --least, which is 10"):
        errors_by_size.study(answers(model, monkeypatch, rocksalt()), [named(rocksalt())])


def test_any_name_of_a_data_set_can_be_drawn(model: Codec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = replace(named(rocksalt()), name="a$x^{$b")
    outcome = errors_by_size.study(answers(model, monkeypatch, rocksalt()), [data], least=1)
    outcome.pictures["errors_by_size"].figure.savefig(tmp_path / "errors.png")
    assert data.name in texts(outcome.pictures["errors_by_size"].figure)


def test_each_data_set_has_a_row_of_three_panels(model: Codec, textbook: Dataset) -> None:
    outcome = errors_by_size.study(model, [textbook, textbook])
    figure = outcome.pictures["errors_by_size"].figure
    assert len(figure.axes) == 6
    said = texts(figure)
    assert all(word in said for word in ("textbook", "textbook (2)", "[Å]", "[%]", "atoms in the true cell"))
    table = outcome.tables["errors_by_size"]
    assert all(len(row) == len(table.heads) for row in table.rows)
    # Refused crystals count as failed, as in every evaluation.
    failed = sum(row["failures"] for row in outcome.values["data"]["textbook"])
    assert failed == evaluate(model, textbook.crystals).failures > 0


# Reconstructions


def pairs_of(*shifts: float | None) -> list[tuple[Crystal, Crystal | Failure]]:
    """Pairs with these position errors; None is a failure."""
    true = [rocksalt().renamed(f"c{i}") for i in range(len(shifts))]
    return [
        (one, Failure(one.id, "Lost.") if by is None else shifted(one, by))
        for one, by in zip(true, shifts, strict=True)
    ]


def test_the_best_the_median_and_the_worst_are_shown() -> None:
    pairs = pairs_of(0.3, 0.1, None, 0.5, 0.2, 0.4, 0.0)
    shown = reconstructions.spread(pairs, 3)
    assert [one.true.id for one in shown] == ["c6", "c0", "c2"]
    assert [one.rank for one in shown] == [0, 3, 6]


@pytest.mark.parametrize("count", range(1, 12))
def test_ranks_ascend_whatever_is_asked_for(count: int) -> None:
    pairs = pairs_of(*[0.01 * i for i in range(9)])
    ranks = [one.rank for one in reconstructions.spread(pairs, count)]
    assert ranks == sorted(set(ranks))
    assert len(ranks) == min(count, 9)
    if count > 2:
        assert {0, 4, 8} <= set(ranks)


def test_an_unknown_id_is_named(model: Codec, textbook: Dataset) -> None:
    with pytest.raises(NesfError, match="textbook holds no crystal 'mp-1'"):
        reconstructions.study(model, textbook, ids=["NaCl-rocksalt", "mp-1"])


def test_named_crystals_are_shown_in_order_and_failures_with_their_reason(
    model: Codec, textbook: Dataset, tmp_path: Path
) -> None:
    from pymatgen.core import Structure

    ids = ["TiO2-rutile", "Mg-hcp", "NaCl-rocksalt"]
    outcome = reconstructions.study(model, textbook, ids=ids, cifs=tmp_path)
    rows = outcome.values["crystals"]
    assert [(row["id"], row["ok"]) for row in rows] == [
        ("TiO2-rutile", True),
        ("Mg-hcp", False),
        ("NaCl-rocksalt", True),
    ]
    said = " ".join(texts(outcome.pictures["reconstructions"].figure).split())
    assert "not found" in said
    assert " ".join(rows[1]["reason"].split()) in said
    assert {path.name for path in (tmp_path / "true").iterdir()} == {f"{name}.cif" for name in ids}
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"TiO2-rutile.cif", "NaCl-rocksalt.cif"}
    # The CIFs hold the cells that are drawn and measured, not the snapped ones.
    (rutile,) = (one for one in textbook.crystals if one.id == ids[0])
    assert len(Structure.from_file(tmp_path / "true" / f"{ids[0]}.cif")) == len(rutile)


def test_cifs_of_an_earlier_study_are_removed_and_nothing_else_is(
    model: Codec, textbook: Dataset, tmp_path: Path
) -> None:
    for ids in (["TiO2-rutile"], ["NaCl-rocksalt"]):
        reconstructions.study(model, textbook, ids=ids, cifs=tmp_path)
        (tmp_path / "true" / "notes.txt").touch()
        (tmp_path / "mine.cif").touch()
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert found == {"mine.cif", "true/notes.txt", "true/NaCl-rocksalt.cif", "found/NaCl-rocksalt.cif"}


def test_no_two_columns_have_one_head(model: Codec, textbook: Dataset) -> None:
    heads = reconstructions.study(model, textbook, ids=["NaCl-rocksalt"]).tables["reconstructions"].heads
    assert len(set(heads)) == len(heads)
    assert {"formula found", "atoms found"} <= set(heads)


def test_what_the_model_refuses_is_not_chosen_but_counted(model: Codec, textbook: Dataset) -> None:
    refused = sum(model.refusal(one) is not None for one in textbook.crystals)
    outcome = reconstructions.study(model, textbook, count=4)
    assert all(row["ok"] for row in outcome.values["crystals"])
    assert f"{refused} others lie outside the model's range" in outcome.summary
    assert outcome.values["crystals"][0]["rank"] == 1


def test_both_of_a_pair_are_drawn_to_one_scale_and_wrong_atoms_are_ringed() -> None:
    true, larger = caesium_chloride(), replace(caesium_chloride(), cell=1.3 * caesium_chloride().cell)
    figure = drawn([(true, larger)], captions=[Caption("CsCl", "", (False, True))])
    left, right = figure.findobj(lambda one: hasattr(one, "get_xlim") and hasattr(one, "get_subplotspec"))
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    rings = [one.get_linewidths()[0] > 1 for one in right.collections]
    # Far atoms are drawn first, and the one at the origin is farther from the viewer where VIEW says so.
    order = (larger.cart @ VIEW.T)[:, 2].argsort()
    assert rings == [[False, True][i] for i in order]


@pytest.mark.parametrize("captioned", [False, True])
@pytest.mark.parametrize("count", [1, 8, 20])
def test_in_a_picture_of_any_number_of_pairs_nothing_lies_over_another(count: int, captioned: bool) -> None:
    long = Crystal.from_frac("x", [57, 57, 57, 45, 45, 29, 30, 82, 8], np.arange(27).reshape(9, 3) / 28, 9 * np.eye(3))
    true = [one for _ in range(4) for one in (rocksalt(), hexagonal(), perovskite(), long, caesium_chloride())][:count]
    pairs = [(one, replace(one, numbers=one.numbers % 90 + 3)) for one in true]
    text = "atoms 8 → 9 · positions 0.000 Å\nspecies 0 % · lengths 0.000 Å"
    captions = [Caption("mp-1234567 (median, rank 4524 of 9047)", text) for _ in true] if captioned else None
    figure = drawn(pairs, captions=captions)
    # A solver of layouts may need hours for that many boxes.
    assert figure.get_layout_engine() is None
    figure.canvas.draw()
    pieces = [figure, *figure.subfigs]
    texts = [text for piece in pieces for text in piece.texts if text.get_text()]
    parts = [*texts, *figure.legends, *(axes for box in figure.subfigs for axes in box.axes)]
    assert len(parts) == 1 + count * (4 if captioned else 3) + captioned
    extents = np.array([part.get_window_extent().extents for part in parts])
    whole = figure.bbox.extents
    assert (extents[:, :2] >= whole[:2]).all()
    assert (extents[:, 2:] <= whole[2:]).all()
    low, high = extents[:, None, :2], extents[None, :, 2:]
    over = (low < high).all(-1) & (low < high).all(-1).T
    assert not (over & ~np.eye(len(parts), dtype=bool)).any()


def panels(figure: Any) -> list[Any]:
    """The pictures of crystals in a figure."""
    return [axes for box in figure.subfigs for axes in box.axes]


@pytest.mark.parametrize("captioned", [False, True])
def test_atoms_at_the_borders_of_a_picture_are_drawn_whole(captioned: bool) -> None:
    ends = [[0.0, 0.0, 0.0], [0.0, 0.99, 0.5], [0.99, 0.0, 0.5], [0.99, 0.99, 0.0], [0.0, 0.0, 0.99]]
    cells = np.diag([3.0, 3.0, 20.0]), np.diag([20.0, 20.0, 3.0]), np.diag([3.0, 20.0, 3.0]), 5 * np.eye(3)
    true = [Crystal.from_frac("x", [26, 8, 27, 3, 29], ends, cell) for cell in cells]
    captions = [Caption("x", "", [True] * 5) for _ in true] if captioned else None
    figure = drawn([(one, one) for one in true], captions=captions)
    figure.draw_without_rendering()
    for axes in panels(figure):
        assert len(axes.collections) == 5
        for atom in axes.collections:
            (place,) = axes.transData.transform(atom.get_offsets())
            points = atom.get_sizes()[0] ** 0.5 / 2 + atom.get_linewidths()[0] / 2
            radius = points * figure.dpi / 72
            assert (place - radius >= axes.bbox.min).all()
            assert (place + radius <= axes.bbox.max).all()


def test_no_textbook_cell_is_drawn_as_a_strip(textbook: Dataset) -> None:
    signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
    for crystal in textbook.crystals:
        a, b, c = crystal.cell
        faces = np.array([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
        # From any side the area of a cell is that of its three faces, and it is most along one of their sums.
        best = np.linalg.norm(signs @ faces, axis=1).max()
        assert np.abs(faces @ VIEW[2]).sum() > 0.65 * best, crystal.id
        if np.allclose(crystal.cell[2, :2], 0.0):
            # The other cells are oblique, each in its own way. A face is no line.
            seen = np.abs(faces @ VIEW[2]) / np.linalg.norm(faces, axis=1)
            assert (seen > np.sin(np.radians(15))).all(), crystal.id


def test_the_view_keeps_atoms_apart_in_cells_of_all_kinds(textbook: Dataset) -> None:
    apart: dict[str, list[float]] = {"cubic": [], "hexagonal": [], "other": []}
    for crystal in textbook.crystals:
        a, b, _ = crystal.cell
        cubic = np.allclose(crystal.cell, a[0] * np.eye(3))
        kind = "cubic" if cubic else "hexagonal" if np.isclose(b[0], -np.linalg.norm(b) / 2) else "other"
        atoms = crystal.cart @ VIEW[:2].T
        corners = np.array(list(np.ndindex(2, 2, 2))) @ crystal.cell @ VIEW[:2].T
        diameter = 0.12 * np.ptp(np.vstack([atoms, corners]), axis=0).max()
        distances = np.linalg.norm(atoms[:, None] - atoms, axis=-1) + 1e9 * np.eye(len(atoms))
        apart[kind].append(min(distances.min() / diameter, 1.0))
    means = {kind: float(np.mean(values)) for kind, values in apart.items()}
    assert min(means.values()) > 0.8, means


def test_a_small_error_is_written_by_its_size(model: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    true = caesium_chloride(), rocksalt()
    larger = replace(true[1], cell=true[1].cell * (1 + 1e-7), cart=true[1].cart * (1 + 1e-7))
    found = shifted(true[0], 8.12e-7), shifted(larger, 0.25)
    data = named(*true)
    outcome = reconstructions.study(answers(model, monkeypatch, *found), data, ids=[one.id for one in true])
    said = texts(outcome.pictures["reconstructions"].figure)
    assert "atoms 2 · positions 8.1e-07 Å\nspecies 0 % · lengths 0.000 Å" in said
    assert "atoms 8 · positions 0.250 Å\nspecies 0 % · lengths 5.6e-07 Å" in said


def test_a_true_atom_that_is_lost_is_ringed_although_all_found_ones_are_right() -> None:
    true = caesium_chloride()
    found = replace(true, numbers=true.numbers[:1], cart=true.cart[:1])
    caption = reconstructions._caption(reconstructions.Example(true, found))
    assert (caption.wrong, caption.missed) == ([False], [False, True])
    figure = drawn([(true, found)], captions=[caption])
    left, right = figure.findobj(lambda one: hasattr(one, "get_xlim") and hasattr(one, "get_subplotspec"))
    assert [sum(one.get_linewidths()[0] > 1 for one in axes.collections) for axes in (left, right)] == [1, 0]
    assert "ringed: nearest true atom is another element" in texts(figure)


def test_cells_that_are_not_conventional_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path / "p.parquet", [convert(rocksalt(), "primitive"), perovskite()])
    words = [str(tmp_path / "p.parquet"), "--least", "1", "--out", str(tmp_path)]
    assert main(["study", "errors-by-size", "lcs6a-paper", *words]) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "1 crystals of p.parquet are not in their conventional cell" in shown
    assert "It has 2 atoms, its conventional cell 8." in shown


def test_a_terminal_table_is_rounded_and_says_once_what_all_rows_share() -> None:
    rows = [["mine", "NaCl", 66.1, 0.123456789, None], ["mine", "MgO", 5.0, 12.3456789, None]]
    (rich,) = shown(Table("Errors", ["data", "id", "share [%]", "x", "reason"], rows))
    assert rich.title == "Errors (data: mine; reason: –)"
    assert [str(column.header) for column in rich.columns] == ["id", "share [%]", "x"]
    assert [list(column.cells) for column in rich.columns] == [["NaCl", "MgO"], ["66.1", "5.0"], ["0.123", "12.35"]]
    (one,) = shown(Table("One", ["data", "x"], [["mine", 1.5]]))
    assert len(one.columns) == 2


def test_a_table_that_is_too_wide_is_shown_in_parts_and_no_word_is_cut() -> None:
    heads = ["parameter", "value", *(f"error number{i} [%]" for i in range(9))]
    rows = [[f"p{i // 2}", i % 2, *(i + k + 0.25 for k in range(9))] for i in range(4)]
    parts = shown(Table("Wide", heads, rows), width=60)
    assert len(parts) > 1
    heads_shown = [[" ".join(str(column.header).split()) for column in part.columns] for part in parts]
    # Each part names its rows, and all of them together show every column once.
    assert all(one[:2] == heads[:2] for one in heads_shown)
    assert [head for one in heads_shown for head in one[2:]] == heads[2:]
    console = Console(width=60, file=StringIO())
    for part in parts:
        console.print(part)
    assert "…" not in console.file.getvalue()


def test_heads_of_short_words_are_not_cut_either() -> None:
    heads = [head for i in range(6) for head in (f"projected{i}", f"is of {i}")]
    console = Console(width=60, file=StringIO())
    for part in shown(Table("Wide", heads, [list(range(12)), list(range(1, 13))]), width=60):
        console.print(part)
    assert "…" not in console.file.getvalue()


def test_any_id_can_be_written() -> None:
    true = caesium_chloride().renamed("$a_{$ $")
    assert "a_{" in texts(drawn([(true, true)], captions=[Caption(true.id, "")]))
    assert "a_{" in texts(drawn([(true, Failure(true.id, "Lost in $x^{$."))]))


# Sensitivity


@pytest.mark.parametrize("preset", PRESETS)
def test_each_parameter_is_changed_alone(preset: Any) -> None:
    own = PRESETS[preset].estimation
    for parameter in sensitivity.PARAMETERS:
        tried = sensitivity.values(parameter, own)
        assert tried == sorted(set(tried))
        assert getattr(own, parameter.key) in tried
        assert len(tried) > 4
        for value in tried:
            here, there = asdict(own), asdict(sensitivity.varied(own, parameter.key, value))
            changed = {key for key in here if here[key] != there[key]}
            assert changed <= {parameter.key, "coarse"}
            assert there[parameter.key] == value
            assert "coarse" not in changed or there["interval"] > here["interval"]


def test_local_intervals_fill_the_range_exactly() -> None:
    own = FAST.estimation
    (parameter,) = (one for one in sensitivity.PARAMETERS if one.key == "species_interval")
    cuts = [own.species_width / value for value in sensitivity.values(parameter, own)]
    assert cuts == pytest.approx([round(cut) for cut in cuts])


def test_other_settings_share_the_weights(model: Codec) -> None:
    other = sensitivity.with_estimation(model, replace(FAST.estimation, radius=0.7))
    assert other.model is model.model
    assert other.card.config.estimation.radius == 0.7
    assert model.card.config.estimation.radius == 0.5


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer values, so that a study takes a second or two."""
    few = [replaced._replace(values=replaced.values[-1:]) for replaced in sensitivity.PARAMETERS]
    monkeypatch.setattr(sensitivity, "PARAMETERS", tuple(few))
    monkeypatch.setattr(sensitivity, "CUTS", (3,))


@pytest.mark.usefixtures("briefly")
def test_the_row_at_the_models_own_value_is_what_evaluate_measures(model: Codec, textbook: Dataset) -> None:
    crystals = sensitivity.evenly(textbook.crystals, 16)
    outcome = sensitivity.study(model, crystals)
    measured = evaluate(model, crystals)
    assert 0 < measured.failures < 16
    for key, rows in outcome.values["errors"].items():
        (own,) = (row for row in rows if row["value"] == outcome.values["own"][key])
        assert own["failures"] == measured.failures
        for metric in ("atoms_error_percent", "position_actual", "species_actual_percent"):
            assert own[metric] == pytest.approx(getattr(measured, metric), abs=1e-5), key


@pytest.mark.usefixtures("briefly")
def test_the_picture_has_a_row_for_each_parameter_and_marks_the_own_value(model: Codec) -> None:
    outcome = sensitivity.study(model, [caesium_chloride(), perovskite()])
    panels = outcome.pictures["sensitivity"].figure.axes
    assert len(panels) == 3 * 7
    own = outcome.values["own"]
    for row, (key, value) in enumerate(own.items()):
        for axes in panels[3 * row : 3 * row + 3]:
            dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
            assert dashed == [value], key
    rows = outcome.tables["sensitivity"].rows
    assert sum(row[2] == "own" for row in rows) == 7


def test_more_particles_wanted_finds_fewer_atoms(model: Codec, textbook: Dataset) -> None:
    # 50 particles are half a ball's worth of the start grid's: many candidates are rejected.
    crystals = [one for one in textbook.crystals if model.refusal(one) is None][:8]
    z = model.encode(crystals)

    def atoms(least: int) -> int:
        settings = sensitivity.varied(model.card.config.estimation, "min_particles", least)
        found = sensitivity.with_estimation(model, settings).decode(z)
        return sum(len(one) for one in found if isinstance(one, Crystal))

    assert atoms(1) >= atoms(10) > atoms(50)


@pytest.mark.parametrize(("key", "value"), [("iterations", 1), ("iterations", 4), ("interval", 1.0)])
def test_the_shortcuts_hold_away_from_the_models_own_values(
    model: Codec, textbook: Dataset, key: str, value: float | int
) -> None:
    crystals = [one for one in textbook.crystals if model.refusal(one) is None][::30]
    z = model.encode(crystals)
    changed = sensitivity.with_estimation(model, sensitivity.varied(model.card.config.estimation, key, value))
    agreement = agreement_of(changed.decode(z), changed.decode(z, literal=True))
    assert agreement.crystals == len(crystals) > 2
    assert agreement.different == ()


def test_a_part_of_the_crystals_is_spread_over_all() -> None:
    crystals = [rocksalt().renamed(f"{i}") for i in range(10)]
    assert [one.id for one in sensitivity.evenly(crystals, 3)] == ["0", "3", "6"]
    assert sensitivity.evenly(crystals, None) == sensitivity.evenly(crystals, 10) == crystals
    with pytest.raises(NesfError, match="not 0"):
        sensitivity.evenly(crystals, 0)


# The commands


@pytest.mark.parametrize(
    ("name", "options", "files"),
    [
        ("errors-by-size", ["--least", "2"], {"errors_by_size.csv", "errors_by_size.png"}),
        ("reconstructions", ["--count", "3"], {"reconstructions.csv", "reconstructions.png", "cifs"}),
        ("sensitivity", ["--crystals", "4"], {"sensitivity.csv", "sensitivity.png"}),
    ],
)
@pytest.mark.usefixtures("briefly")
def test_a_command_writes_a_folder_that_says_where_it_comes_from(
    model: Codec, table: Path, tmp_path: Path, name: str, options: list[str], files: set[str]
) -> None:
    words = ["lcs6a-paper", str(table), *options, "--out", str(tmp_path)]
    assert main(["study", name, *words]) == 0
    folder = tmp_path / name
    assert {path.name for path in folder.iterdir()} == {"study.json", *files}
    values = read_record(folder)
    source = values["provenance"]
    assert shlex.split(source["command"]) == ["nesf", "study", name, *words]
    assert source["models"][0]["sha256"] == model.fingerprint
    assert source["data"][0]["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert source["settings"][options[0].removeprefix("--")] == int(options[1])
    for one in values["tables"]:
        with (folder / f"{one}.csv").open(newline="", encoding="utf-8") as file:
            heads, *rows = csv.reader(file)
        assert rows
        assert all(len(row) == len(heads) for row in rows)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny trained voxel baseline."""
    folder = tmp_path_factory.mktemp("voxels")
    write_table(folder / "known.parquet", [rocksalt(), caesium_chloride(), perovskite()])
    words = ["--grid.size", "16", "--width", "0.125", "--vae-width", "0.125", "--latent", "8", "--unet.epochs", "1"]
    words += ["--unet.batch", "2", "--unet.crop", "8", "--vae.epochs", "1", "--vae.batch", "2"]
    assert main(["baseline", "train", str(folder / "known.parquet"), "--out", str(folder / "vx"), *words]) == 0
    return folder


@pytest.mark.parametrize("name", ["errors-by-size", "reconstructions"])
def test_a_study_can_be_asked_of_the_baseline_and_stands_beside_that_of_nesf(
    baseline: Path, tmp_path: Path, name: str
) -> None:
    options = ["--least", "1"] if name == "errors-by-size" else []
    assert (
        main(["study", name, str(baseline / "vx"), str(baseline / "known.parquet"), *options, "--out", str(tmp_path)])
        == 0
    )
    values = read_record(tmp_path / f"{name}-voxel")
    (source,) = values["provenance"]["models"]
    assert source["method"] == "voxel baseline"
    assert source["preset"] == "faithful"
    assert source["name"] == "vx"
    assert "the voxel baseline vx (preset faithful)" in values["summary"]
    assert not (tmp_path / name).exists()


def test_other_studies_say_what_a_baseline_is(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "map", str(baseline / "vx"), "textbook", "--out", str(tmp_path)]) == 1
    assert "holds a voxel baseline; use nesf baseline evaluate." in capsys.readouterr().err
