"""Merge methods, the recipe, and the live model that becomes what a recipe says."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from merge_ops.tensor_merge import merge_tensor as merge_tensor

__all__ = ["merge_tensor"]


def __getattr__(name: str) -> Any:
    """Import `merge_tensor` on first use: it needs torch, which is slow to import."""
    if name != "merge_tensor":
        raise AttributeError(f"module 'merge_ops' has no attribute {name!r}.")
    from merge_ops.tensor_merge import merge_tensor

    return merge_tensor
