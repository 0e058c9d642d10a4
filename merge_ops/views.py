"""Views rebuilt from an exported unified model, its masks and the base model.

A view is theta_0 + lambda_i M_i tau_u. The export holds theta_u = theta_0 + tau_u as a normal
checkpoint; tau_u is its difference to the base model theta_0, which is therefore needed too.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from merge_ops.disk_names import disk_names, disk_places
from merge_ops.errors import UserError
from merge_ops.hub import weights_sha256
from merge_ops.loading import load_model
from merge_ops.task_vectors import add_scaled, task_vectors
from merge_ops.tensors import share
from merge_ops.view_files import MASKS_FILE, read_views


def rebuild(base: Tensor, whole: Tensor, mask: Tensor, rescaler: Tensor) -> Tensor:
    """One tensor of a view: theta_0 + lambda_i M_i tau_u, with tau_u = theta_u - theta_0.

    Args:
        base: theta_0.
        whole: theta_u = theta_0 + tau_u, of the base's shape.
        mask: M_i, boolean, of the base's shape.
        rescaler: lambda_i, float32, ().

    Returns:
        The tensor, of the base's shape and dtype.
    """
    (tau,) = task_vectors(base, [whole.to(base.dtype)])
    return add_scaled(base, torch.where(mask, tau, 0.0) * rescaler, 1.0)


def apply_view(folder: Path, task: str, base: str) -> nn.Module:
    """One task's view, rebuilt from an exported unified model and the base alone.

    Equal to the live view bit for bit wherever theta_u - theta_0 is exact: where the two have one
    sign and lie within a factor of two of each other, or one is 0. For fine-tuned experts that is
    nearly everywhere. Elsewhere tau_u is off by at most two rounding steps of the larger of the
    two, in the dtype of the merge, and the view by lambda_i times that.

    Args:
        folder: as `mergetuna merge` wrote it, with `emr_masks.safetensors`.
        task: whose view.
        base: folder or hub id of theta_0.

    Returns:
        The exported model with the view's weights, on the CPU, in evaluation mode.

    Raises:
        UserError: a file is damaged, or is of another base or model; the tensor is named.
    """
    views = read_views(folder / MASKS_FILE)
    if weights_sha256(base) != views.base_sha256:
        raise UserError(
            f"{base}: the views in {folder} were made with another base model, of sha256 "
            f"{views.base_sha256 or 'unknown'}; {MASKS_FILE} fits only that one."
        )
    model = load_model(str(folder), None)
    ancestor = load_model(base, views.dtype)
    stored = disk_names(disk_places(folder, model))
    shared = share([model, ancestor], stored)
    own, theirs = (dict(m.named_parameters(remove_duplicate=False)) for m in (model, ancestor))
    pairs = {
        stored.get(mine, mine): (own[mine], theirs[shared.names[1][tensor.name]])
        for tensor in shared.tensors
        for mine in [shared.names[0][tensor.name]]
    }
    shapes = {name: parameter.shape for name, (parameter, _) in pairs.items()}
    with torch.no_grad():
        for name, mask, rescaler in views.masks(task, shapes):
            parameter, theta = pairs[name]
            parameter.copy_(rebuild(theta, parameter, mask, rescaler))
    return model
