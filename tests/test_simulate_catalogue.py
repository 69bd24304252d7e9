"""A user's catalogue: what is asked for is what is drawn, from any kind of table; what cannot be drawn is named by row and value."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.simulate import KINDS, Moffat, Renderer, simulate
from hubbleflow.simulate.catalogue import Catalogue, read_catalogue
from hubbleflow.simulate.psf import PSFImage
from hubbleflow.survey import Survey
from hubbleflow.tables import write_table

HSC = Survey.get("hsc-wide")
ONE = Survey.get("hsc-i")


def table(n=3, **replaced) -> Table:
    """A table of n sensible galaxies for HSC."""
    rng = np.random.default_rng(4)
    columns = {"redshift": rng.uniform(0.1, 2, n)}
    columns |= {f"{band}_mag": rng.uniform(19, 24, n) for band in HSC.bands}
    columns |= {"half_light_radius": rng.uniform(0.2, 1, n), "sersic_index": rng.uniform(0.5, 4, n), "axis_ratio": rng.uniform(0.3, 1, n)}
    columns |= {"position_angle": rng.uniform(-90, 90, n)}
    return Table({name: values for name, values in (columns | replaced).items() if values is not None})


def written(tmp_path, table: Table, name="galaxies.ecsv"):
    table.write(tmp_path / name)
    return tmp_path / name


def read(tmp_path, table: Table, survey=HSC, **options) -> Catalogue:
    return read_catalogue(written(tmp_path, table), survey, **options)


# -- what is drawn -----------------------------------------------------------------------------------------------------------------
def test_a_row_is_drawn_as_it_says(tmp_path):
    # a Gaussian galaxy through a Gaussian PSF: flux, centroid and second moments are known exactly
    row = {"z": [0.4], "i_mag": [20.0], "r_e": [5 * 0.168], "n": [0.5], "q": [0.5], "position_angle": [90.0], "x": [0.5], "y": [-0.3]}
    scene = read(tmp_path, Table(row), ONE).scene(ONE)
    v, h = np.indices((41, 41)) - 20.0
    psf = PSFImage(np.exp(-0.5 * (v * v + h * h) / 4)[None], 0.168)
    image = Renderer(64, 0.168, psf)(scene.components)[0, 0].numpy()
    y, x = (np.indices(image.shape) - 31.5) * 0.168
    total = image.sum()
    assert ONE.magnitude(total) == pytest.approx(20.0, abs=1e-4)
    mx, my = (image * x).sum() / total, (image * y).sum() / total
    assert (mx, my) == (pytest.approx(0.5, abs=1e-4), pytest.approx(-0.3, abs=1e-4))
    along, across = (np.array([25, 25 / 4]) / (2 * np.log(2)) + 4) * 0.168**2
    assert (image * (y - my) ** 2).sum() / total == pytest.approx(along, rel=1e-3)  # 90 degrees: along +y
    assert (image * (x - mx) ** 2).sum() / total == pytest.approx(across, rel=1e-3)


def test_truth_holds_the_catalogues_own_values(tmp_path):
    given = table(object_id=[11, 5, 2**60], category=list(KINDS[:3]))
    columns = read(tmp_path, given).scene(HSC).columns
    assert columns["object_id"].tolist() == [11, 5, 2**60]
    assert columns["category"].tolist() == list(KINDS[:3])
    np.testing.assert_allclose(columns["redshift"], given["redshift"], rtol=1e-6)
    for name in [f"{band}_mag" for band in HSC.bands] + ["half_light_radius", "sersic_index", "axis_ratio", "position_angle"]:
        np.testing.assert_allclose(columns[f"true_{name}"], given[name], rtol=1e-6)
    assert not np.any([columns["true_x"], columns["true_y"]])


@pytest.mark.parametrize("name", ["g.fits", "g.ecsv", "g.csv", "g.csv.gz", "g.vot", "g.txt"])
def test_any_table_that_astropy_reads(tmp_path, name):
    given = table(category=list(KINDS[-3:]), object_id=[3, 1, 2])
    path = tmp_path / name
    if name.endswith((".csv", ".csv.gz")):
        given.write(path, format="ascii.csv")
    else:
        given.write(path, format={"g.vot": "votable", "g.txt": "ascii.basic"}.get(name))
    catalogue = read_catalogue(path, HSC)
    np.testing.assert_allclose(catalogue.mag, np.transpose([given[f"{band}_mag"] for band in HSC.bands]), rtol=1e-7)
    assert catalogue.kind.tolist() == list(KINDS[-3:]) and catalogue.object_id.tolist() == [3, 1, 2]


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    pytest.importorskip("pandas", reason="astropy reads Parquet with pandas")
    table().write(tmp_path / "g.parquet")
    assert len(read_catalogue(tmp_path / "g.parquet", HSC)) == 3


def test_names_have_aliases_and_the_truth_goes_first(tmp_path):
    given = table()
    given.rename_columns(["redshift", "half_light_radius", "sersic_index", "axis_ratio"], ["Z", "RE", "N", "Q"])
    given["true_i_mag"] = [18.0, 18.1, 18.2]  # i_mag then is what somebody measured
    given["place"] = SkyCoord([1, 2, 3] * u.deg, [4, 5, 6] * u.deg)
    catalogue = read(tmp_path, given)
    assert np.array_equal(catalogue.radius, given["RE"]) and np.array_equal(catalogue.redshift, given["Z"])
    assert catalogue.mag[:, 2].tolist() == [18.0, 18.1, 18.2]
    assert catalogue.object_id.tolist() == [0, 1, 2] and catalogue.kind is None
    assert "category" not in catalogue.scene(HSC).columns


def test_units_are_converted(tmp_path):
    given = QTable(table())
    given["half_light_radius"] = [0.01, 0.02, 0.005] * u.arcmin
    given["position_angle"] = [0.0, np.pi / 2, -np.pi / 4] * u.rad
    catalogue = read(tmp_path, given)
    assert catalogue.radius == pytest.approx([0.6, 1.2, 0.3]) and catalogue.position_angle == pytest.approx([0, 90, -45])
    given["axis_ratio"] = [50, 60, 70] * u.percent
    assert read_catalogue(written(tmp_path, given, "percent.ecsv"), HSC).axis_ratio == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize("unit", [u.mag, u.ABmag, u.Unit("AB mag", parse_strict="silent")])
def test_magnitudes_may_say_that_they_are(tmp_path, unit):
    given = table()
    given["g_mag"].unit = unit
    assert np.array_equal(read(tmp_path, given).mag[:, 0], given["g_mag"])


@pytest.mark.parametrize(
    ("name", "unit", "sentence"),
    [
        ("half_light_radius", "pix", "half_light_radius.*is in pix: convert it to arcsec"),
        ("half_light_radius", "mag", "half_light_radius.*is in mag: convert it to arcsec"),
        ("position_angle", "arcsec2", "position_angle.*is in arcsec2: convert it to deg"),
        ("g_mag", "nJy", "g_mag.*is in nJy: convert it to AB magnitudes"),
        ("g_mag", "mag(ST)", r"g_mag.*is in mag\(ST\): convert it to AB magnitudes"),
        ("g_mag", "arcsec", "g_mag.*is in arcsec: convert it to AB magnitudes"),
        ("g_mag", "dex", "g_mag.*is in dex: convert it to AB magnitudes"),
        ("redshift", "km / s", "redshift.*is in km / s: convert it to a number without a unit"),
        ("redshift", "mag", "redshift.*is in mag: convert it to a number without a unit"),  # a magnitude called z
        ("sersic_index", "arcsec", "sersic_index.*is in arcsec: convert it to a number without a unit"),
        ("axis_ratio", "arcsec", "axis_ratio.*is in arcsec: convert it to a number without a unit"),
        ("axis_ratio", "rad", "axis_ratio.*is in rad: convert it to a number without a unit"),
    ],
)
def test_other_units_are_refused(tmp_path, name, unit, sentence):
    given = table()
    given[name] = np.array([5.5, 6.0, 5.1]) if name == "g_mag" else np.array([0.3, 0.4, 0.5])  # good numbers, were it not for the unit
    given[name].unit = unit
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path, given)
    assert "\n" not in str(caught.value)


def test_angles_are_drawn_where_there_are_none(tmp_path):
    path = written(tmp_path, table(200, position_angle=None))
    first, again, other = (read_catalogue(path, HSC, seed) for seed in (1, 1, 2))
    assert first.drawn_angles and "drawn at random" in first.notes[0]
    assert np.array_equal(first.position_angle, again.position_angle) and not np.array_equal(first.position_angle, other.position_angle)
    assert 80 < first.position_angle.mean() < 100 and first.position_angle.min() >= 0 and first.position_angle.max() < 180
    shorter = read_catalogue(written(tmp_path, table(20, position_angle=None), "short.ecsv"), HSC, 1)
    assert np.array_equal(first.position_angle[:20], shorter.position_angle)  # of a row, not of the table's length
    assert read_catalogue(written(tmp_path, table(), "with.ecsv"), HSC).notes == ()


def test_a_set_that_was_simulated_is_a_catalogue(tmp_path):
    mock = simulate(tmp_path / "mock.h5", n=40, seed=3, image_size=32, progress=False)
    write_table(mock, tmp_path / "mock.ecsv")
    of_set, of_table = (read_catalogue(tmp_path / name, HSC, image_size=32) for name in ("mock.h5", "mock.ecsv"))
    truth = of_set.scene(HSC).columns
    for name in ("object_id", "redshift", "category", "true_half_light_radius", "true_sersic_index", "true_axis_ratio", "true_x", "true_y"):
        assert np.array_equal(truth[name], mock.columns[name]), name
        assert np.array_equal(of_table.scene(HSC).columns[name], mock.columns[name]), name
    assert np.array_equal(truth["true_position_angle"], mock.columns["true_position_angle"])
    assert np.array_equal(truth["true_y_mag"], mock.columns["true_y_mag"])
    again = simulate(tmp_path / "again.h5", catalogue=tmp_path / "mock.h5", noise=False, image_size=32, progress=False)
    bright = (mock.columns["true_half_light_radius"] < 0.4) & (mock.category != "Merging")
    seen = HSC.magnitude(again.images[:].sum(axis=(2, 3)))[bright]
    assert seen[:, 2] == pytest.approx(mock.columns["true_i_mag"][bright], abs=0.15) and bright.sum() > 5


def test_other_hdf5_files(tmp_path):
    table().write(tmp_path / "table.h5", path="galaxies")  # astropy's own
    assert len(read_catalogue(tmp_path / "table.h5", HSC)) == 3
    GalaxySet(np.zeros((2, 5, 8, 8), np.float32), HSC, {"redshift": np.array([0.1, 0.2])}).write(tmp_path / "set.h5")
    with pytest.raises(InputError, match="has no column g_mag .*only object_id, redshift"):
        read_catalogue(tmp_path / "set.h5", HSC)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "set.h5").read_bytes()[:3000])
    with pytest.raises(InputError, match="cut.h5"):
        read_catalogue(tmp_path / "cut.h5", HSC)


@pytest.mark.parametrize(
    ("category", "axis_ratio", "count"),
    [
        ("Edge-on with Bulge", 0.61, 1),
        ("Edge-on without Bulge", 1.0, 1),
        ("Edge-on without Bulge", 0.6, 0),
        ("Cigar Shaped Smooth", 0.46, 1),
        ("Cigar Shaped Smooth", np.float32(0.45), 0),
        ("Round Smooth", 0.74, 1),
        ("Round Smooth", np.float32(0.75), 0),  # what is stored of 0.75000001
        ("In-between Round Smooth", 0.9, 1),
        ("In-between Round Smooth", 0.6, 0),
        ("Merging", 0.2, 0),
    ],
)
def test_a_kind_that_the_axis_ratio_speaks_against_is_noted(tmp_path, capsys, category, axis_ratio, count):
    given = table(category=["Disturbed", category, "Merging"], axis_ratio=[0.3, axis_ratio, 0.9])
    notes = read(tmp_path, given).notes
    assert len(notes) == count
    path = tmp_path / "galaxies.ecsv"
    if category == "Edge-on with Bulge":
        drawn = simulate(tmp_path / "out.h5", catalogue=path, image_size=16)
        assert "the kind of 1 of 3 galaxies is not what their axis ratio says, first in row 2 (Edge-on with Bulge, 0.61)" in notes[0]
        assert drawn.provenance["notes"] == list(notes) and f"note: {notes[0]}" in capsys.readouterr().err
        assert drawn.category[1] == category and drawn.columns["true_axis_ratio"][1] == np.float32(0.61)
        first = simulate(tmp_path / "out.h5", 1, catalogue=path, image_size=16)
        assert "notes" not in first.provenance  # the row is not among those drawn


def test_provenance_says_what_was_drawn(tmp_path):
    plain, kinds = written(tmp_path, table(), "plain.ecsv"), written(tmp_path, table(category=["Merging"] * 3), "kinds.ecsv")
    for path, structure, found in ((plain, True, False), (kinds, True, True), (kinds, False, False)):
        drawn = simulate(tmp_path / "out.h5", catalogue=path, structure=structure, image_size=16, progress=False)
        assert (drawn.provenance["neighbours"], drawn.provenance["structure"]) == (False, found)
        assert ("true_bar_fraction" in drawn.columns) == found and "true_neighbours" not in drawn.columns
    assert simulate(tmp_path / "sky.h5", 2, image_size=16, progress=False).provenance["neighbours"]


def test_rows_can_be_taken_and_sent(tmp_path):
    catalogue = read(tmp_path, table(10, category=[KINDS[0]] * 10))
    some = pickle.loads(pickle.dumps(catalogue[3:7]))
    assert len(some) == 4 and np.array_equal(some.scene(HSC).columns["true_g_mag"], catalogue.scene(HSC).columns["true_g_mag"][3:7])
    renderer = Renderer(32, 0.168, Moffat(HSC.psf_fwhm_arcsec))
    assert np.array_equal(renderer(some.scene(HSC).components), renderer(catalogue.scene(HSC).components)[3:7])


# -- what cannot be drawn ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("redshift", -0.1, r"row 2 .*redshift is -0.1, but must be a redshift from 0 to 20"),
        ("redshift", 22.4, r"row 2 .*redshift is 22.4"),  # a magnitude called z
        ("redshift", np.nan, r"row 2 .*redshift is nan, but must be a finite number"),
        ("g_mag", 3.0, r"row 2 .*g_mag is 3.0, but must be an AB magnitude from 5 to 40"),
        ("y_mag", 99.0, r"row 2 .*y_mag is 99.0"),
        ("half_light_radius", 0.0, r"row 2 .*half_light_radius is 0.0, but must be a radius in arcsec above 0 and at most 300"),
        ("half_light_radius", -1.0, "row 2 .*is -1.0"),
        ("half_light_radius", np.inf, "row 2 .*is inf, but must be a finite number"),
        ("half_light_radius", 5000.0, "row 2 .*is 5000.0"),
        ("sersic_index", 0.2, r"row 2 .*sersic_index is 0.2, but must be a Sersic index from 0.3 to 6.2"),
        ("sersic_index", 8.0, "row 2 .*is 8.0"),
        ("axis_ratio", 0.0, r"row 2 .*axis_ratio is 0.0, but must be minor over major axis above 0 and at most 1"),
        ("axis_ratio", 1.2, "row 2 .*is 1.2"),
        ("position_angle", np.nan, "row 2 .*position_angle is nan"),
        ("x", 6.0, r"row 2 .*x is 6.0, but must be at most 5.376 arcsec"),
    ],
)
def test_impossible_values_are_named_by_row(tmp_path, name, value, sentence):
    given = table(x=np.zeros(3))
    given[name][1] = value
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path, given, image_size=64)
    assert "\n" not in str(caught.value)


def test_several_bad_rows_are_counted(tmp_path):
    with pytest.raises(InputError, match=r"row 1 .*\(and 2 more rows\)"):
        read(tmp_path, table(axis_ratio=[2.0, 3.0, 4.0]))


def test_unknown_kinds_and_identifiers(tmp_path):
    with pytest.raises(InputError, match="row 2 .*category is 'Elliptical', but must be one of Disturbed, Merging"):
        read(tmp_path, table(category=[KINDS[0], "Elliptical", KINDS[1]]))
    with pytest.raises(InputError, match="row 1 .*object_id is 'NGC 1', but must be a whole number"):
        read_catalogue(written(tmp_path, table(object_id=["NGC 1", "b", "c"]), "names.ecsv"), HSC)


def test_masked_values_are_missing(tmp_path):
    with pytest.raises(InputError, match="row 3 .*g_mag is nan"):
        read(tmp_path, table(g_mag=MaskedColumn([20.0, 21.0, 22.0], mask=[False, False, True])))


def test_missing_columns(tmp_path):
    with pytest.raises(InputError, match="has no column z_mag .*only redshift, g_mag, r_mag, i_mag, y_mag"):
        read(tmp_path, table(z_mag=None))
    with pytest.raises(InputError, match="has no column half_light_radius or r_e or re"):
        read_catalogue(written(tmp_path, table(half_light_radius=None), "other.ecsv"), HSC)
    with pytest.raises(InputError, match="has no column u_mag"):
        read_catalogue(written(tmp_path, table(), "third.ecsv"), Survey.get("sdss"))


def test_text_in_place_of_numbers(tmp_path):
    with pytest.raises(InputError, match="column 'axis_ratio' .* must hold one number a row, but row 1 has 'round'"):
        read(tmp_path, table(axis_ratio=["round", "flat", "flat"]))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("g.fits", b"no FITS", "cannot read the catalogue"),
        ("g.ecsv", b"\x00\x01", "cannot read the catalogue"),
        ("g.csv", b"a,b\n1,2,3\n", "cannot read the catalogue"),
        ("g.xyz", b"\x89PNG\r\n", "cannot read the catalogue .*no reader of astropy's knows it"),
        ("g.csv", b"redshift,i_mag\n", "has no rows"),
    ],
)
def test_unreadable_files(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        read_catalogue(tmp_path / name, HSC)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_catalogue(tmp_path / "none.fits", HSC)
    with pytest.raises(InputError, match="is a folder"):
        read_catalogue(tmp_path, HSC)


def test_a_catalogue_is_for_its_surveys_bands(tmp_path):
    with pytest.raises(InputError, match="read for bands g, r, i, z, y but survey 'decals' has g, r, z"):
        read(tmp_path, table()).scene(Survey.get("decals"))
