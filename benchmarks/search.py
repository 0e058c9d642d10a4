"""Runs `sampling.py`, with this folder behind the packages: the file is named as one of them."""

import runpy
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
others = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
sys.path[:] = [str(here.parent), *others, str(here)]
runpy.run_path(str(here / "sampling.py"), run_name="__main__")
