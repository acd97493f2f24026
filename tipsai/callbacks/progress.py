"""Progress on standard error: nested bars in a terminal, a live table in a notebook, a line an epoch in a file."""

import html
import sys
import time
from typing import Any

from tipsai.bar import in_notebook
from tipsai.core.callback import Callback
from tipsai.core.state import Row, TrainState

SHOWN_EVERY_SECONDS = 0.1


def format_row(row: Row) -> dict[str, str]:
    """An epoch's figures as short text, "valid_" left off the metrics."""
    names = {"train_objective": "train", "valid_loss": "valid"}
    cells = {}
    for name, value in row.items():
        short = names.get(name, name.removeprefix("valid_"))
        cells[short] = str(int(value)) if name == "epoch" else f"{value:.5g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return cells


class Progress(Callback):
    """Shows how far training is, and each epoch's figures."""

    order = 50

    def __init__(self) -> None:
        self.face: Terminal | Notebook | Lines | None = None

    def before_fit(self, st: TrainState) -> None:
        self.began = time.perf_counter()
        self.face = Notebook() if in_notebook() else Terminal() if sys.stderr.isatty() else Lines()
        self.face.open(st)

    def after_log(self, st: TrainState) -> None:
        if self.face:
            self.face.step(st)

    def after_epoch(self, st: TrainState) -> None:
        if self.face:
            now = time.perf_counter()
            self.face.row(st, format_row(st.row) | {"seconds": f"{now - self.began:.1f}"})
            self.began = now

    def after_fit(self, st: TrainState) -> None:
        if self.face:
            self.face.close(st)
            self.face = None


class Lines:
    """For files and pipes: one line an epoch, no control characters."""

    def open(self, st: TrainState) -> None: ...

    def step(self, st: TrainState) -> None: ...

    def row(self, st: TrainState, cells: dict[str, str]) -> None:
        epoch = cells.pop("epoch")
        sys.stderr.write(
            f"epoch {epoch}/{st.first_epoch + st.n_epochs}  "
            + "  ".join(f"{name} {value}" for name, value in cells.items())
            + "\n"
        )
        sys.stderr.flush()

    def close(self, st: TrainState) -> None: ...


class Terminal:
    """Two tqdm bars, epochs above steps; the epochs' figures scroll above them as a table."""

    def open(self, st: TrainState) -> None:
        from tqdm import tqdm  # here, since importing tipsai must cost nothing beyond torch

        style: dict[str, Any] = {
            "dynamic_ncols": True,
            "leave": False,
            "file": sys.stderr,
            "mininterval": SHOWN_EVERY_SECONDS,
        }
        self.outer = tqdm(total=st.n_epochs, initial=st.epoch, desc="epochs", position=0, **style)
        self.inner = tqdm(total=st.steps_per_epoch, initial=st.step_in_epoch, desc="steps", position=1, **style)
        self.header: list[str] = []

    def step(self, st: TrainState) -> None:
        self.inner.update(st.step_in_epoch - self.inner.n)
        if st.losses:
            remark = f", {st.remark}" if st.remark else ""
            self.inner.set_postfix_str(f"loss {st.losses[-1]:.4g}{remark}", refresh=False)

    def row(self, st: TrainState, cells: dict[str, str]) -> None:
        if list(cells) != self.header:
            self.header = list(cells)
            self.outer.write("  ".join(f"{name:>9}" for name in self.header), file=sys.stderr)
        self.outer.write("  ".join(f"{cells[name]:>{max(9, len(name))}}" for name in self.header), file=sys.stderr)
        self.outer.total = st.n_epochs  # fewer or more by now where time is limited
        self.outer.update(1)
        self.inner.reset()

    def close(self, st: TrainState) -> None:
        self.inner.close()
        self.outer.close()


class Notebook:
    """A small HTML table that grows a row an epoch; what stays in a saved notebook is the table."""

    def open(self, st: TrainState) -> None:
        from IPython.display import HTML, display

        self.make: Any = HTML
        self.rows: list[dict[str, str]] = []
        self.handle: Any = display(HTML("training..."), display_id=True)  # type: ignore[no-untyped-call]

    def _show(self, below: str) -> None:
        header = "".join(f"<th>{name}</th>" for name in (self.rows[-1] if self.rows else ()))
        body = "".join("<tr>" + "".join(f"<td>{value}</td>" for value in row.values()) + "</tr>" for row in self.rows)
        self.handle.update(self.make(f"<table><tr>{header}</tr>{body}</table>{below}"))

    def step(self, st: TrainState) -> None:
        share = st.step / st.n_steps
        loss = f", loss {st.losses[-1]:.4g}" if st.losses else ""
        remark = f", {html.escape(st.remark)}" if st.remark else ""
        self._show(f"<progress value='{share:.4f}'></progress> {share:.0%} of {st.n_epochs} epochs{loss}{remark}")

    def row(self, st: TrainState, cells: dict[str, str]) -> None:
        self.rows.append(cells)
        self._show("")

    def close(self, st: TrainState) -> None:
        self._show(html.escape(", ".join(filter(None, (st.stop_reason, st.remark)))))
