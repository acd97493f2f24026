"""Every run of the gallery: its files fill the lists as they are read."""

import importlib
from pathlib import Path

from doctor.faults import FAULTS, HEALTHY, Fault, Run, findings

for file in sorted(Path(__file__).parent.glob("gallery*.py")):
    importlib.import_module(f"doctor.{file.stem}")

__all__ = ["FAULTS", "HEALTHY", "Fault", "Run", "findings"]
