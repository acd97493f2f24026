"""The folder of a run on the command line: what it holds, what it remembers, and whether a run may begin or go on in it."""

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tipsai import faces
from tipsai.core.errors import OutputError, ResumeError, SettingError

FILES = ("config.json", "checkpoint.tips", "model.tips", "history.csv", "metrics.json", "report.html")
COMMON = ("data", "test", "task", "epochs", "minutes", "lr", "bs", "seed", "device")
REMEMBERED = (*COMMON, *dict.fromkeys(option for options in faces.OWN.values() for option in options))


def open_run(given: Mapping[str, Any], out: str | None, resume: bool) -> tuple[Path, dict[str, Any]]:
    """The run's folder and configuration; nothing is written yet.

    Args:
        given: the remembered options, as they were given now.
        out: the folder; by default runs/<data>-<date>-<time>.
        resume: whether to go on with the run in it.

    Raises:
        OutputError: the folder holds a run already, is a file, or would be taken for a model.
        ResumeError: there is no run to go on with, or it was started with other arguments.
    """
    if out is None:
        if resume:
            raise SettingError("--resume needs --out DIR, the folder of the run to go on with.")
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        out = str(Path("runs") / f"{Path(given['data']).stem}-{stamp}")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"--out {folder} is a file; give a folder.")
    if folder.suffix == ".tips" and not folder.exists():
        raise OutputError(
            f"--out {folder} is a model's name; give a folder, such as {folder.with_suffix('')}: "
            "the model goes into it as model.tips, beside its history and its report."
        )
    found = [name for name in FILES if (folder / name).exists()]
    if not resume:
        if found:
            raise OutputError(
                f"{folder} already holds a run ({', '.join(found)}). Give another --out, or --resume to go on with it."
            )
        return folder, dict(given)
    if "config.json" not in found:
        raise ResumeError(
            f"{folder} holds no run to go on with (there is no config.json). Check --out, or start without --resume."
        )
    return folder, _remembered(folder, given)


def _remembered(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run, which what is given now may not contradict."""
    config = read_json(folder / "config.json")
    lacking = [name for name in REMEMBERED if name not in config]
    if lacking:
        raise ResumeError(
            f"{folder / 'config.json'} is no run's configuration: it lacks {', '.join(lacking)}. Start anew with another --out."
        )
    changed = [
        f"\n  {name}: {config.get(name)!r} in the run, {value!r} now"
        for name, value in given.items()
        if value is not None and value != config.get(name)
    ]
    if changed:
        raise ResumeError(
            f"the run in {folder} was started with other arguments:{''.join(changed)}\nGive the old ones, or start anew with another --out."
        )
    return config


def as_json(document: Mapping[str, Any]) -> str:
    """JSON has no word for "not a number" (the roc_auc of a single class); it becomes null."""
    known = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in document.items()}
    return json.dumps(known, indent=1, ensure_ascii=False)


def read_json(path: Path) -> dict[str, Any]:
    """What write_json wrote.

    Raises:
        ResumeError: the file is damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ResumeError(f"{path} is damaged ({error}); start anew with another --out.") from error
    if not isinstance(document, dict):
        raise ResumeError(f"{path} is damaged (it holds no object); start anew with another --out.")
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a document whole, or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    from tipsai.container import writing

    with writing(path) as file:
        file.write(as_json(document).encode() + b"\n")


def write_csv(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes rows whole, or not at all; see write_json."""
    from tipsai.callbacks.loggers import write_csv as write

    write(path, list(rows))
