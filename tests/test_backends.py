"""The tests marked `every_backend` pass on the other backends too, and those marked `tensorflow_only` on theirs."""

import pytest
from backends import RUNS


@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_the_marked_tests_pass(run, request):
    status, output = request.config.queue.finish(run)
    assert status == 0, output[-4000:]
