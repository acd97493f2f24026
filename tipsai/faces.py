"""The modalities as the command line knows them: which one data or a model belong to, and which options are whose."""

import importlib
import itertools
import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tipsai.core.errors import DataError, SettingError

FACES = {"tabular": "tipsai.tabular.face", "vision": "tipsai.vision.face", "text": "tipsai.text.face"}
WORDS = {"tabular": "tables", "vision": "pictures", "text": "text"}
# Options of `tipsai train` that not every modality has.
OWN = {
    "tabular": ("target", "kind", "ignore"),
    "vision": ("image", "target", "size", "arch", "width", "pretrained", "weights"),
    "text": ("text", "target", "tokenizer"),
}
LOOKED_INTO = 1000  # folders at most, to see what a folder holds


def face(name: str) -> Any:
    """The module that serves a modality: learner(config), predict(learn, source, ...), demo()."""
    return importlib.import_module(FACES[name])


def of_data(config: Mapping[str, Any]) -> str:
    """The modality that the data of a configuration are of: a folder holds pictures or text, a file is a table or text.

    Raises:
        DataError: the file is a picture.
        SettingError: an option is given that this modality does not have, and would be ignored.
    """
    data = Path(config["data"])
    if data.is_file() and _is_picture(data.name):
        raise DataError(f"{data} is a single picture; expected a folder of pictures, a table, or text.")
    name = "vision" if config["image"] else "text" if config["text"] else _held(data, bool(config["target"]))
    for other in FACES:
        strange = [option for option in OWN[other] if config.get(option) is not None and option not in OWN[name]]
        if strange:
            raise SettingError(f"--{strange[0]} is for {WORDS[other]}, and {data} holds {WORDS[name]}; leave it out.")
    return name


def of_model(artifact: str, builder: str | None) -> str:
    """The modality of a model, by what made it.

    Raises:
        DataError: it was made by hand.
    """
    from tipsai.load import BUILDERS

    if builder not in BUILDERS:
        raise DataError(f"{artifact} holds no model for {' or '.join(WORDS.values())}.")
    return BUILDERS[builder].split(".")[1]


def _held(data: Path, has_target: bool) -> str:
    """What data hold, by the endings of names; what is not there is taken for what its name looks like."""
    from tipsai.text.corpus import ENDINGS

    if not data.is_dir():
        if data.suffix.lower() in ENDINGS and not has_target:
            return "text"
        return "tabular" if data.exists() or data.suffix or has_target else "vision"
    names = [name for _, _, names in itertools.islice(os.walk(data), LOOKED_INTO) for name in names]
    texts = sum(Path(name).suffix.lower() in ENDINGS for name in names)
    return "text" if texts > sum(map(_is_picture, names)) else "vision"


def _is_picture(name: str) -> bool:
    return (mimetypes.guess_type(name)[0] or "").startswith("image/")
