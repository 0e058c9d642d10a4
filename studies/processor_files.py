"""What of a checkpoint is neither weights nor config: tokenizer, processor, chat template."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

from merge_ops.hub import model_folder
from merge_ops.recipe import Recipe
from merge_ops.resident import ResidentModel

_TEMPLATE = "chat_template.jinja"
_OLDER_PLACES = ("chat_template.json", "tokenizer_config.json")
"""Where the template stands under the key `chat_template` if it has no file of its own."""

_PATTERNS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "*processor_config.json",
    "chat_template*",
    "additional_chat_templates/*",
)


def processor_files(recipe: Recipe) -> dict[str, Path]:
    """Files of the target's tokenizer and processor, by their names in a checkpoint."""
    source = model_folder(recipe.kept_from())
    found = {path for pattern in _PATTERNS for path in source.glob(pattern) if path.is_file()}
    return {str(path.relative_to(source)): path for path in sorted(found)}


def write_processor(resident: ResidentModel, recipe: Recipe, folder: Path) -> None:
    """Copy the target's files as they are; put in the chat template that the recipe names.

    Raises:
        UserError: the target has no processor that another template could be given to.
    """
    for name, path in processor_files(recipe).items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / name)
    if recipe.template != "target":
        (folder / _OLDER_PLACES[0]).unlink(missing_ok=True)  # so that there is one template
        (folder / _TEMPLATE).write_text(resident.processor.chat_template, encoding="utf-8")


def with_template(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe; its provenance says whose chat template the checkpoint in `folder` holds."""
    text = _template_in(folder)
    if text is None:
        return recipe
    sources = {"target": recipe.kept_from(), "reward_head": recipe.reward_head or ""}
    facts = {
        "of": recipe.template.replace("_", " ") if recipe.template in sources else "file",
        "source": Path(sources.get(recipe.template, recipe.template)).name,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return replace(recipe, provenance={**recipe.provenance, "chat_template": facts})


def _template_in(folder: Path) -> str | None:
    """The text of the chat template, wherever the checkpoint has it."""
    if (folder / _TEMPLATE).is_file():
        return (folder / _TEMPLATE).read_text(encoding="utf-8")
    for path in (folder / name for name in _OLDER_PLACES):
        if path.is_file():
            text = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
            if isinstance(text, str):
                return text
    return None
