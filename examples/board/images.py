"""Writes the raw test images of the digits, one byte a pixel, as a camera would send them."""

import sys

from search.data import load
from search.data.digits import DigitsOptions

sys.stdout.buffer.write(load(DigitsOptions()).test.images.numpy().tobytes())
