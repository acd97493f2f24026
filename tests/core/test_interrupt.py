import signal
import subprocess
import sys
import threading

import pytest
from helpers import At, copied, learner, mlp, same


def ctrl_c(st=None):
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def default_handler():
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, old)


def test_ctrl_c_ends_training_after_the_step_and_keeps_model_and_history(caplog):
    learn = learner()
    learn.fit(3, callbacks=[At(8, ctrl_c, "before_batch")], progress=False)
    assert (learn.n_steps, learn.stop_reason, len(learn.history)) == (8, "interrupted", 1)
    assert [r.getMessage() for r in caplog.records] == [
        "interrupted after step 8 of 18; the model and its history are kept"
    ]
    straight = learner()
    straight.fit(3, callbacks=[At(8, lambda st: st.stop("here"))], progress=False)
    assert same(copied(learn.model), copied(straight.model))


@pytest.mark.parametrize("step", [1, 6, 8, 18])
@pytest.mark.parametrize("event", ["after_step", "after_epoch"])
def test_after_ctrl_c_a_checkpoint_goes_on_exactly(tmp_path, step, event):
    if event == "after_epoch" and step % 6:
        step += 6 - step % 6
    whole = learner(model=mlp(dropout=0.5))
    whole.fit_one_cycle(3, progress=False)
    path = tmp_path / "c.tips"
    first = learner(model=mlp(dropout=0.5))
    stopper = At(step, ctrl_c, event)
    first.fit_one_cycle(3, checkpoint=path, callbacks=[stopper], progress=False)
    assert first.stop_reason == "interrupted" and first.n_steps == step
    again = learner(model=mlp(dropout=0.5))
    again.fit_one_cycle(3, checkpoint=path, resume=True, callbacks=[At(0, None)], progress=False)
    assert same(copied(again.model), copied(whole.model)) and again.history == whole.history


def test_a_second_ctrl_c_raises_at_once():
    learn = learner()
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, callbacks=[At(2, lambda st: (ctrl_c(), ctrl_c()), "before_batch")], progress=False)
    assert learn.n_steps == 1


def test_a_handler_of_somebody_else_is_left_alone():
    calls = []
    signal.signal(signal.SIGINT, lambda *args: calls.append(1))
    learn = learner()
    learn.fit(1, callbacks=[At(2, ctrl_c)], progress=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert calls == [1] and learn.n_steps == 6


def test_in_another_thread_training_runs_without_a_handler():
    learn = learner()
    thread = threading.Thread(target=lambda: learn.fit(1, progress=False))
    thread.start()
    thread.join()
    assert learn.n_steps == 6


CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {tests!r})
from helpers import At, learner
def wait(st):
    print("training", flush=True)
    while not st.stop_reason:
        time.sleep(0.05)
    print("still in the step", flush=True)
learn = learner()
learn.fit(3, callbacks=[At(4, wait, "before_batch")])
print(learn.n_steps, learn.stop_reason, len(learn.history))
"""


def test_ctrl_c_ends_a_process_well_with_one_warning(request):
    program = CHILD.format(tests=str(request.config.rootpath / "tests"))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "training\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, "still in the step\n4 interrupted 0\n")
    assert err == "interrupted after step 4 of 18; the model and its history are kept\n"
