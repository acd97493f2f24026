import pytest

from tipsai import Callback
from tipsai.core.callback import EVENTS, bind


class Early(Callback):
    order = -1

    def after_step(self, st): ...


class Late(Callback):
    order = 5

    def after_step(self, st): ...
    def before_fit(self, st): ...


def test_only_overridden_methods_are_bound_lowest_order_first():
    late, early = Late(), Early()
    events = bind([late, early])
    assert events.after_step == (early.after_step, late.after_step)
    assert events.before_fit == (late.before_fit,)


def test_callbacks_of_one_order_keep_the_order_given():
    first, second = Late(), Late()
    assert bind([first, second]).after_step == (first.after_step, second.after_step)


def test_an_event_that_nobody_listens_to_is_empty():
    events = bind([Early(), Callback()])
    assert all(getattr(events, name) == () for name in EVENTS if name != "after_step")
    assert all(listeners == () for listeners in bind(()))


def test_a_method_of_a_base_class_is_bound():
    class Heir(Early):
        pass

    heir = Heir()
    assert bind([heir]).after_step == (heir.after_step,)


@pytest.mark.parametrize(
    ("name", "meant"), [("after_epochs", "after_epoch"), ("before_batches", "before_batch"), ("after_train", "after")]
)
def test_a_misspelt_event_names_the_nearest(name, meant):
    cb = type("Mine", (Callback,), {name: lambda self, st: None})()
    with pytest.raises(TypeError, match=rf"Mine\.{name} is no event, so it would never run\. Did you mean {meant}"):
        bind([cb])


@pytest.mark.parametrize(
    ("given", "says"), [(Early, "Give an instance, not the class"), (print, "Derive it from tipsai.Callback")]
)
def test_what_is_no_callback_is_refused(given, says):
    with pytest.raises(TypeError, match=says):
        bind([given])
