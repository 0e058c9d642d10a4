"""What a process that never imports the project reads from exports; run as a script.

    python exported.py ANSWERS FOLDER... --suspects FOLDER...

Everything here is plain transformers. ANSWERS gets, for each folder, logits of the language model,
scores of the one-line loader for padding on both sides, and a sum of every tensor. Suspects are
folders whose modeling file was tampered with.
"""

import hashlib
import sys
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_layers import GenericForSequenceClassification

IDS = [[5, 17, 40, 9, 77], [30, 8, 61], [11, 12, 13, 14, 15, 16, 90, 33]]
"""Rows of text; their last tokens are told apart by the attention mask alone."""
PAD = 7


def padded(side: str) -> dict[str, torch.Tensor]:
    """The rows of `IDS` as one batch: ids and mask (3, 8)."""
    longest = max(map(len, IDS))
    fill = [[PAD] * (longest - len(row)) for row in IDS]
    left = side == "left"
    ids = [f + r if left else r + f for f, r in zip(fill, IDS, strict=True)]
    rows = [
        [0] * len(f) + [1] * len(r) if left else [1] * len(r) + [0] * len(f)
        for f, r in zip(fill, IDS, strict=True)
    ]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(rows)}


def typed(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inputs; PaliGemma's processor also says that they are a prompt, read in both ways."""
    if model.config.model_type == "paligemma":
        return {**inputs, "token_type_ids": torch.zeros_like(inputs["input_ids"])}
    return inputs


def sums(model: Any) -> dict[str, str]:
    """A sum of every parameter and buffer in memory, by name."""
    state = model.state_dict().items()
    return {n: hashlib.sha256(t.numpy().tobytes()).hexdigest() for n, t in state}


@torch.no_grad()
def plain(folder: str) -> dict[str, Any]:
    """The folder as the model that its config names, by `AutoModelForMultimodalLM` if it can."""
    config: Any = AutoConfig.from_pretrained(folder)
    auto: Any = transformers.AutoModelForMultimodalLM
    kind = getattr(transformers, config.architectures[0])
    loader = auto if type(config) in auto._model_mapping else kind
    model, info = loader.from_pretrained(folder, output_loading_info=True)
    assert type(model) is kind
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[problem], (folder, problem, info[problem])
    logits = model.eval()(**typed(model, {"input_ids": torch.tensor(IDS[:1])})).logits
    return {"logits": logits, "sums": sums(model)}


@torch.no_grad()
def one_line(folder: str) -> dict[str, Any]:
    """Scores of the reward model, by the loader in the card; or why it refuses."""
    auto: Any = AutoModelForSequenceClassification
    try:
        model = auto.from_pretrained(folder, trust_remote_code=True)
    except RuntimeError as error:
        return {"refused": str(error)}
    sides = ("left", "right")
    return {side: model(**typed(model, padded(side))).logits[:, 0] for side in sides}


def naive(folder: str, *, as_the_librarys: bool) -> int:
    """How many tensors a new class name leaves random, without an exception.

    Args:
        folder: the checkpoint.
        as_the_librarys: the class claims to be one of transformers' own modules.
    """
    config: Any = AutoConfig.from_pretrained(folder, num_labels=1)
    kind = getattr(transformers, config.architectures[0])
    base = next(k for k in kind.__mro__[1:] if issubclass(k, PreTrainedModel))
    module = kind.__module__ if as_the_librarys else __name__
    body = {"__module__": module, "config_class": type(config)}
    made: Any = type("NaiveRewardModel", (GenericForSequenceClassification, base), body)
    _, info = made.from_pretrained(folder, config=config, output_loading_info=True)
    return len(set(info["missing_keys"]) - {"score.weight"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    answers, rest = sys.argv[1], sys.argv[2:]
    cut = rest.index("--suspects")
    found: dict[str, Any] = {}
    for folder in rest[cut + 1 :]:  # first: a registration holds for the whole process
        random = {str(own): naive(folder, as_the_librarys=own) for own in (True, False)}
        found[folder] = {**one_line(folder), "random": random}
    auto: Any = AutoModelForSequenceClassification
    auto._model_mapping._extra_content.clear()  # else the first class of a config serves all
    found |= {folder: {**plain(folder), **one_line(folder)} for folder in rest[:cut]}
    assert not {"merge_ops", "objectives", "search", "studies"} & sys.modules.keys()
    torch.save(found, answers)
