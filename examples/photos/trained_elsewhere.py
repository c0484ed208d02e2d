"""Makes photo_net.safetensors, which stands for weights that you have: trained on other photos, of discs and squares.

python trained_elsewhere.py
"""

import sys
from pathlib import Path

import numpy as np
import torch
from make_photos import FORMS, SIGNS, photo
from photo_net import MEAN, SIDE, STD, PhotoNet
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

OTHERS = tuple(form for form in FORMS if form not in SIGNS)


def batch(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Photos of other forms, normalised, and their labels."""
    labels = rng.integers(len(OTHERS), size=count)
    photos = [np.asarray(photo(OTHERS[label], rng).resize((SIDE, SIDE))) for label in labels]
    images = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std, torch.from_numpy(labels)


def main(file: Path, steps: int = 150) -> None:
    torch.manual_seed(0)
    rng, model = np.random.default_rng(1), PhotoNet(len(OTHERS))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        images, labels = batch(32, rng)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(model.state_dict(), file)
    print(f"{file}: trained on {', '.join(OTHERS)}, last loss {loss.item():.3f}")


if __name__ == "__main__":
    main(Path("photo_net.safetensors"), *map(int, sys.argv[1:]))
