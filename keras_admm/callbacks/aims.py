"""What `ADMMPrune` aims at: channels of the whole model, or what is zeroed in each kernel by itself."""

from keras_admm import checks
from keras_admm.constraints import pattern, says_sparsity
from keras_admm.packed import PackedBytes
from keras_admm.plan import (
    BudgetTarget,
    Ladder,
    LadderTarget,
    Parameters,
    PruningTarget,
    check_budget,
    check_start,
    pruning_targets,
)
from keras_admm.structure import structure_targets

# What a budget of single weights may count.
AMOUNTS = {"params": Parameters, "bytes": PackedBytes}


def targets_of(name, given, how, path, start):
    """A target for each step.

    Args:
        name: str, name used in error messages.
        given: dict of `sparsity`, `budget` and `max_accuracy_drop`: one of them tells the target, the others are None.
        how: dict of its `allocation`, `structure`, `min_keep` and `path`, by the recipe where none was given.
        path: the one that was given.
        start: see `ADMMPrune`: beside a sparsity.
    """
    given = {argument: value for argument, value in given.items() if value is not None}
    structure, allocation = how["structure"], how["allocation"]
    if check_start(name, start) and (structure == "channel" or "sparsity" not in given):
        must = "left out, but for a sparsity of what is zeroed in each kernel by itself"
        raise ValueError(checks.refused(name, "start", must, start, "Leave it out, or pass a sparsity."))
    if isinstance(structure, str) and structure == "channel":
        if allocation is not None:
            must = "left out with structure='channel', where channels of all layers are ranked together"
            raise ValueError(checks.refused(name, "allocation", must, allocation, "Leave some out with exclude=."))
        _check_alone(name, given, "max_accuracy_drop", "structure='channel'")
        rest = {"min_keep": how["min_keep"], "path": how["path"]}
        return structure_targets(name, given.get("sparsity"), given.get("budget"), **rest)
    says = pattern(name, structure).sparsity is not None
    if len(given) > 1 or given and says and "sparsity" not in given:
        raise ValueError(
            f"{name}: exactly one of `sparsity`, `budget`, `max_accuracy_drop`, and a structure of the form 'm:n' must "
            f"give the target. Received: {', '.join(f'{key}={checks.shown(each)}' for key, each in given.items())}, "
            f"structure={checks.shown(structure)}. Leave the others out."
        )
    if "budget" in given:
        return [_budgeted(name, check_budget(name, given["budget"]), how)]
    if "max_accuracy_drop" in given:
        return [LadderTarget(Ladder(), PruningTarget(0.0, name=name, **how), name)]
    if says_sparsity(name, given.get("sparsity"), structure):
        how = {**how, "path": "constant" if path is None else path}
    return pruning_targets(name, given.get("sparsity"), start=start, **how)


def _check_alone(name, given, argument, beside):
    if argument in given:
        raise ValueError(
            f"{name}: `{argument}` must be of single weights. Received: {argument}={checks.shown(given[argument])} and "
            f"{beside}. Leave one of these out."
        )


def _budgeted(name, budget, how):
    """The target of pruning until a budget is met that counts what single weights leave."""
    if budget.unit not in AMOUNTS:
        raise ValueError(
            f"{name}: a budget of '{budget.unit}' must go with structure='channel': channels really leave a model. "
            f"Received: structure={checks.shown(how['structure'])}. Add structure='channel', or give one of "
            f"{', '.join(map(repr, AMOUNTS))}."
        )
    return BudgetTarget(budget, AMOUNTS[budget.unit](), PruningTarget(0.0, name=name, **how), name)
