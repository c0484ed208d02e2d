"""Whether a few training images are so far beyond all others that normalising takes the signal of these away."""

from search.data.data import Data

FAR = 5.0  # times the deviation of the image in the middle
IMAGES = 4096  # that are looked at, at most


def outliers(data: Data) -> str | None:
    """What should be said of the training images; None where nothing is wrong with them."""
    images = data.train.images[:: max(1, len(data.train) // IMAGES)]
    spread = data.normalise(images).double().flatten(1).square().mean(1).sqrt()  # of each image, in deviations
    usual = spread.median().item()
    if not images.is_floating_point() or not 0 < usual < 1 / FAR:
        return None
    index = int(data.train.images.abs().flatten(1).amax(1).argmax())
    extreme = data.train.images[index].flatten()
    value = extreme[extreme.abs().argmax()].item()
    return (
        f"data '{data.name}': a few training images are far beyond all others, such as that at index "
        f"{data.train.index_where_read(index)}, which holds {value:g}. Normalised by the deviation of all, half of the "
        f"images stay within {usual:.2g} deviations. "
        "Mend those few, or set data.mean and data.std to what the others have."
    )
