"""`picojoule export`."""

from argparse import Namespace
from pathlib import Path

import pytest

from search import export
from search.deploy.onnx import model
from search.integer.program import ProgramError
from tests.search.integer.programs import residual_network
from tests.search.integer.test_stepping import causal


def test_it_writes_each_backend_beside_the_program_and_says_what_was_compared(tmp_path: Path, capsys):
    residual_network().save(tmp_path / "program.safetensors")
    export.main([str(tmp_path), "--to", "numpy,onnx"])
    assert (tmp_path / "onnx" / "network.onnx").is_file() and (tmp_path / "numpy" / "program.safetensors").is_file()
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 5 and sum(line.split(": ")[1].startswith("0 of ") for line in shown) == 3
    assert "optimised: 0 of" in shown[3] and "as written: 0 of" in shown[4]


def test_a_program_may_be_given_and_the_folder_be_elsewhere(tmp_path: Path):
    residual_network().save(tmp_path / "program.safetensors")
    export.main([str(tmp_path / "program.safetensors"), "--to", "onnx", "--folder", str(tmp_path / "out")])
    assert (tmp_path / "out" / "onnx" / "network.onnx").is_file()


def test_a_step_is_written_to_every_backend_and_compared(tmp_path: Path, capsys):
    causal().save(tmp_path / "program.safetensors")
    export.main([str(tmp_path), "--to", "numpy,onnx,c,cortex_m", "--step"])
    assert "network_step" in (tmp_path / "c_step" / "network.h").read_text()
    said = [line for line in capsys.readouterr().out.splitlines() if "elements of" in line]
    assert len(said) == 5 and all(": 0 of" in line for line in said)


def test_a_network_that_looks_ahead_has_no_step(tmp_path: Path):
    residual_network().save(tmp_path / "program.safetensors")
    with pytest.raises(SystemExit, match="looks ahead: of 3 places, 0 are padded before"):
        export.main([str(tmp_path), "--to", "c", "--step"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent", "--to", "onnx"], "'absent': no run folder: it has no program.safetensors"),
        ([".", "--to", "onnx,tflite"], "there is no backend 'tflite'. There are numpy, c, cortex_m, onnx"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    residual_network().save("program.safetensors")
    with pytest.raises(SystemExit, match=f"^picojoule: .*{message}"):
        export.main(words)
    assert not Path("onnx").exists()


def test_a_backend_that_computes_other_codes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def wrong(self, *inputs):
        codes = original(self, *inputs)
        codes[next(reversed(codes))][0] += 1
        return codes

    original = model.OnnxNetwork.codes
    monkeypatch.setattr(model.OnnxNetwork, "codes", wrong)
    residual_network().save(tmp_path / "program.safetensors")
    with pytest.raises(SystemExit, match=r"onnxruntime .*optimised: .* found, .* expected. A defect"):
        export.main([str(tmp_path), "--to", "onnx"])


def test_a_damaged_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    (tmp_path / "program.safetensors").write_bytes(b"none")
    with pytest.raises(ProgramError, match="not a whole safetensors file"):
        export.main([str(tmp_path), "--to", "onnx"])


def test_a_run_is_exported_for_what_it_was_made_for(tmp_path: Path):
    """Its target says how the C is written, unless the command does."""
    residual_network().save(tmp_path / "program.safetensors")
    (tmp_path / "summary.json").write_text('{"target": {"name": "mine", "core": "cortex_m7", "optimize": "size"}}')
    written = {}
    for words in ([], ["--optimize", "speed"]):
        export.main([str(tmp_path), "--to", "c", *words])
        written[tuple(words)] = (tmp_path / "c" / "network.c").read_text()
    assert "static const Step steps[]" in written[()] and "static const Step" not in written["--optimize", "speed"]
    found = export.options_of(tmp_path, Namespace(target=None, optimize=None))
    assert (found.target, found.optimize) == ("cortex_m7", "size")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "c", "--ram", "1000"], "--ram: nothing reads it of --to c. Leave it out, or add a backend."),
        (["--to", "c", "--target", "cortex_m4"], "--target: nothing reads it of --to c"),
        (["--to", "c", "--qdq"], "--qdq: nothing reads it of --to c"),
        (["--to", "onnx", "--optimize", "size"], "--optimize: nothing reads it of --to onnx"),
        (["--to", "cortex_m", "--target", "z80"], "there is no core 'z80'. There are cortex_m3, "),
    ],
)
def test_options_that_nothing_reads_are_refused(words, message, tmp_path: Path):
    residual_network().save(tmp_path / "program.safetensors")
    with pytest.raises(SystemExit, match=f"^picojoule: .*{message}"):
        export.main([str(tmp_path), *words])
