"""Each fault of the gallery is found by its check, with little else said; healthy runs are left in peace."""

import pytest
from doctor.every import FAULTS, HEALTHY, findings

seeds = pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])


# runs of more than three seconds
HEAVY = {
    "augmentation that keeps the label",
    "characters that training never saw",
    "few pictures without weights",
    "language model with tied weights",
    "large network",
    "pictures at their own size",
    "pictures made tiny",
    "running text of characters",
    "running text of words",
    "too much capacity for few rows",
}


def runs(made):
    marks = {True: (pytest.mark.slow,), False: ()}
    return [pytest.param(run, id=run.name, marks=marks[run.name in HEAVY]) for run in made]


@seeds
@pytest.mark.parametrize("fault", runs(FAULTS))
def test_a_fault_is_found(fault, seed):
    found = findings(fault.make(seed), fault.epochs)
    assert any(f.code in fault.codes for f in found), f"{found}"
    further = [f for f in found if f.code not in fault.codes and f.severity != "advice"]
    assert len(further) <= 1, f"{found}"


@seeds
@pytest.mark.parametrize("run", runs(HEALTHY))
def test_a_healthy_run_is_left_in_peace(run, seed):
    learn = run.make(seed)
    assert not learn.check(progress=False).failed
    learn.fit_one_cycle(10, progress=False)
    assert not [f for f in learn.findings if f.severity != "advice"], f"{learn.findings}"


def test_what_is_called_heavy_is_there():
    assert {run.name for run in (*FAULTS, *HEALTHY)} >= HEAVY
