"""Real factors as multiplier and shift: error bound, extremes, and the one rounding rule."""

import pytest
import torch

from spaces.blocks.fixed_point import FLOAT32_EXACT, common_shift, exact_dtype, multiplier_and_shift, requantize


def test_relative_error_is_at_most_half_a_unit_of_15_bits():
    generator = torch.Generator().manual_seed(0)
    mantissa = torch.rand(100_000, generator=generator, dtype=torch.float64) + 1
    ratio = torch.ldexp(mantissa, torch.arange(100_000) % 60 - 47)
    ratio = torch.cat([ratio, -ratio])
    m, n = multiplier_and_shift(ratio)
    assert ((m.abs() >= 2**14) & (m.abs() < 2**15)).all()
    assert ((n >= 1) & (n <= 62)).all()
    assert (m.sign() == ratio.sign()).all()
    error = torch.ldexp(m.double(), -n) - ratio
    assert (error.abs() <= ratio.abs() * 2.0**-15).all()


@pytest.mark.parametrize(
    "ratio, m, n",
    [
        (0.0, 0, 1),
        (1.0, 2**14, 14),
        (-0.5, -(2**14), 15),
        (2.0**13, 2**14, 1),
        (2.0**14 * (1 - 2.0**-15), 2**15 - 1, 1),  # the largest
        (1 - 2.0**-40, 2**14, 14),  # rounds up to 2^15, which 16 signed bits do not hold
        (2.0**-62, 1, 62),  # too small for 15 bits
        (2.0**-70, 0, 1),
        (-(2.0**-300), 0, 1),
    ],
)
def test_by_hand(ratio, m, n):
    found = multiplier_and_shift(torch.tensor([ratio], dtype=torch.float64))
    assert [t.item() for t in found] == [m, n]


@pytest.mark.parametrize("ratio", [2.0**14, -(2.0**14), 2.0**14 * (1 - 2.0**-40), 1e300])
def test_a_factor_that_no_shift_holds_is_the_largest(ratio):
    multiplier, shift = multiplier_and_shift(torch.tensor([0.5, ratio], dtype=torch.float64))
    assert multiplier.tolist() == [2**14, 32767 if ratio > 0 else -32767] and shift.tolist() == [15, 1]


def test_channels_do_not_depend_on_one_another():
    ratio = torch.tensor([1e-9, -3.0, 0.0, 777.7], dtype=torch.float64)
    together = multiplier_and_shift(ratio)
    alone = [multiplier_and_shift(r[None]) for r in ratio]
    assert all(torch.equal(t, torch.cat(parts)) for t, parts in zip(together, zip(*alone, strict=True), strict=True))


def test_a_common_shift_gives_the_largest_15_bits():
    m, n = common_shift(torch.tensor([0.75, 0.001], dtype=torch.float64))
    assert m.tolist() == [24576, round(0.001 * 2**15)] and n.tolist() == [15]


def test_half_rounds_up_on_both_sides_of_zero():
    acc = torch.tensor([-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5])
    m, n = multiplier_and_shift(torch.tensor([0.5], dtype=torch.float64))
    assert requantize(acc, m, n).tolist() == [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3]


def test_requantization_is_floor_of_the_exact_rational_at_the_extremes():
    for acc in (2**31 - 1, -(2**31) + 1, 12345, -12345, 1, -1, 0):
        for m in (2**15 - 1, -(2**15) + 1, 2**14, -(2**14), 0):
            for n in (1, 2, 14, 31, 46, 61, 62):
                found = requantize(torch.tensor([acc]), torch.tensor([m]), torch.tensor([n])).item()
                assert found == (2 * acc * m + 2**n) // 2 ** (n + 1)  # Python's integers: floor(acc * m / 2^n + 1/2)


def test_float32_serves_where_it_counts_exactly_and_no_further():
    assert exact_dtype(FLOAT32_EXACT - 1) is torch.float32
    assert exact_dtype(FLOAT32_EXACT + 1) is torch.float64
    assert torch.tensor(FLOAT32_EXACT + 1.0).item() == FLOAT32_EXACT  # one further, and float32 miscounts
