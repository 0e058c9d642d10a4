"""A small modeling file beside an exported reward model, so that transformers loads it in a line.

Transformers renames tensors on disk to its names in memory by tables that are keyed by class name
(Qwen2-VL, Qwen2.5-VL, Qwen2.5-Omni) or by model type, and reads neither for a class that is not
its own. Under a new class name the whole language model is then random, without an exception. The
file registers the table of the model's own class for the new name, and raises unless what was
missing is the score head or nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import transformers
from torch import nn

from merge_ops.errors import UserError
from merge_ops.loading import HEAD_FILE

REWARD_FILE = "modeling_reward.py"

_CODE = '''\
"""{name}: {kind} without its language-model head, and a score head.

Written by Mergetuna for transformers {version}. One line loads it:

    AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
"""

import torch
from safetensors.torch import load_file
from torch import nn
from transformers.conversion_mapping import (
    get_checkpoint_conversion_mapping,
    register_checkpoint_conversion_mapping,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import cached_file, logging
from {config_module} import {config}
from {module} import {base}, {inner}

HEAD = "{head}"
PLACE = ("cache_dir", "local_files_only", "revision", "subfolder", "token")

# The library finds names on disk by class name or model type, and for classes that are not its own
# only if they are registered; what it does not find is random, without an exception.
names = get_checkpoint_conversion_mapping("{kind}")
if names is None:
    names = get_checkpoint_conversion_mapping("{model_type}")
if names is not None:
    register_checkpoint_conversion_mapping("{name}", names, overwrite=True)


class {name}({base}):
    """Scores conversations: logits (B, 1), read off the last token that counts."""

    config_class = {config}
    base_model_prefix = "{prefix}"

    def __init__(self, config):
        config.num_labels = 1
        super().__init__(config)
        self.{prefix} = {inner}(config)
        self.score = nn.Linear(config.get_text_config().hidden_size, 1, bias={bias})
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **inputs):
        """Inputs as a processor gives them, padded on either side."""
        inputs |= dict(input_ids=input_ids, attention_mask=attention_mask)
        hidden = self.{prefix}(**inputs).last_hidden_state  # (B, T, H)
        last = torch.full(hidden.shape[:1], -1, device=hidden.device)
        if attention_mask is not None:
            place = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)
            last = (attention_mask.to(hidden.device) * place).argmax(-1)
        rows = torch.arange(len(hidden), device=hidden.device)
        return SequenceClassifierOutput(logits=self.score(hidden[rows, last]))

    @classmethod
    def from_pretrained(cls, folder, *args, output_loading_info=False, **kwargs):
        """As usual; what the weights lack must be the score head, which has a file of its own."""
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # that the score head is missing is as it should be
        try:
            model, info = super().from_pretrained(
                folder, *args, output_loading_info=True, **kwargs
            )
        finally:
            logging.set_verbosity(verbosity)
        score = {{f"score.{{key}}" for key in model.score.state_dict()}}
        missing = set(info["missing_keys"])
        if missing not in (set(), score) or info["mismatched_keys"]:
            wrong = sorted(map(str, (missing - score) | set(info["mismatched_keys"])))
            raise RuntimeError(
                f"{{folder}}: only the score head may be missing from the weights of {name}, "
                f"but {{len(wrong)}} tensors are, and would be random: {{wrong[:3]}}. "
                "The file was written for transformers {version}; the model card has lines that "
                "load the model without it."
            )
        if missing:
            if model.score.weight.is_meta:
                raise RuntimeError("the score head must not be offloaded; change device_map.")
            place = {{key: kwargs[key] for key in PLACE if key in kwargs}}
            tensors = load_file(cached_file(folder, HEAD, **place))
            model.score.load_state_dict(
                {{key.removeprefix("score."): value for key, value in tensors.items()}}
            )
            info["missing_keys"] = type(info["missing_keys"])()
        return (model, info) if output_loading_info else model
'''


def check_reward_code(module: nn.Module) -> None:
    """Refuse a model for which no modeling file can be written.

    Raises:
        UserError: it is not one module with hidden states, of the same config, and a head.
    """
    kind, inner = type(module), getattr(module, "base_model", module)
    same = type(getattr(inner, "config", None)) is type(getattr(module, "config", None))
    if inner is module or not same or not kind.__module__.startswith("transformers."):
        raise UserError(
            f"--reward-code needs a model of transformers that is one inner model and a head, but "
            f"{kind.__name__} is not; leave it out, the model card has lines that load the export."
        )


def write_reward_code(module: nn.Module, score_head: nn.Module, folder: Path) -> None:
    """Write the modeling file, and name it in config.json for AutoModelForSequenceClassification.

    Args:
        module: the live vision-language model, whose checkpoint `folder` already holds.
        score_head: hidden size -> 1.
        folder: of the checkpoint.
    """
    kind, config = type(module), type(module.config)
    bases = [b for b in kind.__mro__[1:] if issubclass(b, transformers.PreTrainedModel)]
    stem = kind.__name__.removesuffix("ForConditionalGeneration").removesuffix("ForCausalLM")
    name = f"{stem}RewardModel"
    text = _CODE.format(
        name=name,
        kind=kind.__name__,
        version=transformers.__version__,
        module=kind.__module__,
        config_module=config.__module__,
        config=config.__name__,
        base=bases[0].__name__,
        inner=type(module.base_model).__name__,
        prefix=module.base_model_prefix,
        model_type=module.config.model_type,  # type: ignore[union-attr]
        head=HEAD_FILE,
        bias=getattr(score_head, "bias", None) is not None,
    )
    (folder / REWARD_FILE).write_text(text, encoding="utf-8")
    reference = f"{Path(REWARD_FILE).stem}.{name}"
    name_code(folder, {"AutoModelForSequenceClassification": reference})


def name_code(folder: Path, code: Mapping[str, str]) -> None:
    """Let config.json name this code (class by auto class) and no other."""
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("auto_map", None)
    content |= {"auto_map": code} if code else {}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
