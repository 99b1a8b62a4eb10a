"""What the weights are pulled to and held at, step by step: Z, U and rho, projections, and retraining."""

import json
import warnings

import keras
import numpy as np
from keras import ops

from keras_admm import admm, attach, weights
from keras_admm.constraints import Sparse, is_foreign, living
from keras_admm.engine.identity import named_few
from keras_admm.engine.scarcity import Scarcity
from keras_admm.plan import sets_of
from keras_admm.retraining import retraining_of
from keras_admm.schedules import rho_factor


class Targets:
    """What the weights of a run are pulled to and held at; the `Hold` changes the training so.

    Args:
        name: str, name used in error messages.
        variables: dict of names to the compressed variables.
        plan: the `keras_admm.plan.Plan` of the run.
        held: the `attach.Hold` of the model.
        holds_values: bool, whether a Keras optimizer is hooked, so that weights can be held at other values than 0.
    """

    def __init__(self, name, variables, plan, held, holds_values):
        self.name = name
        self.variables = variables
        self.plan = plan
        self._held = held
        self._holds_values = holds_values
        self._duals = {}
        self._lasting = {}
        self._sparse = {}
        self._scarcity = Scarcity(name, plan.steps)

    def sets(self, arrays, step, fraction):
        """The sets of a step: those that it began with, unless they move with the weights and the time."""
        return self._lasting.get(step) or sets_of(self.name, self.plan.steps[step].target, arrays, fraction)

    def check(self, arrays, fractions):
        """Ask every step for its sets at each of the fractions at which it will be asked, before any training.

        Args:
            arrays: mapping of names to float32 arrays, the weights as they are.
            fractions: a list for each step.
        """
        for step, shares in zip(self.plan.steps, fractions, strict=True):
            for share in step.target.decisive(shares):
                sets_of(self.name, step.target, arrays, share)

    def begin(self, arrays, step):
        """Z0 = P(W), U0 = 0 for the weights that the step has sets for."""
        target = self.plan.steps[step].target
        sets = sets_of(self.name, target, arrays, 0.0)
        self._lasting = {step: sets} if target.fixed_at_start else {}
        if step == 0:
            later = [sets_of(self.name, each.target, arrays, 0.0) for each in self.plan.steps[1:]]
            for each, these in zip(self.plan.steps, (sets, *later), strict=True):
                self._check_can_hold(each, these)
                self._expect_steps(each, these)
                self._say_constraints(these)
            self._hold_zeros(arrays, sets, later)
        held = {name: self._kept_zero(name, arrays[name], sets[name], step) for name in sets}
        both = {name: held[name] is not None or self._frees(sets[name]) for name in sets}
        self._held.set_rule({name: "both" if both[name] else "pull" for name in sets})
        for name in sets:
            self._held.slots[name].rho.assign(self.plan.penalty.rho)
            self._aim(name, admm.start(arrays[name], sets[name].project), held[name], self._frees(sets[name]))

    def move(self, arrays, step, fraction):
        """One ADMM step of every weight that has a set: returns the relative residuals, and the rho in force."""
        # A set may span all tensors (one budget), so it is chosen by what is projected: W + U, not W.
        shifted = weights.Lazy(arrays, lambda name: arrays[name] + self._duals.get(name, np.float32(0)))
        sets = self.sets(shifted, step, fraction)
        self._scarcity.look(step, sets, arrays, final=False)
        rho = float(ops.convert_to_numpy(self._held.slots[next(iter(sets))].rho))
        residuals = admm.total([self._move(name, arrays[name], sets[name]) for name in sets])
        factor = rho_factor(self.plan.penalty.rho_growth, rho, residuals)
        for name in sets:
            self._held.slots[name].rho.assign(rho * factor)
            self._aim_at_z(name, factor if self.plan.penalty.rescale_dual else 1.0, self._frees(sets[name]))
        norm = float(np.hypot.reduce([admm.norm(arrays[name]) for name in sets])) or 1.0
        return residuals.primal / norm, rho * residuals.dual / norm, rho

    def _move(self, name, w, constraint):
        """Z and U of one weight; Z waits in the target, for its pull needs the factor that all residuals tell."""
        held = self._held.zero_mask(name)
        state, residuals = admm.step(w, self._state(name, w), constraint.project)
        self._duals[name] = state.u
        self._held.slots[name].target.assign(np.where(held, attach.PRUNED, state.z))
        return residuals

    def _aim_at_z(self, name, factor, frees):
        z = weights.view(self._held.slots[name].target)
        state = admm.rescaled(admm.ADMMState(z, self._duals[name]), factor)
        self._aim(name, state, z == attach.PRUNED, frees)

    def project(self, arrays, step, epochs):
        """W <- P(W), and the beginning of retraining: each weight in the way that goes with its set."""
        sets = self.sets(arrays, step, 1.0)
        # While weights are retrained on their values, these are of the set that they were projected on.
        if not all(each.says_support for each in sets.values()) and not self.plan.steps[step].target.fixed:
            self._lasting = {step: sets}
        self._sparse = {name: each for name, each in sets.items() if each.says_support}
        self._scarcity.look(step, self._sparse, arrays, final=True)
        self._duals = {}
        for slot in self._held.slots.values():
            slot.rho.assign(0.0)
        self._enter(arrays, sets, step, 0, epochs)

    def retrain(self, arrays, step, epoch, epochs):
        """Go on after an epoch of retraining, with the weights of which more is kept than their zeros."""
        self._enter(arrays, self._beyond_zeros(step), step, epoch, epochs)

    def settled(self, step, epoch, epochs):
        """Whether the weights are members of the sets of a step, after so many of its epochs of retraining."""
        ways = {retraining_of(each, self.plan.steps[step].retraining) for each in self._beyond_zeros(step).values()}
        return all(way.settled(epoch, epochs) for way in ways)

    def _beyond_zeros(self, step):
        """The sets of a step that is being retrained which say more than what is zero; nothing is computed for it."""
        target = self.plan.steps[step].target
        sets = sets_of(self.name, target, self.variables, 1.0) if target.fixed else self._lasting.get(step, {})
        return {name: each for name, each in sets.items() if not each.says_support}

    def _enter(self, arrays, sets, step, epoch, epochs):
        ways = {}
        for name, each in sets.items():
            ways.setdefault(retraining_of(each, self.plan.steps[step].retraining), {})[name] = each
        for way, these in ways.items():
            self._write(way.enter(self._held, arrays, these, epoch, epochs))

    def settle(self, arrays, step):
        """Write the weights that are held where they are held, whatever came after the last update."""
        valued = self._beyond_zeros(step)
        astray = self._held.moved(arrays)
        for name in arrays:
            w = self._held.restore(name, arrays[name]) if name in astray else arrays[name]
            on_values = self._held.modes[name] == "fix" and name not in astray
            if name in valued and not on_values:
                w = valued[name].project(w)
            if name in astray or name in valued and not on_values:
                weights.write(self.variables[name], w)

    def missing(self, arrays, step):
        """`"kept of promised"` of the weights, or blocks, that a step lets be other than 0, where some are 0."""
        sparse = self._sparse or self.sets(arrays, step, 1.0)
        found = {}
        for name, constraint in sparse.items():
            if isinstance(constraint, Sparse):
                promised = living(~self._held.zero_mask(name), constraint.structure)
                kept = living(self._held.restore(name, arrays[name]), constraint.structure)
                found |= {name: f"{kept:,} of {promised:,}"} if kept < promised else {}
        return found

    def stop(self, arrays, step, fraction):
        """Write the weights in the sets of a step as they are at a fraction of it."""
        for name in self._held.moved(arrays):
            weights.write(self.variables[name], self._held.restore(name, arrays[name]))
        sets = self.sets(arrays, step, fraction)
        self._write((name, constraint.project(arrays[name])) for name, constraint in sets.items())

    def _write(self, moved):
        for name, w in moved:
            weights.write(self.variables[name], w)

    def state(self):
        """All that `load` needs, a flat dict of NumPy arrays."""
        keys = attach.structural(self.variables)
        state = {"modes": np.array(json.dumps({keys[n]: mode for n, mode in self._held.modes.items()}))}
        sets = {
            step: {keys[n]: keras.constraints.serialize(each) for n, each in sets.items()}
            for step, sets in self._lasting.items()
        }
        state["sets"] = np.array(json.dumps(sets))
        for name, slot in self._held.slots.items():
            key = keys[name]
            state[f"target/{key}"] = ops.convert_to_numpy(slot.target)
            state[f"rho/{key}"] = ops.convert_to_numpy(slot.rho)
            if name in self._duals:
                state[f"u/{key}"] = self._duals[name]
            if name in self._held.few:
                state[f"values/{key}"] = ops.convert_to_numpy(self._held.few[name].values)
                state[f"steps/{key}"] = ops.convert_to_numpy(self._held.few[name].steps)
        return state

    def load(self, state):
        """Go on from a `state`."""
        keys = attach.structural(self.variables)
        names = {key: name for name, key in keys.items()}
        self._held.set_rule({names[key]: mode for key, mode in json.loads(str(state["modes"])).items()})
        sets = json.loads(str(state["sets"]))
        self._lasting = {
            int(step): {names[key]: keras.constraints.deserialize(config) for key, config in each.items()}
            for step, each in sets.items()
        }
        for name, slot in self._held.slots.items():
            self._held.set_values(name, state.get(f"values/{keys[name]}"))
            if f"steps/{keys[name]}" in state:
                self._held.few[name].steps.assign(state[f"steps/{keys[name]}"])
            slot.target.assign(state[f"target/{keys[name]}"])
            slot.rho.assign(state[f"rho/{keys[name]}"])
        self._duals = {n: state[f"u/{key}"] for n, key in keys.items() if f"u/{key}" in state}

    def _check_can_hold(self, step, sets):
        for name, constraint in sets.items():
            if not constraint.says_codes:
                continue
            kind, dtype = type(constraint).__name__, keras.backend.standardize_dtype(self.variables[name].dtype)
            if not self._holds_values and step.retraining.changes_step:
                raise ValueError(
                    f"{self.name}: retraining={step.retraining!r} is done by a Keras optimizer. Received: "
                    f"optimizer=None and {kind} for {name}. Apply the gradients with a keras.Optimizer, or use "
                    "retraining='snap'."
                )
            if dtype not in ("float32", "float64"):
                raise ValueError(
                    f"{self.name}: {name} must be a variable of float32 to be trained onto exact levels: half "
                    f"precision would round each by itself. Received: dtype={dtype} and {kind}. Build the model with a "
                    f"policy such as 'mixed_{dtype}', whose variables are float32, or exclude the layer."
                )

    def _say_constraints(self, sets):
        """Warn of layers whose own constraint weights on few values cannot hold too."""
        own = {name: self._held.constraints[name] for name, each in sets.items() if each.says_codes}
        told = [f"{name} ({type(each).__name__})" for name, each in own.items() if is_foreign(each)]
        if told:
            warnings.warn(
                f"{self.name}: a layer should have no constraint of its own where its weights come to few values, "
                f"which are not in it. Received: {named_few(told)}. The values outweigh it: build the layer without, "
                "or leave it out with exclude=.",
                stacklevel=2,
            )

    def _expect_steps(self, step, sets):
        """Say what a loop must do whose step is compiled once, where a way of retraining needs another."""
        valued = [name for name, constraint in sets.items() if constraint.says_codes]
        if valued and step.retraining.changes_step:
            self._held.needs_steps = (
                f"{self.name}: retraining={step.retraining!r} needs another training step in retraining, where "
                f"{valued[0]} takes few values. Received: a step that is compiled once (tf.function, jax.jit, "
                "torch.compile). Make it anew whenever engine.step_version changes: before each epoch, if "
                "engine.step_version != version: version, step = engine.step_version, tf.function(train_step). Or use "
                "retraining='snap'."
            )

    def _hold_zeros(self, arrays, sets, later):
        """Hold the zeros of weights that come to a set that keeps them in a later step only."""
        waiting = {n for each in later for n in each if each[n].keep_zeros} - set(sets)
        self._held.set_rule(dict.fromkeys(waiting, "hold"))
        for name in waiting:
            self._held.set_target(name, np.zeros_like(arrays[name]), held=arrays[name] == 0)

    def _kept_zero(self, name, w, constraint, step):
        """Booleans: what must stay zero while the weight is trained to the set, or None."""
        if constraint.keep_zeros:
            return w == 0
        return self._held.zero_mask(name) if step > 0 and self.plan.steps[step].keep_pruned else None

    def _frees(self, constraint):
        """Whether Z follows the weights that it keeps: where to keep a weight is not to set its value."""
        return not self.plan.penalty.penalize_kept and constraint.says_support

    def _aim(self, name, state, held, frees):
        self._duals[name] = state.u
        self._held.set_target(name, state.z - state.u, held, state.z != 0 if frees else None)

    def _state(self, name, w):
        """Z is not kept beside U: it is the target plus U, 0 where the weight is held, the weight where it is free."""
        target = weights.view(self._held.slots[name].target)
        z = np.where(target == attach.UNCONSTRAINED, w, target + self._duals[name])
        return admm.ADMMState(z=np.where(target == attach.PRUNED, 0, z), u=self._duals[name])
