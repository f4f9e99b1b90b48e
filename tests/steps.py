"What the tests of compiled steps share."
import warnings

import pytest

from foundations.compiling import compiled

backends = pytest.mark.parametrize("backend", ["numpy", "numba"])


@pytest.fixture(autouse=True)
def needs(request):
    if "numba" in str(request.node.callspec.params if hasattr(request.node, "callspec") else ""): pytest.importorskip("numba")


def refused(step, *args, times=4):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fast = compiled(step)
        out = [fast(*args) for _ in range(times)]
    return fast.why, [str(w.message) for w in said], out
