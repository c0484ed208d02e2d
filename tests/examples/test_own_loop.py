"""Examples run, and do what they say."""

import re

from examples import own_loop


def test_a_loop_of_ones_own_keeps_its_budget(capsys):
    own_loop.main()
    flash, seed, budget, accuracy = map(float, re.findall(r"[\d.]+", capsys.readouterr().out))
    assert 0.5 * budget < flash <= budget == own_loop.FLASH < 0.5 * seed
    assert accuracy > 0.85
