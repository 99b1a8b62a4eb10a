"""The tests marked `every_backend`, on the backends that this process does not run; `conftest` has started them."""

import pytest
from backends import OTHERS


@pytest.mark.parametrize("backend", OTHERS)
def test_every_backend(backend, pytestconfig):
    status, output = pytestconfig.backends[backend].finish()
    print(output[-500:])
    assert status == 0, output[-9000:]
