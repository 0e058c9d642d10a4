"""What the coordinator needs of workers: idle ones, work for one of them, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from merge_ops.recipe import Recipe
from objectives.records import Split

if TYPE_CHECKING:
    from objectives.evaluation import BlockScores

Ship = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The smallest piece of work: one block of examples, scored on one model.

    Attributes:
        job: whose it is; a number of its own for every candidate of a run.
        index: its place among the candidate's pieces.
        recipe: what the live model becomes.
        variant: which of the study's sets of objectives; see `studies.workers.variants`.
        places: which objectives of that set are scored on this model.
        split: of the examples.
        block: its index among the blocks of those objectives.
    """

    job: int
    index: int
    recipe: Recipe
    variant: str
    places: tuple[int, ...]
    split: Split
    block: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says to a piece.

    Attributes:
        scores: by objective, in the order of `places`.
        build: seconds that writing the weights took; 0 where they were there.
        score: seconds that scoring took.
        memory: the most bytes that the worker held meanwhile, as `merge_ops.peak_memory` says it.
    """

    scores: "BlockScores"
    build: float
    score: float
    memory: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """A worker has scored its piece."""

    worker: str
    piece: Piece
    answer: Answer


@dataclass(frozen=True, slots=True)
class Refused:
    """A piece cannot be scored by anybody; the reason is the candidate's or the data's."""

    worker: str
    piece: Piece
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone, with the pieces that it was given, if any; the first stands here."""

    worker: str
    piece: Piece | None
    reason: str


Event = Done | Refused | Lost


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told to open.

    Attributes:
        file: the study file.
        out: the study's folder.
        identities: sha256 of the models by reference, as the coordinator found them.
        host: where the coordinator runs; on another machine the models are summed again.
        data: digest of the examples and blocks, as the coordinator made them.
        threads: of the CPU, unless the study says how many.
        shard: spread the live model over all devices that the worker sees.
        needs: local files and folders that a worker reads, absolute.
        ship: whether files are sent: "auto", to nodes that lack some; "always"; "never".
        cargo: what they hold, for a node that lacks some; see `studies.workers.shipping`.
    """

    file: str
    out: str
    identities: Mapping[str, str]
    host: str
    data: str
    threads: int = 1
    shard: bool = False
    needs: tuple[str, ...] = ()
    ship: Ship = "auto"
    cargo: Any = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the coordinator must know of a worker's model.

    Attributes:
        layers: number of text layers.
        merged_names: canonical names of the tensors that recipes write.
        vocabulary: which rows of embeddings and head recipes write, in words.
        rows_sha256: of those rows.
        device: where the model lies.
        threads: of the CPU that it uses.
        host: the machine.
        pid: the process.
        notes: what loading said: plans of memory, what was left out.
    """

    layers: int
    merged_names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    rows_sha256: str
    device: str
    threads: int
    host: str
    pid: int
    notes: tuple[str, ...] = ()


class Workers(Protocol):
    """Workers that come and go; each is at what it was given last, or at nothing."""

    def records(self) -> Sequence[Mapping[str, Any]]:
        """How each worker scored, as plain data; see `studies.workers.bench.Bench.record`."""
        ...

    def check(self) -> Sequence[dict[str, Any]]:
        """What one worker finds when it judges first examples again without any shortcut.

        Raises:
            UserError: they cannot be judged.
        """
        ...

    def idle(self) -> Sequence[str]:
        """Names of those that wait for work, in a fixed order."""
        ...

    def give(self, worker: str, pieces: Sequence[Piece]) -> None:
        """Let an idle worker score pieces of one candidate; their results come together."""
        ...

    def events(self, seconds: float) -> Sequence[Event]:
        """What happened, oldest first; waits so long for the first. Lost workers are replaced.

        Raises:
            UserError: no worker is left, and none can be had.
        """
        ...

    def drop(self, worker: str, reason: str) -> None:
        """End a worker that hangs; it is reported as lost."""
        ...

    def now(self) -> float:
        """Seconds on the workers' clock."""
        ...
