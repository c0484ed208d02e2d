"""A Space and its file: it comes back whole or not at all."""

import json

import pytest
import torch
from safetensors.torch import save_file

from spaces.space import Space
from tests.spaces.small import Plain, images, space_of


def test_a_space_comes_back_from_its_file(tmp_path):
    space = space_of(Plain())
    space.decisions["stem/channels"].fix((1, 0) * 4)
    space.decisions["body/bits"].fix((2, 4, 8) * 2)
    space.save(tmp_path / "space.safetensors")
    loaded = Space.load(tmp_path / "space.safetensors").eval()
    loaded.set_mode("fake")
    assert loaded.architecture() == space.architecture() and loaded.spec == space.spec
    with torch.no_grad():
        assert torch.equal(loaded(images()), space(images()))


@pytest.fixture
def saved(tmp_path):
    space_of(Plain()).save(tmp_path / "space.safetensors")
    return tmp_path / "space.safetensors"


@pytest.mark.parametrize("keep", [0, 4, 500, -1])
def test_a_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"space\.safetensors: cannot be read as a model .*Restore it"):
        Space.load(saved)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors: cannot be read as a model"):
        Space.load(tmp_path / "none.safetensors")


def test_a_folder_is_refused_with_the_file_that_is_meant(tmp_path):
    with pytest.raises(ValueError, match=r": is a folder\. Give the model of a run, RUN/model\.safetensors"):
        Space.load(tmp_path)


def test_another_safetensors_file_is_refused(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"other\.safetensors: .* no picojoule model: metadata has \['format'\]"):
        Space.load(tmp_path / "other.safetensors")


def rewritten(path, change) -> None:
    space = Space.load(path)
    document, state = space.spec.to_json(), space.state_dict()
    text = change(document, state)
    save_file(state, path, {"picojoule.space": text or json.dumps(document)})


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda document, state: document.update(version=99), "version 99; this picojoule reads 2"),
        (lambda document, state: document.pop("blocks"), "blocks"),
        (lambda document, state: document["weights"]["stem"].update(shape=[9, 3, 3, 3]), "size mismatch"),
        (lambda document, state: state.pop("_weights.stem.weight"), "Missing key"),
        (lambda document, state: "[]", "list"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(saved, change, message):
    rewritten(saved, lambda document, state: text if isinstance(text := change(document, state), str) else None)
    with pytest.raises(ValueError, match=rf"(?s)space\.safetensors: description and tensors make no model .*{message}"):
        Space.load(saved)


def test_a_description_that_is_no_json_is_refused(saved):
    rewritten(saved, lambda document, state: "{")
    with pytest.raises(ValueError, match=r"space\.safetensors: its description is no JSON \(Expecting"):
        Space.load(saved)


def test_a_file_of_an_earlier_version_has_no_checksum_and_is_read(saved):
    rewritten(saved, lambda document, state: None)
    assert Space.load(saved).spec == space_of(Plain()).spec


def test_any_other_byte_is_seen(saved):
    """Of the tensors; a byte of the header makes the file unreadable, or is seen in the same way."""
    content = saved.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for place in (8, header // 2, header - 40, header, (header + len(content)) // 2, len(content) - 1):
        saved.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"space\.safetensors: .*Restore it or run the export again"):
            Space.load(saved)


def test_the_same_space_is_the_same_bytes(saved, tmp_path):
    Space.load(saved).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_a_failed_save_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()
    write = type(saved).write_bytes

    def full(path, content):
        write(path, content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(saved), "write_bytes", full)
    with pytest.raises(OSError, match=r"space\.safetensors: not written .No space left"):
        space_of(Plain()).save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
