"""Grafts: a target that became its donor computes what the donor computes, in every family."""

from pathlib import Path

import pytest

from merge_ops.verify import verify_graft
from tests.families import FAMILIES, build, build_text


@pytest.mark.parametrize("name", FAMILIES)
def test_a_grafted_model_says_what_its_donor_says(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]()
    build(family).save_pretrained(tmp_path / "vlm")
    build_text(family.text).save_pretrained(tmp_path / "text")
    verified = verify_graft(str(tmp_path / "vlm"), str(tmp_path / "text"))
    assert verified.compared == "logits"
    assert verified.difference <= 1e-6
    assert verified.largest > 0.1
    assert verified.lent == (("model.embed_tokens.weight",) if name == "mllama" else ())
