"""Tasks of lm-evaluation-harness (Gao et al., 10.5281/zenodo.5371628) on the live model."""

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.prompts import tokenizer_of
from objectives.records import Average, ExampleScore, Split

HARNESS = "lm_eval:"
"""What the source of a task's documents begins with."""
_SEED = 1234  # of the solved examples, as the harness's own


@dataclass(frozen=True, slots=True)
class HarnessObjective:
    """Mean of a task's metric over its documents; text alone, as the harness prompts it.

    Attributes:
        data: the documents of each split; an example's id is its number in the task.
        task: its name in the harness.
        metric: one that the task gives each document a number in [0, 1] for.
        shots: solved examples in front of each document; None for the task's own number.
        folder: where the task lies, if it is not the harness's own.
        rows: of a forward pass.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    task: str
    metric: str = "acc"
    shots: int | None = None
    folder: str | None = None
    average: Average = "micro"
    weight: float = 1.0
    rows: int = 8

    def examples(self, split: Split) -> Sequence[Example]:
        """The documents of one split, in their fixed order."""
        return self.data[split]

    def score(self, live: LiveModel, split: Split) -> Iterator[Sequence[ExampleScore]]:
        """The task's metric of each document of the split.

        Raises:
            ObjectiveError: the harness is not installed, or a document has no such metric in
                [0, 1].
        """
        examples = {int(example.id): example for example in self.data[split]}
        loaded = _loaded(self.task, self.folder, self.shots)
        loaded["tasks"][self.task].set_fewshot_seed(_SEED)  # the same shots for every candidate
        from lm_eval.evaluator import evaluate

        found = evaluate(
            lm=language_model(live, self.rows),
            task_dict=loaded,
            samples={self.task: sorted(examples)},  # it numbers them in rising order
            bootstrap_iters=0,
            log_samples=True,
        )
        told = {sample["doc_id"]: sample for sample in found["samples"][self.task]}
        yield [self._score(told[place], example) for place, example in examples.items()]

    def _score(self, sample: Mapping[str, Any], example: Example) -> ExampleScore:
        value = sample.get(self.metric)
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            known = ", ".join(k for k, v in sample.items() if k in sample["metrics"] and v == v)
            raise ObjectiveError(
                f"{self.name}: {self.task} must give {self.metric} in [0, 1] for each document, "
                f"but gives {value!r} for {example.id}; its metrics are {known}."
            )
        return ExampleScore(example.id, float(value), example.category)


def language_model(live: LiveModel, rows: int) -> Any:
    """The live model as an `lm_eval.api.model.LM`: the harness's own wrapper around its module.

    It answers loglikelihood, loglikelihood_rolling and generate_until with plain forward passes.
    """
    _import()
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=live.module, tokenizer=tokenizer_of(live), backend="causal", batch_size=rows
    )


def read_documents(task: str, folder: str | None = None) -> tuple[Example, ...]:
    """The documents that a task is evaluated on, numbered.

    Raises:
        ObjectiveError: the harness is not installed, has no such task, or cannot read its data.
    """
    _import()  # outside, so that its own message is told
    try:
        own = _loaded(task, folder, None)["tasks"][task]
        docs = [(i, own.doc_to_text(doc)) for i, doc in enumerate(own.eval_docs)]
    except Exception as error:  # tasks are files and data of many kinds
        raise ObjectiveError(
            f"lm_eval: the task {task!r} cannot be read: {type(error).__name__}: {error}. "
            "`lm_eval ls tasks` lists those of the harness; a group is not a task."
        ) from None
    return tuple(Example(str(i), str(text), (), {}, "all") for i, text in docs)


@cache
def _loaded(task: str, folder: str | None, shots: int | None) -> Any:
    """A task as `lm_eval.evaluator.evaluate` takes it; a task of 0 shots keeps them."""
    _import()
    loaded = _manager(folder).load([task])
    own = loaded["tasks"][task]
    if own.get_config("num_fewshot") != 0:
        own.set_config(key="num_fewshot", value=shots or own.get_config("num_fewshot") or 0)
    return loaded


@cache
def _manager(folder: str | None) -> Any:
    """Scanning the harness's own tasks takes seconds; a folder stands for itself."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder, include_defaults=folder is None)


def _import() -> None:
    """Raises ObjectiveError: the harness is not installed."""
    try:
        importlib.import_module("lm_eval.tasks")
    except ImportError as error:
        raise ObjectiveError(
            f"objectives of the kind lm_eval need lm-evaluation-harness, but {error}. Install it "
            "with: pip install 'mergetuna[lm_eval]'"
        ) from None
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of what is meant so
