"""Each fault of the gallery is found by its check, with little else said; healthy runs are left in peace."""

import pytest
from doctor import gallery, gallery_ending, gallery_modalities, gallery_training  # noqa: F401  fill the lists
from doctor.faults import FAULTS, HEALTHY, findings

seeds = pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])


@seeds
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found(fault, seed):
    found = findings(fault.make(seed), fault.epochs)
    assert any(f.code in fault.codes for f in found), f"{found}"
    further = [f for f in found if f.code not in fault.codes and f.severity != "advice"]
    assert len(further) <= 1, f"{found}"


@seeds
@pytest.mark.parametrize("run", HEALTHY, ids=lambda run: run.name)
def test_a_healthy_run_is_left_in_peace(run, seed):
    learn = run.make(seed)
    assert not learn.check(progress=False).failed
    learn.fit_one_cycle(10, progress=False)
    assert not [f for f in learn.findings if f.severity != "advice"], f"{learn.findings}"
