"""Whose chat template formats the prompts: the target's, the reward model's, or a file's."""

from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from merge_ops.processors import load_processor


def apply_template(processor: Any, template: str, reward_head: str | None) -> Any:
    """Give the target's processor the chat template that the recipe names; returns it.

    Args:
        processor: the target's processor or tokenizer.
        template: "target", "reward_head", or a path to a Jinja file.
        reward_head: the reward model's reference.

    Raises:
        UserError: the template does not exist.
    """
    if template == "target":
        return processor
    if template == "reward_head":
        if reward_head is None:
            raise UserError("template: reward_head needs a reward_head, but the recipe has none.")
        chosen = load_processor(reward_head).chat_template
        if not chosen:
            raise UserError(f"{reward_head}: template: reward_head, but it has no chat template.")
    else:
        path = Path(template)
        if not path.is_file():
            raise UserError(
                f"template must be target, reward_head or a file, but there is no {template!r}."
            )
        chosen = path.read_text(encoding="utf-8")
    processor.chat_template = chosen
    return processor
