"""Random data, accounts and account contents end in an error of the program's own, or in what a valid call does.

`make fuzz-program` goes on for HYPERNODE_TEST_FUZZ_S seconds, from a seed of its own or HYPERNODE_TEST_FUZZ_SEED.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.support.fuzzing import complaint, fuzzed
from tests.support.spoiled_calls import CURRENCIES, RECIPES, prepared

COUNT = 1_500
SECONDS = float(os.environ.get("HYPERNODE_TEST_FUZZ_S", "0"))


@pytest.mark.timeout(300 + SECONDS)
def test_no_input_breaks_the_program() -> None:
    seed = int(os.environ.get("HYPERNODE_TEST_FUZZ_SEED") or (random.randrange(2**32) if SECONDS else 0))
    dice, until, done = random.Random(seed), time.monotonic() + SECONDS, 0
    cases = [prepared(recipe, currency) for recipe in RECIPES for currency in CURRENCIES]
    while done < COUNT or time.monotonic() < until:
        case = dice.choice(cases)
        fuzz = fuzzed(dice, case)
        what = complaint(case, fuzz)
        assert what is None, f"{what}\nseed {seed}, input {done}, {case.currency}\n{fuzz}"
        done += 1
    print(f"{done} inputs, seed {seed}")
