"""The clock that is stepped: processes with it see that, and no others do."""

import os
import subprocess
import sys
import time

import pytest

from chaos.clock import Clock

LOOK = (
    "import time; print(time.time(), time.time_ns() / 1e9, time.clock_gettime(time.CLOCK_REALTIME), time.monotonic())"
)


@pytest.mark.parametrize("seconds", [-86_400.25, 3_600.75, 0])
def test_a_step_is_seen_by_whoever_has_the_clock_and_the_monotonic_clock_stays_right(seconds: float) -> None:
    clock = Clock()
    try:
        if not clock.can_be_wrong:
            pytest.skip("a C compiler is missing")
        clock.wrong_by(seconds)
        command = [sys.executable, "-c", LOOK]
        text = subprocess.run(command, env=os.environ | clock.environment, capture_output=True, text=True, check=True)
        *walls, steady = map(float, text.stdout.split())
        assert all(abs(wall - time.time() - seconds) < 30 for wall in walls), text.stdout
        assert abs(steady - time.monotonic()) < 30
    finally:
        clock.close()
