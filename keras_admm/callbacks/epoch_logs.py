"""The logs of an epoch: the figures of each layer, those that a progress bar shows, and a table of a phase."""

from keras_admm.progress import Progress
from keras_admm.tables import WIDTH, aligned

PHASES = {"admm": "ADMM", "retrain": "retraining"}
EACH = ("sparsity", "admm_primal", "admm_dual")  # of each layer; rho and the step are the same for all


def of_layers(layers):
    """The figures of each compressed variable as logs: `"sparsity/net/head/kernel"`, and so on.

    Args:
        layers: dict of names to `Progress`es.
    """
    return {f"{figure}/{name}": getattr(layers[name], figure) for figure in EACH for name in layers}


def shown(logs, info, steps):
    """What the progress bar shows of the logs of an epoch: the phase, the sparsity, and the residual if there is one.

    Args:
        logs: dict, those of the epoch.
        info: the `plan.EpochInfo` of the epoch.
        steps: int, how many steps the plan has.

    Example:

    >>> from keras_admm.plan import EpochInfo
    >>> ours = {"sparsity": 0.5, "admm_primal": 0.1, "admm_dual": 0.2, "admm_rho": 0.01, "admm_step": 1.0}
    >>> shown({"loss": 2.0, **ours}, EpochInfo(step=0, phase="admm", epoch=0, epochs=3), 2)
    {'loss': 2.0, 'phase: ADMM 1/2 - sparsity': 0.5, 'admm_primal': 0.1}
    """
    if "admm_step" not in logs:  # training has failed
        return logs
    step = f" {info.step + 1}/{steps}" if steps > 1 else ""
    others = {name: value for name, value in logs.items() if name.split("/")[0] not in Progress._fields}
    # A bar shows numbers alone: text stands in the name of one.
    others[f"phase: {PHASES[info.phase]}{step} - sparsity"] = logs["sparsity"]
    return {**others, "admm_primal": logs["admm_primal"]} if info.phase == "admm" else others


def table(variables, layers):
    """The figures of each compressed variable, as aligned text.

    Args:
        variables: dict of names to variables.
        layers: dict of names to `Progress`es.
    """
    lines = [("variable", "shape", "sparsity", "||W - Z|| / ||W||")]
    for name, figures in layers.items():
        residual = f"{figures.admm_primal:.2e}" if figures.admm_primal else "-"
        lines.append((name, "x".join(map(str, variables[name].shape)), f"{figures.sparsity:.4f}", residual))
    return aligned(lines, WIDTH)
