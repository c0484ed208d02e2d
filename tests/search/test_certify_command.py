"""`picojoule certify`: one certificate of what all backends compute, and logs of boards."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from search import certify
from search.deploy.backends import BACKENDS, backend, drawn_inputs
from search.deploy.c.manifest import Manifest
from search.deploy.c.network import generated
from search.deploy.c.project import TITLE, VECTORS, digests, whole_digest
from search.integer.executor import Executor
from search.integer.program import Program
from tests.search.integer.programs import attention_network, residual_network

ABSENT = ("torch", "hydra", "omegaconf", "optuna", "onnx", "onnxruntime", "unicorn", "elftools", "scipy")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    residual_network().save(tmp_path / "program.safetensors")
    return tmp_path


def log_of(program: Program, folder: Path) -> Path:
    """What the self-test prints."""
    codes = Executor(program)(*drawn_inputs(program, VECTORS), intermediate=True)
    each = digests(Manifest.of(program, generated(program)), codes)
    lines = [f"{TITLE} {whole_digest(each)}", *(f"{i} {crc:08x} ok" for i, crc in enumerate(each)), "0 differ"]
    path = folder / "board.log"
    path.write_text("boot\r\n" + "\r\n".join(lines) + "\r\n")
    return path


def test_every_backend_is_compared_and_written_down(run: Path, capsys):
    certify.main([str(run)])
    shown = capsys.readouterr().out.splitlines()
    found = json.loads((run / "certificate.json").read_text())
    assert shown[-1] == str(run / "certificate.json")
    assert {each["backend"] for each in found["backends"]} == {"training", *BACKENDS}
    assert found["tensors"].keys() == residual_network().tensors.keys()
    compared = [each for each in found["backends"] if "missing" not in each]
    assert {"numpy", "c", "onnx"} <= {each["backend"] for each in compared}
    assert all(each["mismatches"] == 0 and each["elements"] > 1000 and each["first"] is None for each in compared)
    assert shown[0] == f"training: not run: there is no {run / 'model.safetensors'}"


def test_digests_are_those_of_the_program(run: Path, capsys):
    certify.main([str(run)])
    before = json.loads((run / "certificate.json").read_text())
    program = residual_network()
    program.constants["conv0.bias"][:] += 1000
    program.save(run / "program.safetensors")
    certify.main([str(run)])
    after = json.loads((run / "certificate.json").read_text())
    assert before["program"] != after["program"] and before["constants"] != after["constants"]
    assert before["tensors"]["x"] == after["tensors"]["x"] and before["tensors"]["conv0"] != after["tensors"]["conv0"]


def test_the_log_of_a_board_is_compared_tensor_by_tensor(run: Path, capsys):
    log = log_of(residual_network(), run)
    certify.main([str(run), "--log", str(log)])
    assert capsys.readouterr().out.startswith("log: 0 of ")


def test_a_wrong_sum_of_a_board_is_named(run: Path, capsys):
    log = log_of(residual_network(), run)
    lines = log.read_text().splitlines()
    wrong = next(i for i, line in enumerate(lines) if line.startswith("3 "))
    lines[wrong] = "3 00000000 DIFFERS"
    log.write_text("\n".join(lines))
    with pytest.raises(SystemExit, match=r"picojoule: log: other codes than the executor's"):
        certify.main([str(run), "--log", str(log)])
    assert re.search(r"first \w+: CRC-32 00000000 found, [0-9a-f]{8} expected", capsys.readouterr().out)
    (entry, *_) = json.loads((run / "certificate.json").read_text())["backends"]
    assert entry["backend"] == "log" and entry["mismatches"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "no test here", "has no line 'picojoule self-test ...', with which a self-test begins"),
        (lambda text: text[: len(text) // 2], "are missing, . in all: the log is cut off"),
        (lambda text: text.replace(TITLE, f"{TITLE} 0"), "it is the log of another program. Export this run again"),
    ],
)
def test_a_log_that_tells_nothing_is_refused(change, message, run: Path):
    log = log_of(residual_network(), run)
    log.write_text(change(log.read_text()))
    with pytest.raises(SystemExit, match=f"^picojoule: .*board.log: .*{message}"):
        certify.main([str(run), "--log", str(log)])


def test_the_log_of_another_program_is_refused(run: Path):
    log = log_of(attention_network(), run)
    with pytest.raises(SystemExit, match="it is the log of another program"):
        certify.main([str(run), "--log", str(log)])


def test_a_log_that_is_not_there_is_named(run: Path):
    with pytest.raises(SystemExit, match=r"none.log: cannot be read \(No such file or directory\)"):
        certify.main([str(run), "--log", str(run / "none.log")])


def test_a_backend_that_computes_something_else_is_an_error(run: Path, monkeypatch, capsys):
    numpy = backend("numpy")
    original = numpy._Run.codes

    def wrong(self, *inputs):
        codes = original(self, *inputs)
        codes["conv0"][0, 1, 2, 3] += 1
        return codes

    monkeypatch.setattr(numpy._Run, "codes", wrong)
    with pytest.raises(SystemExit, match="picojoule: numpy: other codes than the executor's"):
        certify.main([str(run)])
    assert "first conv0[0, 1, 2, 3]: " in capsys.readouterr().out


def test_numpy_and_a_compiler_are_enough(run: Path):
    code = f"import sys; sys.modules |= dict.fromkeys({ABSENT}); from search.certify import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "training: not run: torch is not installed"
    assert any(line.startswith("numpy: 0 of ") for line in lines)
    assert any(line.startswith("c: 0 of ") for line in lines)
    assert sum("not installed" in line for line in lines) >= 2
