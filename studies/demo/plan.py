"""Plan: how long, how fast and on what mixture of data each model of the zoo is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

Mixture = tuple[tuple[str, float], ...]  # (source of examples, share of the batch)


@dataclass(frozen=True, slots=True)
class Steps:
    """The length and the pace of one training run.

    Attributes:
        count: optimiser steps.
        rate: peak learning rate.
        batch: examples a step (preference pairs for the reward model).
        mixture: where the examples come from.
    """

    count: int
    rate: float
    batch: int = 48
    mixture: Mixture = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The training runs of the zoo; the values are those of the shipped models."""

    vision: Steps = Steps(1000, 2e-3, batch=64)
    base: Steps = Steps(
        350,
        3e-3,
        mixture=(
            ("perception", 0.60),
            ("places", 0.10),
            ("guesses", 0.07),
            ("facts", 0.15),
            ("sums", 0.08),
        ),
    )
    math: Steps = Steps(
        350, 1e-3, mixture=(("reasoning", 0.6), ("perception", 0.35), ("sums", 0.05))
    )
    align: Steps = Steps(300, 5e-3, batch=64)
    vlm: Steps = Steps(200, 7e-4, mixture=(("perception", 1.0),))
    reward: Steps = Steps(450, 1e-3, batch=32)
    skills: dict[str, Steps] = field(
        default_factory=lambda: {
            "skill_places": Steps(80, 5e-4, mixture=(("places", 0.8), ("perception", 0.2))),
            "skill_compare": Steps(100, 5e-4, mixture=(("compare", 0.8), ("perception", 0.2))),
            "skill_sums": Steps(150, 1e-3, mixture=(("arithmetic", 0.8), ("perception", 0.2))),
        }
    )
