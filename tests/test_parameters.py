"""Tests of parameters.py: signatures, profiles, selection, overrides; a mistake is one line naming what is valid."""

from __future__ import annotations

import pytest

from mixup_theory.parameters import UsageError, fill, load_profiles, parse_override, read_notebook, select

NAMES = ["01-mixing-weight", "02-covariance-shrinkage", "07-concentric-circles", "12-membership"]
HEAD = '[quick]\ndescription = "d"\ntime_limit = 9\n'
PLACES = 'profile: str = "a"  # a\noutput_dir: str = "b"  # b\ncache_dir: str = "c"  # c\n'


@pytest.fixture
def notebook(tmp_path, notebook_file):
    return read_notebook(notebook_file(tmp_path / "02-covariance.ipynb", ["1"]))


@pytest.fixture
def profile(tmp_path):
    def write(text):
        path = tmp_path / "profiles.toml"
        path.write_text(text)
        return load_profiles(path)

    return write


def test_signature_is_read_without_running(notebook):
    assert notebook.name == "02-covariance"
    assert notebook.title == "02 Title of 02-covariance"
    rate = notebook.parameters["rate"]
    assert (rate.annotation, rate.default, rate.meaning) == ("float", 0.5, "a number")
    assert notebook.parameters["alphas"].default == [0.2, 1.0]


def test_checksum_follows_the_source_and_not_the_outputs(tmp_path, notebook_file):
    path = notebook_file(tmp_path / "01-a.ipynb", ["1 + 1"])
    before = read_notebook(path).sha256
    path.write_text(path.read_text().replace('"execution_count": null', '"execution_count": 7'))
    assert read_notebook(path).sha256 == before
    path.write_text(path.read_text().replace("1 + 1", "1 + 2"))
    assert read_notebook(path).sha256 != before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x = 1  # untyped", "must be `name: type = value"),
        ("x: int  # no value", "must be `name: type = value"),
        ("x: int | None = 1  # optional", "must be of type str, int"),
        ("x: int = 1.5  # half", "`x` must be int, got 1.5"),
        ("x: int = True  # truth", "`x` must be int, got True"),
        ("x: int = 2 * 3  # derived", "`x`"),
        ("x: int = 1", "needs its meaning"),
        ("import os", "must be `name: type = value"),
    ],
)
def test_parameters_cell_of_another_form_is_refused(tmp_path, notebook_file, line, message):
    path = notebook_file(tmp_path / "01-a.ipynb", [], PLACES + line)
    with pytest.raises(UsageError, match=r"01-a\.ipynb, parameters cell, line 4") as caught:
        read_notebook(path)
    assert message in str(caught.value)


def test_notebook_without_its_places_or_without_the_cell_is_refused(tmp_path, notebook_file):
    with pytest.raises(UsageError, match="lacks `cache_dir`, `output_dir`"):
        read_notebook(notebook_file(tmp_path / "01-a.ipynb", [], 'profile: str = "a"  # a'))
    path = notebook_file(tmp_path / "01-b.ipynb", [])
    path.write_text(path.read_text().replace("parameters", "other"))
    with pytest.raises(UsageError, match="one cell tagged `parameters`, has 0"):
        read_notebook(path)
    path.write_text("{")
    with pytest.raises(UsageError, match="not a notebook"):
        read_notebook(path)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], NAMES),
        (["2"], NAMES[1:2]),
        (["02"], NAMES[1:2]),
        (["circles", "01"], [NAMES[0], NAMES[2]]),
        (["7,1"], [NAMES[0], NAMES[2]]),
        (["12-membership.ipynb"], NAMES[3:]),
    ],
)
def test_select(wanted, expected):
    assert select(NAMES, wanted) == expected


@pytest.mark.parametrize("wanted", ["3", "spheres", "0"])
def test_select_names_what_there_is(wanted):
    with pytest.raises(UsageError, match=r"no notebook `.*`; there are 01-mixing-weight, 02-cov"):
        select(NAMES, [wanted])


def test_profiles_are_read_with_their_limits(profile):
    read = profile(
        '[quick]\ndescription = "d"\ntime_limit = 9\n[quick.02-a]\nrate = 1\ntime_limit = 20\n[quick.03-b]\n'
    )
    assert read["quick"].values == {"02-a": {"rate": 1}, "03-b": {}}
    assert (read["quick"].limit("02-a"), read["quick"].limit("03-b")) == (20, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[quick]\ntime_limit = 9", "quick.description: field required"),
        ('[quick]\ndescription = "d"\ntime_limit = 9\nspeed = 3', "quick.speed: extra inputs"),
        ('[quick]\ndescription = "d"\ntime_limit = 0', "quick.time_limit: input should be greater than 0"),
        ('[quick]\ndescription = "d"\ntime_limit = 9\n[quick.02-a]\ntime_limit = "x"', "quick.time_limits.02-a"),
        ("[quick", "cannot be read"),
    ],
)
def test_profiles_of_another_form_are_refused(profile, text, message):
    with pytest.raises(UsageError) as caught:
        profile(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("02.seed=3", ("seed", 3)),
        ("covariance.rate=2", ("rate", 2.0)),
        ("02.rate=1e-3", ("rate", 0.001)),
        ("02-covariance.alphas=[1, 0.5]", ("alphas", [1.0, 0.5])),
        ("02.mode=a=b.c", ("mode", "a=b.c")),
    ],
)
def test_override_takes_the_declared_type(notebook, text, expected):
    name, *found = parse_override(text, {notebook.name: notebook})
    assert (name, tuple(found)) == (notebook.name, expected)
    assert type(found[1]) is type(expected[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=3", "must be NOTEBOOK.NAME=VALUE"),
        ("02.seed", "must be NOTEBOOK.NAME=VALUE"),
        ("09.seed=3", "no notebook `09`; there are 02-covariance"),
        ("02.sede=3", "no parameter `sede` (did you mean `seed`?); it has `seed`, `rate`, `alphas`, `mode`"),
        ("02.seed=1.5", "`seed` must be int, got 1.5"),
        ("02.seed=one", "`seed` must be int, got 'one'"),
        ("02.rate=true", "`rate` must be float, got True"),
        ("02.rate=1e999", "`rate` must be float, got inf"),
        ("02.alphas=3", "`alphas` must be list[float], got 3"),
        ("02.output_dir=x", "set by the suite"),
    ],
)
def test_override_that_does_not_fit_is_refused(notebook, text, message):
    with pytest.raises(UsageError) as caught:
        parse_override(text, {notebook.name: notebook})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fill_joins_profile_suite_and_command_line(notebook, profile):
    quick = profile(HEAD + "[quick.02-covariance]\nrate = 1\nseed = 4")["quick"]
    filled = fill(notebook, quick, {"profile": "quick", "device": "cpu"}, {"seed": 5})
    assert filled == {"rate": 1.0, "seed": 5, "profile": "quick"}
    assert isinstance(filled["rate"], float)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raet = 1", "no parameter `raet` (did you mean `rate`?)"),
        ('rate = "1"', "`rate` must be float, got '1'"),
        ('cache_dir = "x"', "`cache_dir` is set by the suite"),
    ],
)
def test_fill_refuses_a_profile_that_does_not_fit(notebook, profile, line, message):
    quick = profile(f"{HEAD}[quick.02-covariance]\n{line}")["quick"]
    with pytest.raises(UsageError) as caught:
        fill(notebook, quick, {}, {})
    assert str(caught.value).startswith("profiles.toml, quick: ")
    assert message in str(caught.value)
