"""What a run needs of a model, its variables, its optimizers and a training loop; said before any training."""

import warnings

import keras

from keras_admm import attach, checks, weights
from keras_admm.constraints import is_foreign
from keras_admm.errors import named_few
from keras_admm.plan import Plan

STATES = {"host": weights.view, "device": weights.on_device}  # where Z and U are, and how weights are looked at


class Requirements:
    """Checks the sets of the steps of a run.

    Args:
        name: str, name used in error messages.
        variables: dict of names to the compressed variables.
        hold: the `attach.Hold` of the model.
        hooked: bool, whether a Keras optimizer is hooked, so that a training step can be changed in every way.
    """

    def __init__(self, name, variables, hold, hooked):
        self._name = name
        self._variables = variables
        self._hold = hold
        self._hooked = hooked

    def check(self, step, sets):
        """Raises, warns, or has the hold raise when a step is compiled, for what is not as the step needs it.

        Args:
            step: the `plan.Step`.
            sets: dict of names to its `Set`s.
        """
        valued = {name: each for name, each in sets.items() if each.says_codes}
        for name, each in valued.items():
            self._check_optimizer(step, name, each)
            self._check_dtype(name, each)
        if valued and step.retraining.changes_step:
            self._hold.needs_steps = self._another_step(step, next(iter(valued)))
        self._say_constraints(valued)

    def _check_optimizer(self, step, name, constraint):
        if not self._hooked and step.retraining.changes_step:
            raise ValueError(
                f"{self._name}: retraining={step.retraining!r} is done by a Keras optimizer. Received: "
                f"optimizer=None and {type(constraint).__name__} for {name}. Apply the gradients with a "
                "keras.Optimizer, or use retraining='snap'."
            )

    def _check_dtype(self, name, constraint):
        dtype = keras.backend.standardize_dtype(self._variables[name].dtype)
        if dtype not in ("float32", "float64"):
            raise ValueError(
                f"{self._name}: {name} must be a variable of float32 to be trained onto exact levels: half precision "
                f"would round each by itself. Received: dtype={dtype} and {type(constraint).__name__}. Build the model "
                f"with a policy such as 'mixed_{dtype}', whose variables are float32, or exclude the layer."
            )

    def _another_step(self, step, name):
        """What to say to a loop whose step is compiled once, where a way of retraining needs another."""
        return (
            f"{self._name}: retraining={step.retraining!r} needs another training step in retraining, where "
            f"{name} takes few values. Received: a step that is compiled once (tf.function, jax.jit, "
            "torch.compile). Make it anew whenever engine.step_version changes: before each epoch, if "
            "engine.step_version != version: version, step = engine.step_version, tf.function(train_step). Or use "
            "retraining='snap'."
        )

    def _say_constraints(self, valued):
        """Warn of layers whose own constraint weights on few values cannot hold too."""
        own = {name: self._hold.constraints[name] for name in valued}
        told = [f"{name} ({type(each).__name__})" for name, each in own.items() if is_foreign(each)]
        if told:
            warnings.warn(
                f"{self._name}: a layer should have no constraint of its own where its weights come to few values, "
                f"which are not in it. Received: {named_few(told)}. The values outweigh it: build the layer without, "
                "or leave it out with exclude=.",
                stacklevel=3,
            )


def check_arguments(name, model, plan, **booleans):
    """Raises for a model, a plan or booleans that are none."""
    checks.text("Engine", "name", name)
    weights.check_model(name, model)
    attach.check_strategy(name, model)
    if not isinstance(plan, Plan):
        remedy = "Pass Plan(steps=[Step(target=Sparse(0.9))])."
        raise TypeError(checks.refused(name, "plan", "a keras_admm.Plan", plan, remedy))
    for argument, value in booleans.items():
        checks.boolean(name, argument, value)


def check_place(name, plan, state):
    """Raises for a `state` that is neither `"host"` nor `"device"`, or where a step's sets cannot be computed."""
    checks.choice(name, "state", state, STATES)
    others = [type(step.target).__name__ for step in plan.steps if not step.target.on_device]
    if state == "device" and others:
        raise ValueError(
            f"{name}: with state='device' each set must be computed where the weights lie: Sparse and Support, their "
            "share divided 'global', 'uniform', 'erk', by a mapping or an object. Received: a step of "
            f"{', '.join(others)}. Leave state out: it is 'host'."
        )


def check_reach(name, variables, state):
    """Raises where weights would have to come to the host that lie on devices of other processes too."""
    far = attach.out_of_reach(variables) if state == "host" else []
    if far:
        raise ValueError(
            f"{name}: with state='host' whole weights must come to the host. Received: {named_few(far)}, of which "
            "parts lie on devices of other processes. Say state='device'."
        )


def check_begun(name, released):
    if released:
        raise ValueError(
            f"{name}: a run must be begun before it is asked for what it does. Received: an engine before `begin`, or "
            "after `finish`. Call begin(), or load_state_dict() with the state of a run."
        )


def check_fits(name, plan, variables, named):
    """Warns of kernels that the structure of a step does not fit; raises where it fits none.

    Args:
        name: str, name used in error messages.
        plan: the plan for the model.
        variables: the names of the variables to compress.
        named: bool, whether the user named them with `layers=`, so that each must fit.
    """
    for step in plan.steps:
        misfits = step.target.misfits
        if misfits and (named or len(misfits) == len(variables)):
            first, why = next(iter(misfits.items()))
            others = f" The same is true of {named_few(list(misfits)[1:])}." if len(misfits) > 1 else ""
            raise ValueError(f"{name}: {first}: {why}{others}")
        if misfits:
            warnings.warn(
                f"{name}: kernels that a structure does not fit stay as they are. Received: "
                f"{named_few(list(misfits), most=20)}. Of the first: {next(iter(misfits.values()))}",
                stacklevel=4,
            )


def check_counts(name, **counts):
    """Raises for counts that are neither integers nor None."""
    for argument, value in counts.items():
        if value is not None:
            checks.integer(name, argument, value)


def check_loss_takes_penalty(name, model):
    """Raises where a penalty in the loss would not be trained on."""
    if keras.backend.backend() == "jax" or weights.is_tf_keras(model):
        received = "a tf_keras model" if weights.is_tf_keras(model) else "the jax backend"
        raise ValueError(
            f"{name}: penalty='loss' needs a Keras 3 model on the TensorFlow or torch backend: JAX compiles a "
            "regularizer's target into the step, tf_keras reads no regularizer after the layer was built. Received: "
            f"{received}. Use penalty='gradient' or 'proximal'."
        )


def check_all_chosen(name, model, choice, variables):
    """Raises when there are variables by now that would have been chosen had they been there.

    Args:
        name: str, name used in error messages.
        model: the model.
        choice: what `weights.select` was told to take.
        variables: the names of the variables that it took.
    """
    late = [each for each in weights.choose(model, *choice) if each not in variables]
    if late:
        raise ValueError(
            f"{name}: what is compressed must be there before training. Received: {late}, made by the first "
            "training step. Build their layers before, for example by calling them on a batch, or say with layers= "
            "what is to be compressed."
        )
