"""A finished study as one folder: checkpoint, recipe, report and lineage; pushed when asked."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from merge_ops.atomic import check_free, new_folder
from merge_ops.errors import UserError, first_line
from merge_ops.recipe_yaml import read_recipe
from merge_ops.runtime import Runtime
from studies.console import warn
from studies.export import SHARD_SIZE, build_checkpoint, check_models
from studies.lineage import LINEAGE, lineage
from studies.mistaken import no_study
from studies.paths import RECIPE
from studies.report.page import write_report
from studies.report.place import own_place

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def release(
    folder: Path,
    out: Path,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    shard_size: str = SHARD_SIZE,
    reward_code: bool = False,
    overwrite: bool = False,
) -> None:
    """Write the study of a folder to `out`, which appears under its name only when it is whole.

    `out` is the checkpoint itself (transformers loads it), with `report.html`, its pictures, and
    `lineage.json` beside the files that `studies.export.export` writes.

    Args:
        folder: the study's.
        out: the folder.
        device: as for `studies.export.build_checkpoint`, like all that follow.
        dtype: of the written weights.
        shard_size: of the largest weight file.
        reward_code: write code that loads a reward model in one line.
        overwrite: replace `out` if it exists.

    Raises:
        UserError: the study has not chosen yet, `out` may not be written, or a model is missing.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise no_study(
            folder,
            f"it holds no {RECIPE}; a study has one when it has ended "
            f"(`mergetuna status {folder}`).",
        )
    check_free(out, overwrite=overwrite)
    runtime = Runtime(device, report=warn)
    recipe = read_recipe(path)
    check_models(recipe, out)
    made_of = lineage(folder, recipe)
    with new_folder(out, overwrite=overwrite) as scratch:
        build_checkpoint(
            path,
            scratch,
            runtime=runtime,
            dtype=dtype,
            shard_size=shard_size,
            reward_code=reward_code,
            overwrite=True,
        )
        write_report(folder, own_place(scratch))
        text = json.dumps(made_of, indent=1)
        (scratch / LINEAGE).write_text(text + "\n", encoding="utf-8")


def check_repository(name: str) -> str:
    """The name of a repository on the hub.

    Raises:
        UserError: it is none.
    """
    if not _REPOSITORY.fullmatch(name):
        raise UserError(f"--push must be like owner/name, but got {name!r}.")
    return name


def check_token() -> None:
    """Refuse to begin hours of work that could not be pushed.

    Raises:
        UserError: nobody is logged in.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise UserError("--push needs a token: run `hf auth login`, or set HF_TOKEN.")


def push(folder: Path, repository: str) -> str:
    """Upload a folder to a repository of the hub, which is created, private, if there is none.

    Args:
        folder: what is uploaded.
        repository: `owner/name`.

    Returns:
        The address of its page.

    Raises:
        UserError: no token, no permission, or no network.
    """
    from huggingface_hub import HfApi

    with _one_line(repository, kept=f"{folder} is kept"):
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Upload by Mergetuna"
        )
    return f"https://huggingface.co/{repository}"


@contextmanager
def _one_line(repository: str, kept: str) -> Iterator[None]:
    """The hub's errors as a user's mistake, in one line; what was built is kept."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    transport: type[Exception] = HfHubHTTPError.__bases__[0]  # of the hub's HTTP library
    try:
        yield
    except LocalTokenNotFoundError:
        raise UserError(
            f"{repository}: the hub wants a token: run `hf auth login`. {kept}."
        ) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        hint = " The token may not write there." if status in (401, 403) else ""
        raise UserError(
            f"{repository}: the hub refused ({first_line(error)}).{hint} {kept}."
        ) from None
    except (OSError, ValueError, transport) as error:
        raise UserError(f"{repository}: not uploaded: {first_line(error)}. {kept}.") from None
