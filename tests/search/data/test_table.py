"""Tables over time: windows, groups, holes, and bad input."""

from pathlib import Path

import numpy as np
import pytest

from search.data import DataError, load
from search.data.table import CsvOptions

HEAD = "subject,x,y,activity"


def written(path: Path, rows: list[str], head: str = HEAD) -> str:
    path.write_text("\n".join([head, *rows]) + "\n")
    return str(path)


def rows_of(subjects="ABCDE", length=40) -> list[str]:
    """Each subject walks and then sits, one row after another."""
    return [
        f"{subject},{row / 10},{(row * 7) % 5},{'walk' if row < length // 2 else 'sit'}"
        for subject in subjects
        for row in range(length)
    ]


def options(file: str, **changes) -> CsvOptions:
    return CsvOptions(**{"file": file, "target": "activity", "group": "subject", "window": 8, "stride": 4, **changes})


def test_windows_have_one_subject_and_one_label(tmp_path):
    data = load(options(written(tmp_path / "a.csv", rows_of())))
    assert data.classes == ("sit", "walk") and data.targets == "labels" and data.input_shape == (2, 8)
    each = 1 + (20 - 8) // 4  # of 20 rows of one label
    assert sum(map(len, (data.train, data.val, data.test))) == 5 * 2 * each
    assert "5 of 45 windows hold rows of several labels and are left out" in " ".join(data.notes)


def test_whole_subjects_are_carved_out(tmp_path):
    data = load(options(written(tmp_path / "a.csv", rows_of())))
    assert all(len(split) % 8 == 0 for split in (data.train, data.val, data.test))  # 8 windows a subject
    assert len(data.test) == len(data.val) == 8 and "of groups [" in data.notes[0]


def test_numbers_are_means_of_a_window(tmp_path):
    rows = [f"{s},{row},{row % 3},{60 + row / 2}" for s in "ABCDE" for row in range(16)]
    data = load(options(written(tmp_path / "a.csv", rows, "subject,x,y,rate"), target="rate"))
    assert data.targets == "numbers" and data.classes == ("rate",)
    assert sorted(set(data.train.targets[:, 0].tolist())) == [60 + (row + 3.5) / 2 for row in (0, 4, 8)]


def test_without_groups_all_rows_follow_one_another(tmp_path):
    file = written(tmp_path / "a.csv", [f"{row},{row % 2}" for row in range(64)], "x,kind")
    data = load(options(file, target="kind", group=None, window=1 + 1, stride=1, channels=["x"], targets="numbers"))
    assert sum(map(len, (data.train, data.val, data.test))) == 63


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(tmp_path, delimiter):
    rows = [row.replace(",", delimiter) for row in rows_of()]
    assert load(options(written(tmp_path / "a.csv", rows, HEAD.replace(",", delimiter)))).input_shape == (2, 8)


def test_holes_are_refused_or_interpolated_within_a_subject(tmp_path):
    rows = rows_of("AB", 40)
    rows[3], rows[40] = "A,,0,walk", "B,nan,0,walk"
    file = written(tmp_path / "a.csv", rows)
    with pytest.raises(
        DataError, match=r"column 'x' has nothing at row 5 \(2 such rows\)\. Mend them, or set data\.holes"
    ):
        load(options(file))
    three = [*rows, *rows_of("C", 40)]
    data = load(options(written(tmp_path / "b.csv", three), holes="interpolate"))
    every = np.concatenate([split.images[:, 0].numpy() for split in (data.train, data.val, data.test)])
    assert np.isfinite(every).all() and any(np.allclose(w[:4], [0, 0.1, 0.2, 0.3]) for w in every)
    assert any(
        np.allclose(w[:3], [0.1, 0.1, 0.2]) for w in every
    )  # the first of B is like its second, and not like A's


@pytest.mark.parametrize(
    "change, said",
    [
        ({"target": "mood"}, r"there is no column \['mood'\]; there are \['subject', 'x', 'y', 'activity'\]"),
        ({"channels": ["activity"]}, r"channels \['activity'\] found; at least one, and not the target"),
        ({"channels": ["subject"]}, r"column 'subject', row 2 holds 'A', which is no number"),
        ({"window": 100}, r"none of 0 windows of 100 rows .* the longest group has 40 rows\. Lower data\.window"),
        ({"window": 1}, r"data\.window is 1; allowed: 2 or more"),
        ({"stride": 0}, r"data\.stride is 0; allowed: 1 or more"),
        ({"holes": "guess"}, r"data\.holes is 'guess'; allowed: 'refuse' or 'interpolate'"),
        ({"targets": "masks"}, r"data\.targets is 'masks'; allowed: 'labels', 'numbers' or null"),
    ],
)
def test_bad_options(tmp_path, change, said):
    file = written(tmp_path / "a.csv", rows_of())
    with pytest.raises(DataError, match=said):
        load(options(file, **change))


@pytest.mark.parametrize(
    "rows, head, said",
    [
        ([], HEAD, "1 rows; a row with the names of the columns and rows of values are needed"),
        (["A,1,2"], HEAD, r"row 2 has 3 values, and there are 4 columns"),
        (["A,1,2,walk"], "subject,x,x,activity", "do not have different names"),
        (["A,1,2,"], HEAD, r"column 'activity' has nothing at row 2 \(1 such rows\); a target has to be there"),
    ],
)
def test_bad_files(tmp_path, rows, head, said):
    with pytest.raises(DataError, match=said):
        load(options(written(tmp_path / "a.csv", rows, head)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        load(options(str(tmp_path / "none.csv")))
