"""The binary format of CIFAR-10."""

import numpy as np
import pytest

from search.data import DataError, load
from search.data.cifar10 import FILES, Cifar10Options


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in (*FILES["train"], *FILES["test"]):
        records = rng.integers(0, 256, (20, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(20) % 10
        (tmp_path / name).write_bytes(records.tobytes())
    return tmp_path


def test_records_are_labels_and_planes(folder):
    data = load(Cifar10Options(str(folder)))
    assert [len(split) for split in (data.train, data.val, data.test)] == [90, 10, 20]
    first = np.frombuffer((folder / FILES["test"][0]).read_bytes(), np.uint8)[:3073]
    assert data.test.targets[0] == first[0] and data.classes[0] == "airplane"
    assert np.array_equal(data.test.images[0].numpy().reshape(-1), first[1:])


def test_a_missing_or_cut_file_is_named(folder):
    (folder / "data_batch_3.bin").write_bytes(b"1234")
    with pytest.raises(DataError, match=r"data_batch_3\.bin: 4 bytes are no whole number of records of 3073"):
        load(Cifar10Options(str(folder)))
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin: cannot be read .* data_batch_1\.bin"):
        load(Cifar10Options(str(folder)))
