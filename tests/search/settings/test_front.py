"""Points of a front: in the order in which costs fall, and refused where they make no front."""

import pytest

from search.config import parse
from search.settings.front import Front, Point, points_of

SEED = {"flash_bytes": 8000.0, "macs": 1000.0, "peak_ram_bytes": 400.0}


def test_without_a_front_there_is_one_point():
    assert points_of(Front(), {"macs": 5}, {"flash_bytes": 0.1}, SEED) == (
        Point("", {"macs": 5}, {"flash_bytes": 0.1}),
    )


def test_budgets_fall_and_others_stay():
    points = points_of(Front(budgets={"flash_bytes": [1000, 4000]}), {"macs": 5}, {}, SEED)
    assert [p.name for p in points] == ["flash_bytes=4000", "flash_bytes=1000"]
    assert [dict(p.budgets) for p in points] == [{"macs": 5, "flash_bytes": 4000}, {"macs": 5, "flash_bytes": 1000}]


def test_lists_of_several_costs_go_together():
    front = Front(budgets={"flash_bytes": [1000, 4000], "peak_ram_bytes": [100, 200]})
    points = points_of(front, {}, {}, SEED)
    assert points[0].budgets == {"flash_bytes": 4000, "peak_ram_bytes": 200}
    assert points[1].name == "flash_bytes=1000,peak_ram_bytes=100"


def test_lambdas_climb():
    points = points_of(Front(lambdas={"macs": [0.5, 0.1]}), {}, {"flash_bytes": 1.0}, SEED)
    assert [dict(p.lambdas) for p in points] == [{"flash_bytes": 1, "macs": 0.1}, {"flash_bytes": 1, "macs": 0.5}]


def test_points_are_even_in_the_logarithm_and_end_at_the_budget():
    points = points_of(Front(points=3), {"flash_bytes": 1000}, {}, SEED)
    assert [p.budgets["flash_bytes"] for p in points] == [4000, 2000, 1000]


@pytest.mark.parametrize(
    ("front", "message"),
    [
        (
            {"budgets": {"flash_bytes": [1]}, "points": 2},
            "front: front.flash_bytes and front.points are different ways to say it; take one",
        ),
        ({"lambdas": {"macs": [1]}, "points": 2}, "front.lambdas and front.points are different"),
        ({"points": 0}, "front.points is 0; allowed: 1 or more"),
        ({"budgets": {"flash_bytes": []}}, "lists of finite numbers over 0"),
        ({"budgets": {"flash_bytes": [1, float("inf")]}}, "lists of finite numbers over 0"),
        ({"budgets": {"flash_bytes": [1, -1]}}, "lists of finite numbers over 0"),
        ({"budgets": {"flash_bytes": [1, 2], "macs": [1]}}, "different lengths"),
    ],
)
def test_what_is_no_front_is_refused(front, message):
    with pytest.raises(ValueError, match=message):
        Front(**front)


def test_a_point_twice_and_points_without_a_budget_are_refused():
    with pytest.raises(ValueError, match=r"front: \['macs=5'\] given more than once .* Give each point once"):
        points_of(Front(budgets={"macs": [5, 5]}), {}, {}, SEED)
    with pytest.raises(ValueError, match="between the seed network's costs and budgets, and there are none"):
        points_of(Front(points=3), {}, {}, SEED)


def test_more_points_than_there_are_between_are_refused_with_how_many_there_are():
    message = r"front.points is 40: .*peak_ram_bytes from 400 to 395\) no more than 5 are apart. Take so many, or lower"
    with pytest.raises(ValueError, match=message):
        points_of(Front(points=40), {"peak_ram_bytes": 395}, {}, SEED)
    assert len(points_of(Front(points=5), {"peak_ram_bytes": 395}, {}, SEED)) == 5


def test_from_the_command_line(composed):
    front = parse(composed("front.flash_bytes=[4096,2048]")).front
    assert front.budgets == {"flash_bytes": [4096, 2048]} and front.lambdas == {} and front.points is None
    assert parse(composed("front.lambdas.macs=[0.1,1]")).front.lambdas == {"macs": [0.1, 1]}
    assert parse(composed("front.points=8")).front.points == 8
    with pytest.raises(Exception, match="flash_kb"):
        composed("front.flash_kb=[4]")
