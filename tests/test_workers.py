import threading
import time

import pytest

from modfile.errors import UsageError
from modfile.progress import SILENT
from modfile.workers import CancelledError, StoppableMeter, run_all


def test_results_stand_in_the_order_of_the_items():
    assert run_all(range(20), lambda item, stop: item * 2, 3) == [item * 2 for item in range(20)]


def test_no_more_than_so_many_work_at_once():
    lock, now, most = threading.Lock(), [0], [0]

    def work(item, stop):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1

    run_all(range(30), work, 4)
    assert most[0] == 4


def test_the_first_error_stops_the_others_and_is_what_leaves():
    reached = []

    def work(item, stop):
        if item == 0:
            raise ValueError("first")
        meter = StoppableMeter(SILENT, stop)
        stop.wait(10)
        reached.append(item)
        meter.advance(1)
        reached.append("went on")

    with pytest.raises(ValueError, match="first"):
        run_all(range(100), work, 3)
    assert "went on" not in reached
    assert len(reached) <= 3


def test_a_stopped_meter_stops_its_work_at_every_turn():
    stop = threading.Event()
    meter = StoppableMeter(SILENT, stop)
    meter.advance(1)
    meter.note("fine")
    stop.set()
    with pytest.raises(CancelledError):
        meter.advance(1)
    with pytest.raises(CancelledError):
        meter.note("stopped")


@pytest.mark.parametrize("concurrency", [0, -1])
def test_fewer_than_one_at_once_makes_no_sense(concurrency):
    with pytest.raises(UsageError):
        run_all([1], lambda item, stop: item, concurrency)
