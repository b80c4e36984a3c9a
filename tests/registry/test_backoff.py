from __future__ import annotations

import pytest

from modfile.backoff import Backoff

pytestmark = pytest.mark.promise("R7")


def backoff(**more):
    pauses = []
    return Backoff(sleep=pauses.append, **{"random": lambda: 1.0, **more}), pauses


def test_pauses_grow_twofold_up_to_the_longest():
    policy, pauses = backoff(attempts=8, first=1.0, longest=10.0)
    tries = policy.tries()
    while tries.again("it failed", lambda text: None):
        pass
    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize(("random", "pause"), [(0.0, 2.0), (0.5, 3.0), (0.999, 3.998)])
def test_jitter_keeps_a_pause_between_half_and_whole(random, pause):
    assert Backoff(first=4.0, random=lambda: random).pause(1) == pytest.approx(pause)


def test_the_number_of_failures_does_not_overflow_a_pause():
    assert Backoff(longest=30.0, random=lambda: 1.0).pause(100_000) == 30.0


def test_every_pause_is_told_before_it_begins():
    events = []
    tries = Backoff(attempts=2, sleep=lambda s: events.append("sleep"), random=lambda: 1.0).tries()
    assert tries.again("no answer", events.append)
    assert events == ["no answer; trying again in 1.0 s (2 of 2)", "sleep"]


def test_what_the_other_side_asks_for_is_waited_for():
    policy, pauses = backoff()
    assert policy.tries().again("busy", lambda text: None, 17.0)
    assert pauses == [17.0]


def test_too_long_a_wait_ends_the_work_at_once():
    policy, pauses = backoff(patience=60.0)
    assert not policy.tries().again("busy", lambda text: None, 61.0)
    assert pauses == []


def test_one_attempt_is_no_second_try():
    policy, pauses = backoff(attempts=1)
    assert not policy.tries().again("it failed", lambda text: None)
    assert pauses == []


def test_progress_counts_failures_anew():
    policy, pauses = backoff(attempts=2)
    tries = policy.tries()
    for _ in range(5):
        assert tries.again("it failed", lambda text: None)
        tries.progressed()
    assert pauses == [1.0] * 5


def test_a_sleep_that_raises_ends_the_work():
    def stop(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Backoff(sleep=stop).tries().again("it failed", lambda text: None)
