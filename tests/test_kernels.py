"""Kernels against a plain evaluation in numpy: chunked and compiled, in any cut of the tensor."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from merge_ops import chunks, compilation, kernel_calls, kernels, masks, native
from merge_ops.chunks import chunked
from merge_ops.errors import UserError
from merge_ops.expression import Call, Variant, Work
from merge_ops.formula import Drawn, Formula, Largest
from merge_ops.kernel_calls import calls, variant
from merge_ops.kernels import Kernels
from merge_ops.magnitudes import Place, rank
from merge_ops.masks import Draw, bound
from merge_ops.task_vectors import TINY, largest
from tests.tiny import DEVICES

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
DRAW = Draw(11, "layer.weight")
SELECTIONS = ["all", "above", "between", "drawn"]
ELECTIONS = ["sum", "elect", "shares"]
on_every_device = pytest.mark.parametrize("device", DEVICES)
every_form = pytest.mark.parametrize(
    ("select", "election"), [(s, e) for s in SELECTIONS for e in ELECTIONS]
)
needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler is here"
)
quick = settings(max_examples=12, deadline=None)


@pytest.fixture
def cut() -> Any:
    """Set sizes of chunks or blocks for the rest of a test, also under hypothesis."""
    patch = pytest.MonkeyPatch()

    def set_sizes(*, chunk: int = chunks.CHUNK, block: int = masks.BLOCK) -> None:
        patch.setattr(chunks, "CHUNK", chunk)
        patch.setattr(masks, "BLOCK", block)
        patch.setattr(kernel_calls, "BLOCK", block)

    yield set_sizes
    patch.undo()


def tensors(count: int, n: int, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """Few different values, so that magnitudes tie and sums cancel."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(n, generator=generator) * 3).round().to(dtype) / 8 for _ in range(count)]


def formula_of(select: str, election: str, operands: int, n: int, seed: int = 0) -> Formula:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(3, operands, generator=generator).tolist()
    weights, shares, densities = [2 * w - 0.7 for w in numbers[0]], numbers[1], numbers[2]
    chosen: list[Drawn] | list[Largest] = []
    if select == "drawn":
        chosen = [Drawn(d) for d in densities]
    elif select != "all":
        chosen = [Largest(int(d * n), skip=int((1 - d) * n / 2)) for d in densities]
    if select == "above":
        chosen = [Largest(int(d * n)) for d in densities]
    if select == "between" and not any(isinstance(c, Largest) and c.skip for c in chosen):
        chosen = [Largest(n - 1, skip=1)] * operands
    if election == "sum":
        return Formula(weights, select=chosen)
    kept = shares if election == "shares" else []
    return Formula(weights, select=chosen, elect=True, shares=kept, scale=1.3)


def plain(formula: Formula, base: Tensor | None, operands: Sequence[Tensor]) -> Tensor:
    """The formula as its docstring says it, in numpy, without chunks or thresholds."""
    f = np.float32
    entries: list[Any] = []
    for i, (operand, weight) in enumerate(zip(operands, formula.weights, strict=True)):
        x = operand.cpu().float()
        if formula.select:
            chosen = formula.select[i]
            kept = (
                largest(x.abs(), chosen.count, skip=chosen.skip)
                if isinstance(chosen, Largest)
                else DRAW.uniform(i, x) < chosen.density
            )
            x = torch.where(kept, x, 0.0)
        entries.append(x.numpy() * f(weight))
    total = sum(entries[1:], start=entries[0])
    if formula.elect:
        positive = total >= 0
        agree = [np.where(positive, e > 0, e < 0) for e in entries]
        zero = np.zeros_like(total)
        parts = [np.where(a, e, f(0)) for a, e in zip(agree, entries, strict=True)]
        total = sum(parts[1:], start=parts[0])
        if formula.shares:
            each = [np.where(a, f(s), zero) for a, s in zip(agree, formula.shares, strict=True)]
            whole = sum(each[1:], start=each[0])
            total = total / np.where(np.abs(whole) < TINY, f(1), whole)
        total = total * f(formula.scale)
    if base is not None:
        total = base.cpu().float().numpy() + total
    return torch.from_numpy(np.asarray(total, np.float32)).to(operands[0].dtype)


def run(
    formula: Formula,
    base: Tensor | None,
    operands: Sequence[Tensor],
    *,
    cuts: bool = False,
    kernel: Callable[..., None] | None = None,
) -> Tensor:
    """All calls of a kernel that make up one tensor, as the engine makes them."""
    out = torch.full_like(operands[0], float("nan"))
    form = variant(formula, len(operands), added=base is not None, cuts=cuts)

    def end(x: Tensor, k: int) -> Place:
        return rank(x, small=0 if x.numel() % 2 else 1 << 15)(x, k)

    ends = [partial(end, x) for x in operands] if formula.select else []
    needed = list(calls(form, formula, out.numel(), ends, DRAW))
    starts, stops = [call.start for call in needed], [call.stop for call in needed]
    assert [*starts, out.numel()] == [0, *stops]
    assert all(call.start < call.stop for call in needed)
    (kernel or chunked(form))([Work(out, base, operands, needed)])
    return out


@on_every_device
@every_form
@pytest.mark.parametrize("cuts", [False, True])
@quick
@given(data=st.data())
def test_chunks_give_what_a_plain_evaluation_gives(
    device: str, select: str, election: str, cuts: bool, data: st.DataObject
) -> None:
    operands, n = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 2, 50, 333]))
    if n == 1 and select == "between":
        n = 2
    dtype, seed = data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(0, 99))
    formula = formula_of(select, election, operands, n, seed)
    base, *others = (x.to(device) for x in tensors(operands + 1, n, dtype, seed))
    added = base if data.draw(st.booleans()) else None
    form = variant(formula, operands, added=added is not None, cuts=cuts)
    assert form == Variant(
        operands,
        added is not None,
        select,  # type: ignore[arg-type]
        cuts and select in ("above", "between"),
        election != "sum",
        election == "shares",
    )
    got = run(formula, added, others, cuts=cuts).cpu()
    assert torch.equal(got, plain(formula, added, others))


@every_form
def test_sizes_of_chunks_and_numbers_of_threads_do_not_matter(
    select: str, election: str, cut: Callable[..., None]
) -> None:
    few, many = 300, 70_000  # elements; torch shares work among threads from 32,768 on
    formula = formula_of(select, election, 3, many)
    base, *others = tensors(4, many, torch.bfloat16)
    want = run(formula, base, others)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(run(formula, base, others), want)
    finally:
        torch.set_num_threads(threads)
    formula = formula_of(select, election, 3, few)
    base, *others = (x[:few] for x in (base, *others))
    want = run(formula, base, others)
    cut(chunk=7)
    for cuts in (False, True):
        assert torch.equal(run(formula, base, others, cuts=cuts), want)


@on_every_device
@every_form
def test_blocks_leave_no_seam(
    device: str, select: str, election: str, cut: Callable[..., None]
) -> None:
    """Tensors of more than 2^30 elements, with blocks of 10 instead."""
    n = 45
    formula = formula_of(select, election, 3, n)
    base, *others = (x.to(device) for x in tensors(4, n, torch.float32))
    free = run(formula, base, others).cpu()
    cut(block=10, chunk=4)
    for cuts in (False, True):
        got = run(formula, base, others, cuts=cuts).cpu()
        assert torch.equal(got, plain(formula, base, others))
        assert torch.equal(got, free) == (select != "drawn")  # each block has keys of its own


def test_a_tensor_of_more_than_2_to_the_31_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def note(_form: Variant, out: Tensor, *rest: Any) -> None:
        seen.append((out.numel(), int(rest[-1][0])))

    monkeypatch.setattr(chunks, "evaluate", note)
    monkeypatch.setattr(chunks, "CHUNK", 1 << 30)
    n = (1 << 32) + 5
    big = torch.empty(1, dtype=torch.bfloat16).expand(n)
    for select in SELECTIONS:
        form = variant(formula_of(select, "sum", 1, 50), 1, added=False, cuts=False)
        ends = [lambda k: (1.0 / (k + 1), 3)]
        for call in calls(form, formula_of(select, "sum", 1, 50), n, ends, DRAW):
            chunked(form)([Work(big, None, [big], [call])])
        assert sum(count for count, _ in seen) == n
        seen.clear()


@given(density=st.just(0.0) | st.floats(1e-30, 1), near=st.integers(-2, 2))
@example(density=0.5960465, near=0)  # float32 rounds it to another multiple of 2^-24
def test_the_integer_bound_agrees_with_a_comparison_of_tensors(density: float, near: int) -> None:
    """`u < density` for the numbers u beside the density, where rounding could show."""
    step = min(max(int(density * (1 << 24)) + near, 0), (1 << 24) - 1)
    u = torch.tensor([step / (1 << 24)])
    number = (step << 8) - (1 << 31)  # the lowest int32 that gives u
    assert bool(u < density) == (number <= bound(density)) or density == 0


def test_what_cannot_be_selected_is_not_reached() -> None:
    """Counts beyond the tensor and of nothing."""
    (x,) = tensors(1, 9, torch.float32)
    for count, skip, kept in ((0, 0, 0), (99, 0, 9), (0, 4, 0), (4, 99, 0), (99, 4, 5)):
        x = torch.arange(1.0, 10.0)
        formula = Formula([1.0], select=[Largest(count, skip)])
        for cuts in (False, True):
            assert run(formula, None, [x], cuts=cuts).count_nonzero() == kept


QUICK = [
    ("above", "shares", torch.bfloat16),
    ("between", "sum", torch.bfloat16),
    ("drawn", "elect", torch.float32),
    ("all", "sum", torch.float16),
]
FORMS = [(s, e, d) for s in SELECTIONS for e in ELECTIONS for d in DTYPES]
ALL = [pytest.param(*f, marks=[] if f in QUICK else pytest.mark.slow, id=str(f)) for f in FORMS]


@needs_compiler
@pytest.mark.parametrize(("select", "election", "dtype"), ALL)
def test_compiled_kernels_give_the_bits_of_the_chunks(
    select: str, election: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """In all lengths that a step of the loop can be cut to, and whatever the zeros' signs."""
    compiled = Kernels("compiled", folder=tmp_path)
    for operands, n in [(1, 9), (3, 1), *((2, n) for n in (2, *range(15, 35), 200_003))]:
        if n == 1 and select == "between":
            continue
        formula = formula_of(select, election, operands, n, seed=n)
        base, *others = tensors(operands + 1, n, dtype, seed=n)
        base *= torch.arange(n) % 3 > 0  # of both signs
        for added, cuts in ((base, n % 2 == 0), (None, False)):
            if operands != 2 and added is None:
                continue
            form = variant(formula, operands, added=added is not None, cuts=cuts)
            kernel = compiled.get(form, dtype, CPU)
            got = run(formula, added, others, cuts=cuts, kernel=kernel)
            want = run(formula, added, others, cuts=cuts)
            assert torch.equal(bits(got), bits(want)), (operands, n, cuts)


def bits(x: Tensor) -> Tensor:
    return x.view(torch.int32 if x.dtype == torch.float32 else torch.int16)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_compiled_kernels_round_as_tensors_do(dtype: torch.dtype, tmp_path: Path) -> None:
    """Halfway cases, denormals, the largest values, what overflows, and infinite entries."""
    limits = torch.finfo(dtype)
    x = torch.cat([torch.linspace(1, 2, 5000), torch.tensor([limits.max, limits.max / 2])])
    x = torch.cat([x, x * limits.smallest_normal, torch.tensor([0.0, float("inf"), -3.0])])
    x = torch.cat([x, -x]).to(dtype)
    compiled = Kernels("compiled", folder=tmp_path)
    form = variant(Formula([1.0], select=[Largest(1)]), 1, added=True, cuts=False)
    for weight in (0.0, 1.0, -1.5, 0.1, 3e-7, 1e30):
        for low in (0.0, 1.5, 2e9):
            call = Call(0, len(x), [weight, low], [0])
            got, want = torch.empty_like(x), torch.empty_like(x)
            compiled.get(form, dtype, CPU)([Work(got, x.flip(0), [x], [call])])
            chunked(form)([Work(want, x.flip(0), [x], [call])])
            assert torch.equal(got.isnan(), want.isnan())
            assert torch.equal(bits(got[~got.isnan()]), bits(want[~want.isnan()]))


@needs_compiler
def test_compiled_kernels_share_work_among_threads(tmp_path: Path) -> None:
    n = 3 * (1 << 16) + 5
    formula = formula_of("drawn", "shares", 2, n)
    base, *others = tensors(3, n, torch.bfloat16)
    form = variant(formula, 2, added=True, cuts=False)
    kernel = Kernels("compiled", folder=tmp_path).get(form, torch.bfloat16, CPU)
    want = run(formula, base, others, kernel=kernel)
    threads = torch.get_num_threads()
    try:
        for count in (2, 3):
            torch.set_num_threads(count)
            assert torch.equal(run(formula, base, others, kernel=kernel), want)
    finally:
        torch.set_num_threads(threads)


@needs_compiler
@pytest.mark.parametrize("count", [1, 2, 3])
def test_tensors_that_are_written_together_are_written_as_alone(
    count: int, tmp_path: Path
) -> None:
    """Small ones, some of several calls, and ones that are cut among threads."""
    lengths = [1, 7, (1 << 16) + 3, 300, (1 << 19) + 41, 5]
    form = Variant(2, True, "above", elect=True, shares=True)
    kernel = Kernels("compiled", folder=tmp_path).get(form, torch.bfloat16, CPU)
    together, alone = list[Work](), list[Work]()
    for n in lengths:
        base, *others = tensors(3, n, torch.bfloat16, seed=n)
        numbers = [0.3, 0.7, 0.2, 0.4, 1.1, 0.1 * n % 2, 0.2]
        cut = n // 3
        made = [Call(0, cut, numbers, [0]), Call(cut, n, [2 * x for x in numbers], [0])]
        for works in (together, alone):
            works.append(Work(torch.zeros_like(base), base, others, made[not cut :]))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(count)
        kernel(together)
    finally:
        torch.set_num_threads(threads)
    for one, own in zip(together, alone, strict=True):
        chunked(form)([own])
        assert torch.equal(one.out, own.out)


@needs_compiler
def test_a_compiled_kernel_is_kept(tmp_path: Path) -> None:
    form, said = Variant(2, True, "above"), list[str]()
    Kernels("compiled", folder=tmp_path, report=said.append).get(form, torch.bfloat16, CPU)
    (told,) = said
    assert told.startswith("compiling added-2-above for cpu")
    (library,) = tmp_path.iterdir()
    assert library.suffix == ".so"
    Kernels("compiled", folder=tmp_path, report=said.append).get(form, torch.bfloat16, CPU)
    assert len(said) == 1  # loaded, not compiled again


@needs_compiler
def test_what_the_compiler_refuses_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "FLAGS", ("-fno-such-flag",))
    with pytest.raises(UserError, match=r"compiled here: .* failed: .*no-such-flag"):
        Kernels("compiled", 1, tmp_path).get(Variant(1, True), torch.float32, CPU)
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_kernels_run_in_chunks_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand much more")

    monkeypatch.setattr(compilation, "_compile", fail)
    said: list[str] = []
    auto = Kernels("auto", kernels.WORTHWHILE, tmp_path, said.append)
    form = variant(formula_of("all", "sum", 2, 40), 2, added=True, cuts=False)
    base, *others = tensors(3, 40, torch.float32)
    formula = formula_of("all", "sum", 2, 40)
    kernel = auto.get(form, torch.float32, CPU)
    assert torch.equal(run(formula, base, others, kernel=kernel), plain(formula, base, others))
    auto.get(replace(form, elect=True), torch.float32, CPU)
    assert said[1:] == ["kernels run uncompiled: No working C++ compiler found"]  # once
    with pytest.raises(UserError, match="cannot be compiled here: No working C\\+\\+ compiler"):
        Kernels("compiled", 1, tmp_path).get(form, torch.float32, CPU)
    few = Kernels("auto", kernels.WORTHWHILE - 1, tmp_path, said.append)
    few.get(form, torch.float32, CPU)
    assert len(said) == 2


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["CXX", "PATH"])
def test_a_machine_without_a_compiler(variable: str, tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from merge_ops.kernels import Kernels; from merge_ops.expression import Variant\n"
        "k = Kernels(sys.argv[1], 1 << 30, Path(sys.argv[2]), print)\n"
        "k.get(Variant(1, True), torch.float32, torch.device('cpu')); print(k.mode)"
    )
    place = {**os.environ, variable: "/nowhere/g++", "PYTHONPATH": str(Path.cwd())}
    told = {}
    for mode in ("auto", "compiled"):
        told[mode] = subprocess.run(
            [sys.executable, "-c", code, mode, str(tmp_path)],
            env=place,
            capture_output=True,
            text=True,
            check=False,
        )
    assert told["auto"].returncode == 0
    assert "kernels run uncompiled: no C++ compiler is here" in told["auto"].stdout
    assert told["auto"].stdout.splitlines()[-1] == "eager"
    assert "UserError: kernels cannot be compiled here" in told["compiled"].stderr


def test_packages_are_kept_apart_by_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold code for the very machine, and a home folder may be shared by several."""
    here = compilation._file_name(Variant(1, True), torch.float32, CPU)
    assert here == compilation._file_name(Variant(1, True), torch.float32, CPU)
    monkeypatch.setattr(compilation, "_processor", lambda: b"another one")
    assert here != compilation._file_name(Variant(1, True), torch.float32, CPU)


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("start", [0, 1, 7])
def test_large_results_go_past_the_cache_and_are_the_same(dtype: torch.dtype, start: int) -> None:
    """Wherever they begin and end: such stores must be aligned."""
    n = (1 << 20) // dtype.itemsize + 37
    base, x = (t[start:] for t in tensors(2, n + start, dtype))
    form = Variant(1, added=True)
    call = Call(start, n - 3, [0.3], [0])
    got, want = torch.zeros_like(x), torch.zeros_like(x)
    Kernels("compiled").get(form, dtype, CPU)([Work(got, base, [x], [call])])
    chunked(form)([Work(want, base, [x], [call])])
    assert torch.equal(got, want)
    assert int(got.count_nonzero()) > n // 2
