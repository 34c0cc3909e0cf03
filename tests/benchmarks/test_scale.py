"""The simulation behind docs/scale.md, against queues whose answer is known."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    # docs is no package that pytest could import by name.
    spec = importlib.util.spec_from_file_location("docs_scale", ROOT / "docs" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_scale"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("load", "workers"), [(0.5, 1), (0.8, 1), (2.4, 3), (8.0, 10)])
def test_poisson_arrivals_and_exponential_work_wait_as_erlang_says(
    scale: ModuleType, load: float, workers: int
) -> None:
    draw = np.random.default_rng(7)
    arrivals = np.cumsum(draw.exponential(1 / load, 200_000))
    found = scale.serve(arrivals, draw.exponential(1.0, len(arrivals)), workers).mean_wait_s
    assert found == pytest.approx(scale.erlang_c(load, workers) / (workers - load), rel=0.08)


def test_equal_work_waits_half_as_long(scale: ModuleType) -> None:
    # M/D/1: load / (2 (1 - load)) of the work, half of M/M/1 (Pollaczek-Khinchine).
    draw = np.random.default_rng(8)
    arrivals = np.cumsum(draw.exponential(1 / 0.7, 200_000))
    found = scale.serve(arrivals, np.ones(len(arrivals)), 1).mean_wait_s
    assert found == pytest.approx(0.7 / (2 * 0.3), rel=0.05)


def test_erlang_c_with_one_worker_is_the_load(scale: ModuleType) -> None:
    assert scale.erlang_c(0.7, 1) == pytest.approx(0.7)
    assert scale.erlang_c(2.0, 3) == pytest.approx(4 / 9)  # by hand: (8/6 * 3) / (1 + 2 + 2 + 4)


def test_three_at_once_and_one_worker_by_hand(scale: ModuleType) -> None:
    queue = scale.serve(np.array([0.0, 0.0, 0.0, 10.0]), np.array([2.0, 2.0, 2.0, 2.0]), 1)
    assert queue.wait_s == (3.0, pytest.approx(5.7), 6.0)  # 2, 4, 6 and 2 s
    assert queue.mean_wait_s == pytest.approx((0 + 2 + 4 + 0) / 4)
    assert queue.depth[2] == 1.0  # the third finds one who has not begun


def test_a_week_holds_a_year_s_share_of_people(scale: ModuleType) -> None:
    draw = np.random.default_rng(1)
    week = sum(len(scale.a_day(1e6, day, burst=20, draw=draw)) for day in range(7))
    assert week == pytest.approx(1e6 * 7 / 365.25, rel=0.02)
    monday = scale.a_day(1e6, 0, burst=20, draw=draw)
    assert (monday[:-1] <= monday[1:]).all()
    assert monday[0] >= 8 * 3600
    assert monday[-1] < 18 * 3600


def test_one_worker_less_breaks_the_promise(scale: ModuleType) -> None:
    draw = np.random.default_rng(2)
    arrivals = scale.a_day(2e6, 0, burst=20, draw=draw)
    work = np.full(len(arrivals), 10.0)
    workers = scale.enough(arrivals, work, within_s=600)
    assert workers > 1
    assert scale.serve(arrivals, work, workers).wait_s[1] <= 600 < scale.serve(arrivals, work, workers - 1).wait_s[1]
    with pytest.raises(ValueError, match="the work alone takes longer"):
        scale.enough(arrivals, work, within_s=5)
