"""Categories that a data set keeps in its ids."""

from typing import Literal

VlRewardBenchCategory = Literal["general", "hallucination", "reasoning"]


def vl_rewardbench_category(example_id: str) -> VlRewardBenchCategory:
    """The category of a VL-RewardBench item, by the rule of arXiv:2502.13487's release."""
    if "mmmu_pro" in example_id or "mathverse" in example_id:
        return "reasoning"
    if any(part in example_id for part in ("hallucination_pair", "RLAIF-V", "RLHF-V")):
        return "hallucination"
    return "general"
