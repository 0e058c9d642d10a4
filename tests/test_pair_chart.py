"""Two objectives against each other: no axis of per cent goes on behind 100 for nothing."""

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.report.front_charts import pair_chart


def trials(*figures: tuple[float, float]) -> list[FrozenTrial]:
    return [
        create_trial(
            state=TrialState.COMPLETE,
            value=sum(pair) / 2,
            user_attrs={"figures": dict(zip(("reasoning", "perception"), pair, strict=True))},
        )
        for pair in figures
    ]


@pytest.mark.parametrize(
    ("figures", "right", "top"),
    [
        ([(0.5, 1.0), (0.6, 1.0)], 61, 100.4),
        ([(0.5, 0.2), (1.0, 0.9)], 100.4, 94),
        ([(1.5, 0.2), (0.5, 0.9)], 156, 94),  # no share of 100: a score of its own
    ],
)
def test_axes_end_where_the_values_can(
    figures: list[tuple[float, float]], right: float, top: float
) -> None:
    chart = pair_chart(trials(*figures), 0, ("reasoning", "perception"))
    (axis,) = chart.figure.axes
    assert axis.get_xlim()[1] == pytest.approx(right, abs=1)
    assert axis.get_ylim()[1] == pytest.approx(top, abs=1)
