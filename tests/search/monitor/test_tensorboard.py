import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from search.monitor.events import EpochEnd, Monitors
from search.monitor.history import HISTORY_FILE, HistoryMonitor
from search.monitor.pictures import bits_picture, gate_picture
from search.monitor.tensorboard import TensorBoardMonitor

BLUE, ORANGE, WHITE = (5, 82, 156), (217, 94, 3), (247, 247, 247)
GREY, YELLOW, VIOLET = (230, 230, 230), (252, 217, 102), (38, 26, 89)


def monitors(folder, first_epoch: int = 0) -> Monitors:
    """As a run has them: the history is told first."""
    history = folder / HISTORY_FILE
    return Monitors([HistoryMonitor(history, first_epoch), TensorBoardMonitor(folder, history, first_epoch)])


def gate_values(epoch: int, shift: float = 0.0) -> list[float]:
    return [0.1 * epoch + shift, 1.0 - 0.1 * epoch, 0.5]


def end(epoch: int, epochs: int = 5, loss: float = 1.0, shift: float = 0.0) -> EpochEnd:
    return EpochEnd(
        phase="search",
        epoch=epoch,
        epochs=epochs,
        global_epoch=epoch,
        scalars={"loss/train": loss / (epoch + 1), "cost/flash_bytes": 1000.0 - epoch},
        bits={"stem": {8: 3 - min(epoch, 2), 4: min(epoch, 2), 0: 1}},
        gates={"stem.gate": gate_values(epoch, shift)},
    )


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "histograms": 0})
    return events.Reload()


def last_picture(events: EventAccumulator, tag: str) -> np.ndarray:
    encoded = events.Images(tag)[-1].encoded_image_string
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_scalars_come_back_at_their_epochs(tmp_path):
    monitor = monitors(tmp_path / "new" / "folder")
    for epoch in range(3):
        monitor.epoch(end(epoch))
    monitor.close({})
    events = read(tmp_path / "new" / "folder")
    assert set(events.Tags()["scalars"]) == {"loss/train", "cost/flash_bytes"}
    assert [(e.step, e.value) for e in events.Scalars("cost/flash_bytes")] == [(0, 1000.0), (1, 999.0), (2, 998.0)]


def test_events_are_on_disk_before_the_run_ends(tmp_path):
    monitor = monitors(tmp_path)
    for epoch in range(3):
        monitor.epoch(end(epoch))
        assert len(read(tmp_path).Scalars("loss/train")) == epoch + 1
    monitor.close({})


def test_histogram_has_one_bucket_a_width(tmp_path):
    monitor = monitors(tmp_path)
    monitor.epoch(end(1))
    monitor.close({})
    (event,) = read(tmp_path).Histograms("bits/stem")
    histogram = event.histogram_value
    counts = dict(zip(histogram.bucket_limit, histogram.bucket, strict=True))
    assert {limit: count for limit, count in counts.items() if count} == {0.5: 1, 4.5: 1, 8.5: 2}
    assert (histogram.min, histogram.max) == (-0.5, 8.5)
    assert (histogram.num, histogram.sum, histogram.sum_squares) == (4, 20, 16 + 2 * 64)


def test_pictures_hold_every_epoch_so_far(tmp_path):
    monitor = monitors(tmp_path)
    for epoch in range(5):
        monitor.epoch(end(epoch))
    monitor.close({})
    events = read(tmp_path)
    assert [event.step for event in events.Images("gates/stem.gate")] == [0, 1, 2, 3, 4]
    gates, bits = last_picture(events, "gates/stem.gate"), last_picture(events, "bits/stem")
    assert np.array_equal(gates, gate_picture([gate_values(epoch) for epoch in range(5)]))
    assert np.array_equal(bits, bits_picture([end(epoch).bits["stem"] for epoch in range(5)]))


def test_a_long_phase_draws_ten_pictures_and_its_last_epoch(tmp_path):
    monitor = monitors(tmp_path)
    for epoch in range(42):
        monitor.epoch(end(epoch, epochs=42))
    monitor.close({})
    steps = [event.step for event in read(tmp_path).Images("bits/stem")]
    assert steps == [4, 9, 14, 19, 24, 29, 34, 39, 41]


@pytest.mark.parametrize("first_epoch", [0, 3])
def test_resumed_run_replaces_the_epochs_it_does_again(tmp_path, first_epoch):
    killed = monitors(tmp_path)
    for epoch in range(5):
        killed.epoch(end(epoch, loss=1.0))
    resumed = monitors(tmp_path, first_epoch)
    for epoch in range(first_epoch, 5):
        resumed.epoch(end(epoch, loss=8.0, shift=0.01))
    resumed.close({})
    killed.close({})

    events = read(tmp_path)
    losses = [(event.step, event.value * (event.step + 1)) for event in events.Scalars("loss/train")]
    assert losses == [(epoch, pytest.approx(1.0 if epoch < first_epoch else 8.0)) for epoch in range(5)]
    assert [event.step for event in events.Images("bits/stem")] == [0, 1, 2, 3, 4]
    assert [event.step for event in events.Histograms("bits/stem")] == [0, 1, 2, 3, 4]
    rows = [gate_values(epoch, 0.0 if epoch < first_epoch else 0.01) for epoch in range(5)]
    assert np.array_equal(last_picture(events, "gates/stem.gate"), gate_picture(rows))


def test_gate_colours():
    picture = gate_picture([[0.0, 0.5, 1.0], [-3.0, 0.25, 2.0]])
    assert picture.dtype == np.uint8
    cells = picture[::16, ::16]  # three channels are drawn with cells of 16 pixels
    assert picture.shape == (32, 48, 3)
    assert cells[0].tolist() == [list(ORANGE), list(WHITE), list(BLUE)]
    assert cells[1, 0].tolist() == list(ORANGE)
    assert cells[1, 1].tolist() == [232, 171, 125]  # half-way from orange to white
    assert cells[1, 2].tolist() == list(BLUE)


def test_bits_are_sorted_and_missing_channels_are_pruned():
    picture = bits_picture([{0: 1, 1: 1, 8: 1}, {16: 2}])
    assert picture[::16, ::16].tolist() == [
        [list(VIOLET), list(YELLOW), list(GREY)],
        [list(VIOLET), list(VIOLET), list(GREY)],
    ]


def test_wide_layers_are_not_enlarged():
    assert gate_picture([[0.5] * 700] * 4).shape == (4, 700, 3)
    assert gate_picture([[0.5] * 256] * 4).shape == (8, 512, 3)


@pytest.mark.parametrize("history", [[], [[]], [[0.1, 0.2], [0.1]]])
def test_picture_of_uneven_epochs_is_refused(history):
    with pytest.raises(ValueError, match="every epoch needs the same number"):
        gate_picture(history)


def test_picture_of_no_channels_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        bits_picture([{}])
