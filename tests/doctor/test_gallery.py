"""Each fault of the gallery is found by its check, with little else said; healthy runs are left in peace."""

import pytest
from doctor import gallery  # noqa: F401  fills the lists
from doctor.faults import FAULTS, HEALTHY


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(fault):
    found = fault.make(0).check(progress=False)
    assert not found.failed
    spoken = [f.code for f in found if f.code in fault.codes]
    assert spoken, f"{found}"
    further = [f for f in found if f.code not in fault.codes and f.severity != "advice"]
    assert len(further) <= 1, f"{found}"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("run", HEALTHY, ids=lambda run: run.name)
def test_a_healthy_run_is_left_in_peace(run, seed):
    found = run.make(seed).check(progress=False)
    assert not found.failed
    assert not [f for f in found if f.severity != "advice"], f"{found}"
