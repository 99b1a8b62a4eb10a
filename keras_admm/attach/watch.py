"""Which optimizer was handed the gradient of which variable, and whether by a step that knows the rules in force."""

import keras

from keras_admm.attach.optimizers import said


class Watch:
    """What the hooks of a run's optimizers have seen.

    TensorFlow and JAX call a hook while they compile a step, torch at every step: so nothing is counted here, which
    would have torch compile each step anew.

    Args:
        variables: the names of the variables whose training is changed.
        adapters: the hooked optimizers, each a `KerasOptimizer` or a `TFKerasOptimizer`.
    """

    def __init__(self, variables, adapters):
        self._variables = list(variables)
        self._adapters = adapters
        self._handed = {}
        self._before = None
        self._start = self._counters()
        self.renew(0)

    def handed(self, adapter, name):
        """A hook has been called, with the gradient of a variable; the name is None for other variables."""
        if self._handed.get((adapter, name)) != self._version:
            self._handed[adapter, name] = self._version

    def renew(self, version):
        """The rules have changed: from here on steps must have been compiled with these."""
        self._version = version
        self._since = self._counters()

    def trains(self, adapter):
        """Whether an optimizer trains any of the variables, as far as is known."""
        if self._handed:
            return any((adapter, name) in self._handed for name in self._variables)
        return self._before is None or adapter in self._before

    @property
    def trained(self):
        """A boolean for each optimizer: whether it trains any of the variables, for whoever resumes the run."""
        return [self.trains(adapter) for adapter in self._adapters]

    @trained.setter
    def trained(self, those):
        self._before = {adapter for adapter, one in zip(self._adapters, those, strict=True) if one}

    @property
    def still(self):
        """Whether no optimizer has taken a step since the run began."""
        return self._counters() == self._start

    def check_handed(self, name, expected):
        """Raises when a variable has been handed to no optimizer, or not to the one that was named for it.

        Args:
            name: str, name used in error messages.
            expected: dict of variables' names to the adapters one of which must have been handed it.
        """
        for adapter in self._adapters:
            if not self._called(adapter) and adapter.counters() != self._start[adapter]:
                self._fail_compiled_before(name, adapter)
        missing = [n for n in self._variables if not any((adapter, n) in self._handed for adapter in expected[n])]
        if missing:
            self._fail_missing(name, missing, expected)
        for adapter in self._adapters:
            if self.trains(adapter) and adapter.counters() == self._start[adapter]:
                self._fail_still(name, adapter)

    def check_current(self, name):
        """Raises when a step was used that had been compiled for rules that are no longer in force."""
        for adapter in self._adapters:
            moved = adapter.counters() != self._since[adapter]
            if moved and self.trains(adapter) and self._version not in self._called(adapter):
                self._fail_old(name, adapter)

    def _called(self, adapter):
        """The versions of the rules that a hook was called for last."""
        return {version for (each, _), version in self._handed.items() if each is adapter}

    def _counters(self):
        return {adapter: adapter.counters() for adapter in self._adapters}

    def _fail_old(self, name, adapter):
        raise ValueError(
            f"{name}: a compiled training step must be compiled again when what it does to the weights changes, or it "
            f"goes on as before. Received: a step of {said(adapter.optimizer)} that was compiled before the last "
            "change. In a custom training loop make it anew whenever engine.step_version changes, for example "
            "step = tf.function(train_step) or jax.jit(train_step); in a train_step, take the tf.function or jit "
            "inside it away, for fit compiles it. The weights since then are not what they should be: go back to a "
            "checkpoint."
        )

    def _fail_compiled_before(self, name, adapter):
        raise ValueError(
            f"{name}: the training step must be compiled after engine.begin() has attached, or it does not know of it. "
            f"Received: a step that moved {said(adapter.optimizer)} as it was before. Make it anew after begin(), for "
            "example step = tf.function(train_step) or jax.jit(train_step); in a train_step, take the tf.function or "
            "jit inside it away, for fit compiles it."
        )

    def _fail_missing(self, name, missing, expected):
        asked = {id(a): a for n in missing for a in expected[n]}.values()
        asked = [said(a.optimizer, a.counters() != self._start[a]) for a in asked]
        raise ValueError(
            f"{name}: the gradient of each compressed weight must be applied by an optimizer that is known. Received: "
            f"{missing}, handed in the first epoch to none of {asked}. "
            "Name the optimizer that applies them with optimizer=, a keras.Optimizer or a mapping such as "
            "{'generator*': model.generator_optimizer}, or leave them out with exclude=. With another kind of "
            "optimizer (torch.optim, optax) use a custom training loop: Engine(..., optimizer=None), its penalty() "
            "and hold()."
        )

    def _fail_still(self, name, adapter):
        raise ValueError(
            f"{name}: an optimizer that applies gradients must move. Received: {said(adapter.optimizer)}, whose step "
            "was compiled but whose iterations are as they were. Write what the step returns back into its variables, "
            "and into the model's, before end_epoch()."
        )


def is_compiling(tensor):
    """Whether a step is being compiled, rather than run, on the backend that is active."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    if backend == "jax":
        import jax

        return isinstance(tensor, jax.core.Tracer)
    if backend == "torch":
        import torch

        return torch.compiler.is_compiling()
    return False
