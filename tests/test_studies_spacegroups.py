"""The study of the space groups that come back: known crystals, known answers; real crystals with the shipped model."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from rich.console import Console

import nesf
from nesf.cli import main
from nesf.cli.studies.conduct import shown
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.io import read, space_group, write_table
from nesf.metrics import score
from nesf.plots import symmetry_recovery
from nesf.studies import Outcome, spacegroups
from nesf.studies.record import read_record
from nesf.studies.rounding import rounded
from nesf.studies.sensitivity import evenly
from nesf.testing import caesium_chloride, perovskite, rocksalt

TRUE = (rocksalt(), caesium_chloride(), perovskite())


@pytest.fixture(scope="module")
def model() -> Codec:
    return nesf.load("lcs6a-paper")


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer tolerances, so that a study takes a second or two."""
    monkeypatch.setattr(spacegroups, "TOLERANCES", (0.0, 0.05, 0.2))


def shaken(crystal: Crystal, seed: int = 0) -> Crystal:
    """The crystal with every coordinate off by up to 0.02 Å."""
    shift = np.random.default_rng(seed).uniform(-0.02, 0.02, crystal.cart.shape)
    return replace(crystal, cart=crystal.cart + shift)


def measured(found: Sequence[Crystal | Failure], tolerance: float) -> spacegroups.Row:
    return spacegroups.measure(TRUE, [space_group(one) for one in TRUE], found, tolerance)


def test_perfect_crystals_have_their_group_at_any_tolerance() -> None:
    for tolerance in (0.0, 0.01, 0.2):
        row = measured(TRUE, tolerance)
        assert (row.found_percent, row.right_percent, row.right_with_atoms_percent) == (100.0, 100.0, 100.0)
        assert (row.higher_percent, row.changed_percent, row.nearer_percent) == (0.0, 0.0, None)
        assert row.position_mean == row.position_median == row.length_error == 0.0


def test_shaken_crystals_get_their_group_and_better_positions_by_projection() -> None:
    found = [shaken(one, seed) for seed, one in enumerate(TRUE)]
    raw, row = measured(found, 0.0), measured(found, 0.1)
    assert (raw.found_percent, raw.right_percent, raw.changed_percent) == (0.0, 0.0, 0.0)
    assert raw.position_mean == score(zip(TRUE, found, strict=True)).position_actual
    assert (row.found_percent, row.right_percent, row.changed_percent) == (100.0, 100.0, 100.0)
    assert 0 < row.position_mean < raw.position_mean
    assert row.position_median < raw.position_median


def test_failures_and_wrong_atoms_are_counted_apart() -> None:
    silver = replace(caesium_chloride(), numbers=np.array([47, 17]))
    row = measured([Failure("NaCl", "Lost."), silver, perovskite()], 0.1)
    # With another element the group may be right all the same; of those with right atoms there is but one.
    assert row.right_percent == pytest.approx(200 / 3)
    assert row.right_with_atoms_percent == 100.0


def test_too_much_symmetry_is_seen() -> None:
    cart = perovskite().cart.copy()
    cart[1, 2] += 0.05
    polar = replace(perovskite(), cart=cart)
    groups = [space_group(polar)]
    assert groups[0].number == 99
    near, far = (spacegroups.measure([polar], groups, [polar], tolerance) for tolerance in (0.02, 0.2))
    assert (near.right_percent, near.higher_percent) == (100.0, 0.0)
    assert (far.right_percent, far.higher_percent, far.nearer_percent) == (0.0, 100.0, 0.0)


def test_the_smallest_of_the_best_tolerances_is_recommended() -> None:
    row = measured(TRUE, 0.0)
    rows = [replace(row, tolerance=t, right_percent=p) for t, p in ((0.0, 2.0), (0.1, 80.0), (0.2, 90.0), (0.3, 90.0))]
    assert spacegroups.recommended(rows).tolerance == 0.2


def outcome_of(model: Codec, monkeypatch: pytest.MonkeyPatch, found: Sequence[Crystal | Failure]) -> Outcome:
    """The outcome of a model that finds just these for ``TRUE``."""
    monkeypatch.setattr(model, "reconstruct", lambda _: list(found))
    return spacegroups.study(model, TRUE)


def uprights(outcome: Outcome) -> list[float]:
    """Where vertical lines are drawn."""
    lines = [line for axes in outcome.pictures["spacegroups"].figure.axes for line in axes.lines]
    return [line.get_xdata()[0] for line in lines if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1]


@pytest.mark.usefixtures("briefly")
def test_exact_crystals_are_said_to_need_no_projection(model: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [replace(one, cart=one.cart + np.array([0.0, 0.0, 3e-7])) for one in TRUE]
    outcome = outcome_of(model, monkeypatch, found)
    assert outcome.values["recommended_angstrom"] == 0.0
    assert "100.0 % have their true space group within 0.01 Å and need no projection" in outcome.summary
    assert "The median position error is 3e-07 Å, its mean over all atoms 3e-07 Å." in outcome.summary
    assert "projected onto" not in outcome.summary
    assert "0.0000" not in outcome.summary
    caption = outcome.pictures["spacegroups"].caption
    assert "vertical line" not in caption
    assert "No tolerance is marked" in caption
    assert uprights(outcome) == []


@pytest.mark.usefixtures("briefly")
def test_a_tolerance_that_helps_is_said_and_marked(model: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = outcome_of(model, monkeypatch, [shaken(one, seed) for seed, one in enumerate(TRUE)])
    assert outcome.values["recommended_angstrom"] == 0.2
    assert "projected onto the group found within 0.2 Å" in outcome.summary
    assert re.search(r"error goes from 0\.\d{4} Å to 0\.\d{4} Å, its mean", outcome.summary)
    assert "The vertical line is at 0.2 Å, where most groups are right." in outcome.pictures["spacegroups"].caption
    assert uprights(outcome) == [0.2, 0.2]


def test_the_digits_of_a_column_follow_one_rule() -> None:
    row = measured(TRUE, 0.0)
    shares = (0.0, 40 / 3, 15.0, 5 / 3)
    errors = (3.0123e-7, 0.00036789, 0.012345, 0.12345)
    rows = [replace(row, right_percent=p, position_mean=x) for p, x in zip(shares, errors, strict=True)]
    table = spacegroups._table(rows)
    columns = list(zip(*table.rows, strict=True))
    texts = [rounded(["" if cell is None else str(cell) for cell in column]) for column in columns]
    assert texts[spacegroups.HEADS.index("right, projected [%]")] == ["0.0", "13.3", "15.0", "1.7"]
    assert texts[spacegroups.HEADS.index("mean x [Å]")] == ["3e-07", "0.00037", "0.0123", "0.123"]


def test_the_table_has_room_where_nothing_is_a_terminal() -> None:
    tiny = {"position_mean": 2.5e-7, "position_median": 1.2e-7, "length_error": 4.5e-5, "angle_error": 6.9e-5}
    row = replace(measured(TRUE, 0.0), right_with_atoms_percent=90.0, **tiny)
    other = replace(row, **dict.fromkeys(["tolerance", *(name for name in vars(row) if "percent" in name)], 33.3))
    larger = replace(other, **{name: 3 * value for name, value in tiny.items()})
    console = Console(width=120, file=StringIO())
    (part,) = shown(spacegroups._table([row, larger]), 120)
    console.print(part)
    assert "…" not in console.file.getvalue()


def test_curves_that_are_equal_are_both_seen() -> None:
    values = [100.0, 100.0, 90.0]
    errors = {"mean": ([0.1, 0.2, 0.3], None), "median": ([0.1, 0.2, 0.3], None)}
    figure = symmetry_recovery([0.01, 0.1, 0.5], {"projected": values, "decoded": values}, errors, 0.0)
    for axes in figure.axes:
        axes.get_legend().remove()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].astype(float)
    middle = picture.shape[1] // 2
    for axes, half in zip(figure.axes, (picture[:, :middle], picture[:, middle:]), strict=True):
        for line in axes.lines:
            color = np.round(255 * np.array(to_rgb(line.get_color())))
            assert (np.abs(half - color).max(-1) < 3).sum() > 100


@pytest.mark.usefixtures("briefly")
def test_nothing_found_is_an_outcome_all_the_same(model: Codec) -> None:
    strange = Crystal.from_frac("Og", [118], [[0, 0, 0]], 4 * np.eye(3))
    outcome = spacegroups.study(model, [strange])
    assert outcome.values["failures"] == 1
    assert outcome.values["rows"][-1]["right_percent"] == 0.0
    assert "None of 1 crystals" in outcome.summary
    outcome.pictures["spacegroups"].figure.draw_without_rendering()


@pytest.mark.usefixtures("briefly")
def test_projection_helps_on_real_crystals(model: Codec, shared_data: Path) -> None:
    crystals = [one for one in read(shared_data / "lcs6a_val.parquet") if isinstance(one, Crystal)]
    rows = spacegroups.study(model, evenly(crystals, 20)).values["rows"]
    raw, best = rows[0], rows[-1]
    assert raw["right_percent"] < 20 < 60 < best["right_percent"]
    assert best["position_mean"] < raw["position_mean"]
    assert best["position_median"] < raw["position_median"]


@pytest.mark.usefixtures("briefly")
def test_the_command_writes_table_and_picture(tmp_path: Path) -> None:
    write_table(tmp_path / "known.parquet", TRUE)
    assert main(["study", "spacegroups", "lcs6a-paper", str(tmp_path / "known.parquet"), "--out", str(tmp_path)]) == 0
    folder = tmp_path / "spacegroups"
    assert {path.name for path in folder.iterdir()} == {"study.json", "spacegroups.csv", "spacegroups.png"}
    assert read_record(folder)["values"]["recommended_angstrom"] == 0.2
    with (folder / "spacegroups.csv").open(newline="", encoding="utf-8") as file:
        heads, *rows = csv.reader(file)
    assert tuple(heads) == spacegroups.HEADS
    assert [float(row[0]) for row in rows] == [0.0, 0.05, 0.2]
