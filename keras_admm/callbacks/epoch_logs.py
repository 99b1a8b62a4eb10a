"""The logs of an epoch: the figures of each layer, those that a progress bar shows, and a table of a phase."""

from keras_admm.progress import Progress
from keras_admm.tables import WIDTH, aligned

PHASES = {"admm": "ADMM", "retrain": "retraining"}
SHOWN = {"admm": ("admm_sparsity", "admm_primal"), "retrain": ("sparsity",)}
EACH = ("sparsity", "admm_sparsity", "admm_primal", "admm_dual")  # of each layer; rho and the step are those of all


def of_layers(layers):
    """The figures of each compressed variable as logs: `"sparsity/net/head/kernel"`, and so on.

    Args:
        layers: dict of names to `Progress`es.
    """
    return {f"{figure}/{name}": getattr(layers[name], figure) for figure in EACH for name in layers}


def shown(logs, info, steps):
    """What the progress bar shows of the logs of an epoch: the phase, and its sparsity and residual.

    While weights are pulled, hardly one is zero, and the sparsity shown is that of Z, which they are pulled to.

    Args:
        logs: dict, those of the epoch.
        info: the `plan.EpochInfo` of the epoch.
        steps: int, how many steps the plan has.

    Example:

    >>> from keras_admm.plan import EpochInfo
    >>> ours = {"sparsity": 0.5, "admm_primal": 0.1, "admm_dual": 0.2, "admm_rho": 0.01, "admm_step": 1.0}
    >>> ours["admm_sparsity"] = 0.9
    >>> shown({"loss": 2.0, **ours}, EpochInfo(step=0, phase="admm", epoch=0, epochs=3), 2)
    {'loss': 2.0, 'phase: ADMM 1/2 - admm_sparsity': 0.9, 'admm_primal': 0.1}
    >>> shown({"loss": 2.0, **ours}, EpochInfo(step=0, phase="retrain", epoch=0, epochs=3), 2)
    {'loss': 2.0, 'phase: retraining 1/2 - sparsity': 0.5}
    """
    if "admm_step" not in logs:  # training has failed
        return logs
    step = f" {info.step + 1}/{steps}" if steps > 1 else ""
    others = {name: value for name, value in logs.items() if name.split("/")[0] not in Progress._fields}
    # A bar shows numbers alone: text stands in the name of one.
    first, *more = SHOWN[info.phase]
    others[f"phase: {PHASES[info.phase]}{step} - {first}"] = logs[first]
    return {**others, **{name: logs[name] for name in more}}


def table(variables, layers):
    """The figures of each compressed variable, as aligned text.

    Args:
        variables: dict of names to variables.
        layers: dict of names to `Progress`es.
    """
    lines = [("variable", "shape", "sparsity", "sparsity of Z", "||W - Z|| / ||W||")]
    for name, figures in layers.items():
        pulled = f"{figures.admm_sparsity:.4f}", f"{figures.admm_primal:.2e}"
        shares = f"{figures.sparsity:.4f}", *(pulled if figures.admm_primal else "--")
        lines.append((name, "x".join(map(str, variables[name].shape)), *shares))
    return aligned(lines, WIDTH)
