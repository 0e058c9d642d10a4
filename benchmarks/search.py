"""Runs `sampling.py`, with this folder last on the path: the file is named as a package."""

import runpy
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
sys.path.append(str(here))
runpy.run_path(str(here / "sampling.py"), run_name="__main__")
