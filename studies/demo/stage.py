"""The demo's folder: the zoo's models, evaluation data and study files."""

import shutil
from pathlib import Path

from merge_ops.atomic import write_text
from studies.demo.zoo import MODELS_FOLDER, verify_manifest

STUDIES = ("reasoning", "preference")
FURTHER = ("skills",)
"""Study files that lie ready but are no part of the demo itself."""
_TEMPLATES = Path(__file__).parents[1] / "templates"


def stage_demo(out: Path, trials: int, seed: int, zoo: Path = MODELS_FOLDER) -> list[Path]:
    """Lay out the demo in `out`; returns the study files of the demo's own studies.

    Args:
        out: gets models/, data/ and one study file per study.
        trials: budget of each search.
        seed: of the searches.
        zoo: the models, as shipped or as `mergetuna zoo build` made them.

    Raises:
        ZooError: a model's file differs from the manifest.
    """
    from studies.demo.data import write_data

    verify_manifest(zoo)
    shutil.copytree(zoo, out / "models", dirs_exist_ok=True)
    write_data(out / "data")
    files = []
    for name in (*STUDIES, *FURTHER):
        text = (_TEMPLATES / f"demo-{name}.yaml").read_text(encoding="utf-8")
        numbers = ", ".join(f'"{number}"' for number in range(28))
        for key, value in {"NUMBERS": numbers, "TRIALS": trials, "SEED": seed}.items():
            text = text.replace(f"@{key}@", str(value))
        files.append(out / f"{name}.yaml")
        write_text(files[-1], text)
    return files[: len(STUDIES)]
