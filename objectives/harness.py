"""Tasks of lm-evaluation-harness (Gao et al., 10.5281/zenodo.5371628) on the live model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.records import Average, ExampleScore, Split

HARNESS = "lm_eval:"
"""What the source of a task's documents begins with."""


@dataclass(frozen=True, slots=True)
class HarnessObjective:
    """Mean of a task's metric over its documents; text alone, as the harness prompts it.

    Attributes:
        data: the documents of each split; an example's id is its number in the task.
        task: its name in the harness.
        metric: one that the task gives each document a number in [0, 1] for.
        shots: solved examples in front of each document; None for the task's own number.
        folder: where further tasks lie, or None.
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
        _import()
        from lm_eval.evaluator import simple_evaluate

        found = simple_evaluate(
            model=language_model(live, self.rows),
            tasks=[self.task],
            num_fewshot=self.shots,
            samples={self.task: sorted(examples)},  # it numbers them in rising order
            task_manager=_manager(self.folder),
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

    tokenizer = getattr(live.processor, "tokenizer", live.processor)
    return HFLM(pretrained=live.module, tokenizer=tokenizer, backend="causal", batch_size=rows)


def read_documents(task: str, folder: str | None = None) -> tuple[Example, ...]:
    """The documents that a task is evaluated on, numbered.

    Raises:
        ObjectiveError: the harness is not installed, has no such task, or cannot read its data.
    """
    _import()
    try:
        loaded = _manager(folder).load([task])["tasks"]
        docs = [(i, loaded[task].doc_to_text(doc)) for i, doc in enumerate(loaded[task].eval_docs)]
    except Exception as error:  # tasks are files and data of many kinds
        raise ObjectiveError(
            f"lm_eval: the task {task!r} cannot be read: {type(error).__name__}: {error}. "
            "`lm_eval ls tasks` lists those of the harness; a group is not a task."
        ) from None
    return tuple(Example(str(i), str(text), (), {}, "all") for i, text in docs)


@cache
def _manager(folder: str | None) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)


def _import() -> None:
    """Raises ObjectiveError: the harness is not installed."""
    try:
        import lm_eval.tasks  # noqa: F401
    except ImportError as error:
        raise ObjectiveError(
            f"objectives of the kind lm_eval need lm-evaluation-harness, but {error}. Install it "
            "with: pip install 'mergetuna[lm_eval]'"
        ) from None
