"""`picojoule evaluate`: scores, pace and differences of each backend on the data of a run."""

import re

import pytest

from search import evaluate
from search.config import composed, write_config
from tests.search.integer.programs import residual_network


@pytest.fixture
def run(done, more_data):
    """A run as the command leaves it."""
    folder, summary = done
    model = ["model=custom", "model._target_=tests.search.small.Small"]
    write_config(composed(["data=npz", f"data.file={more_data}", *model]), folder, "picojoule")
    return folder, summary


def test_every_backend_scores_the_same_on_the_data_of_the_run(run, capsys):
    folder, summary = run
    evaluate.main([str(folder), "--backend", "numpy,c,onnx"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "120 test examples of npz"
    accuracy = f"accuracy {100 * summary['accuracy']['integer']['test']:.2f}%"
    assert len(lines) == 4  # onnxruntime runs in two ways
    for line in lines:
        assert re.search(rf": {accuracy}, [\d.e-]+ ms an example, 0 of [\d,]+ elements differ from NumPy$", line), line


def test_a_part_of_another_split(run, capsys):
    evaluate.main([str(run[0]), "--split", "val", "--limit", "7"])
    first, line = capsys.readouterr().out.splitlines()
    assert first == "7 val examples of npz" and line.startswith("NumPy: accuracy ")


def test_an_unknown_backend_is_named(run):
    with pytest.raises(SystemExit, match=r"^picojoule: there is no backend 'tflite'\. There are numpy"):
        evaluate.main([str(run[0]), "--backend", "tflite"])


def test_a_program_without_its_run_is_refused(tmp_path):
    residual_network().save(tmp_path / "program.safetensors")
    with pytest.raises(SystemExit, match=r"no config\.yaml there or above, so it is not known what it was trained on"):
        evaluate.main([str(tmp_path)])


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_a_limit_is_a_positive_number(done, count, capsys):
    with pytest.raises(SystemExit):
        evaluate.main([str(done[0]), "--limit", count])
    assert "argument --limit" in capsys.readouterr().err
