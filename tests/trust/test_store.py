"""The store: nothing that was named is lost, whatever is done to it, by however many, and whatever comes over it."""

from __future__ import annotations

import sys

import pytest

from tests.faults import machine
from tests.faults.processes import Command


@pytest.mark.promise("S1", "S2", "S4", "S5")
def test_the_store_has_what_a_model_of_it_has_after_any_steps():
    machine.walk(examples=200, steps=20)


@pytest.mark.promise("S3", "S4")
def test_processes_that_all_begin_at_once_on_a_store_that_is_not_there_lose_nothing(tmp_path):
    program = (sys.executable, "-m", "tests.faults.rush")
    Command(tmp_path, tmp_path, "--rounds", 12, "--processes", 10, program=program).succeed()
