"""What the weights are pulled to and held at, step by step: Z, U and rho, projections, and retraining."""

import numpy as np
from keras import ops

from keras_admm import admm, attach, weights
from keras_admm.constraints import Sparse, full_rank, library
from keras_admm.engine import state
from keras_admm.engine.duals import Duals
from keras_admm.engine.held import astray
from keras_admm.engine.requirements import Requirements
from keras_admm.engine.scarcity import Scarcity
from keras_admm.plan import sets_of
from keras_admm.retraining import retraining_of


class Targets:
    """What the weights of a run are pulled to and held at; the `Hold` changes the training so.

    Args:
        name: str, name used in error messages.
        variables: dict of names to the compressed variables.
        plan: the `keras_admm.plan.Plan` of the run.
        hold: the `attach.Hold` of the model.
        pull: the `attach.StepRule` of the penalty, or None where no Keras optimizer is hooked.

    Attributes:
        residuals: dict of names to the `admm.Residuals` of the last move, relative to each weight's own norm.
    """

    def __init__(self, name, variables, plan, hold, pull):
        self.name = name
        self.variables = variables
        self.plan = plan
        self._hold = hold
        self._pull = attach.Rest() if pull is None else pull
        self._requirements = Requirements(name, variables, hold, hooked=pull is not None)
        self._duals = Duals(hold)
        self.residuals = {}
        self._fixed_sets = {}
        self._sparse = {}
        self._scarcity = Scarcity(name, plan.steps)

    def sets(self, arrays, step, fraction, last=False):
        """The sets of a step: those that it began with, unless they move with the weights and the time."""
        return self._fixed_sets.get(step) or sets_of(self.name, self.plan.steps[step].target, arrays, fraction, last)

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
        self.residuals = {}
        target = self.plan.steps[step].target
        sets = sets_of(self.name, target, arrays, 0.0)
        self._fixed_sets = {step: sets} if target.fixed_at_start else {}
        if step == 0:
            later = [sets_of(self.name, each.target, arrays, 0.0) for each in self.plan.steps[1:]]
            for each, these in zip(self.plan.steps, (sets, *later), strict=True):
                self._requirements.check(each, these)
            self._hold_zeros(arrays, sets, later)
        held = {name: self._kept_zero(name, arrays[name], sets[name], step) for name in sets}
        self._hold.set_rules({name: self._rule(arrays[name].shape, sets[name], held[name]) for name in sets})
        for name in sets:
            self._hold.states[name].rho.assign(self.plan.penalty.rho)
            self._aim(name, admm.start(arrays[name], sets[name].project), held[name], sets[name])

    def move(self, arrays, step, fraction):
        """One ADMM step of every weight that has a set: returns the relative residuals, and the rho in force."""
        # A set may span all tensors (one budget), so it is chosen by what is projected: W + U, not W.
        shifted = weights.Lazy(arrays, lambda name: arrays[name] + self._duals[name])
        sets = self.sets(shifted, step, fraction)
        self._scarcity.look(step, sets, arrays, final=False)
        rho = float(ops.convert_to_numpy(self._hold.states[next(iter(sets))].rho))
        each = {name: self._move(name, arrays[name], sets[name]) for name in sets}
        residuals = admm.total(each.values())
        factor = self.plan.penalty.growth(rho, residuals, fraction)
        for name in sets:
            self._hold.states[name].rho.assign(rho * factor)
            if factor != 1.0 and self.plan.penalty.rescale_dual:
                self._hold.rules[name].set_target(self._duals.rescale(name, factor))
        norms = {name: admm.norm(arrays[name]) for name in sets}
        self.residuals = {name: _relative(each[name], norms[name], rho) for name in sets}
        return *_relative(residuals, float(np.hypot.reduce(list(norms.values()))), rho), rho

    def _move(self, name, w, constraint):
        """Z and U of one weight, as they are before rho grows by what all residuals tell."""
        held = self._hold.rules[name].zero_mask()
        moved, residuals = admm.step(w, self._state(name, w), constraint.project)
        self._aim(name, moved, held, constraint)
        return residuals

    def kept(self, arrays):
        """Which places of each Z are not zero, a mapping of arrays; a weight that no set pulls is its own Z."""
        return weights.Lazy(arrays, lambda name: self._kept(name) if name in self._duals else arrays[name])

    def _kept(self, name):
        target = self._hold.look(self._hold.states[name].target)
        return (target + self._duals[name] != 0) & (target != attach.PRUNED)

    def project(self, arrays, step, epochs):
        """W <- P(W), and the beginning of retraining: each weight in the way that goes with its set."""
        sets = self.sets(arrays, step, 1.0, last=True)
        sets = self._held(arrays, sets, step)
        self._sparse = {name: each for name, each in sets.items() if each.says_support}
        self._scarcity.look(step, self._sparse, arrays, final=True)
        self._duals.clear()
        for rule in self._hold.rules.values():
            rule.end_pull()
        self._enter(arrays, sets, step, 0, epochs)
        self.plan.steps[step].target.projected(sets)

    def _held(self, arrays, sets, step):
        """The sets that retraining stays in: while weights take values, of the set that they were projected on."""
        held = {name: each.held(arrays[name]) for name, each in sets.items()}
        fixed = self.plan.steps[step].target.fixed and held == sets
        if not fixed and not all(each.says_support for each in held.values()):
            self._fixed_sets = {step: held}
        return held

    def retrain(self, arrays, step, epoch, epochs):
        """Go on after an epoch of retraining, with the weights of which more is kept than their zeros."""
        self._enter(arrays, self._beyond_zeros(step), step, epoch, epochs)

    def settled(self, step, epoch, epochs):
        """Whether the weights are members of the sets of a step, after so many of its epochs of retraining."""
        ways = {retraining_of(each, self.plan.steps[step].retraining) for each in self._beyond_zeros(step).values()}
        return all(way.settled(epoch, epochs) for way in ways)

    def _beyond_zeros(self, step):
        """The sets of a step that is being retrained which say more than what is zero; nothing is computed for it."""
        target, sets = self.plan.steps[step].target, self._fixed_sets.get(step, {})
        sets = sets_of(self.name, target, self.variables, 1.0) if target.fixed and not sets else sets
        return {name: each for name, each in sets.items() if not each.says_support}

    def _enter(self, arrays, sets, step, epoch, epochs):
        ways = {}
        for name, each in sets.items():
            ways.setdefault(retraining_of(each, self.plan.steps[step].retraining), {})[name] = each
        for way, these in ways.items():
            self._write(way.enter(self._hold, arrays, these, epoch, epochs))

    def settle(self, arrays, step):
        """Write the weights that are held where they are held, whatever came after the last update."""
        valued = self._beyond_zeros(step)
        moved = astray(self._hold.rules, arrays)
        for name in arrays:
            rule = self._hold.rules[name]
            w = rule.restore(arrays[name]) if name in moved else arrays[name]
            to_project = name in valued and (name in moved or not rule.holds_members)
            if to_project:
                w = valued[name].project(w)
            if name in moved or to_project:
                weights.write(self.variables[name], w)

    def correct(self, arrays, step):
        """Project the weights once more, where the run has ended and a step's target says so."""
        sets = self.plan.steps[step].target.corrections(arrays)
        self._write((name, each.project(arrays[name])) for name, each in sets.items())

    def missing(self, arrays, step):
        """`"kept of promised"` of the weights, or blocks, that a step lets be other than 0, where some are 0."""
        sparse = self._sparse or self.sets(arrays, step, 1.0)
        found = {}
        for name, constraint in sparse.items():
            if isinstance(constraint, Sparse):
                zeros = self._hold.rules[name].zero_mask()
                promised = constraint.living(library(zeros).logical_not(zeros))
                kept = constraint.living(self._hold.rules[name].restore(arrays[name]))
                found |= {name: f"{kept:,} of {promised:,}"} if kept < promised else {}
        return found

    def stop(self, arrays, step, fraction):
        """Write the weights in the sets of a step as they are at a fraction of it."""
        for name in astray(self._hold.rules, arrays):
            weights.write(self.variables[name], self._hold.rules[name].restore(arrays[name]))
        sets = self.sets(arrays, step, fraction)
        self._write((name, constraint.project(arrays[name])) for name, constraint in sets.items())
        self.plan.steps[step].target.projected(sets)

    def _write(self, moved):
        for name, w in moved:
            weights.write(self.variables[name], w)

    def state(self):
        """All that `load` needs, a flat dict of NumPy arrays."""
        keys = attach.structural(self.variables)
        found = self._duals.state(keys)
        found |= {f"residuals/{keys[name]}": np.array(each) for name, each in self.residuals.items()}
        for i, step in enumerate(self.plan.steps):
            found |= {f"measured/{i}/{keys.get(name, name)}": array for name, array in step.target.state().items()}
        return {"sets": state.of_sets(self._fixed_sets, keys), **state.of_hold(self._hold, keys), **found}

    def load(self, saved):
        """Go on from a `state`."""
        keys = attach.structural(self.variables)
        self._fixed_sets = state.sets_from(saved["sets"], {key: name for name, key in keys.items()})
        state.into_hold(self._hold, saved, keys)
        self._duals.load(saved, keys)
        self.residuals = {n: admm.Residuals(*map(float, r)) for n, r in _under("residuals", saved, keys).items()}
        for i, step in enumerate(self.plan.steps):
            step.target.load(_under(f"measured/{i}", saved, keys))

    def _hold_zeros(self, arrays, sets, later):
        """Hold the zeros of weights that come to a set that keeps them in a later step only."""
        waiting = {n for each in later for n in each if each[n].keep_zeros} - set(sets)
        self._hold.set_rules(dict.fromkeys(waiting, attach.HeldAtZero()))
        for name in waiting:
            w = arrays[name]
            self._hold.rules[name].set_target(attach.marked(library(w).zeros_like(w), w == 0))

    def _kept_zero(self, name, w, constraint, step):
        """Booleans: what must stay zero while the weight is trained to the set, or None."""
        if constraint.keep_zeros or self.plan.steps[step].target.keep_zeros:
            return w == 0
        return self._hold.rules[name].zero_mask() if step > 0 and self.plan.steps[step].keep_pruned else None

    def _rule(self, shape, constraint, held):
        """What a training step does to a weight that is pulled to its set."""
        held = held is not None and bool(library(held).any(held))
        if self._frees(constraint) and constraint.says_subspace and not held:
            return attach.OffSubspace(self._pull, constraint.scheme, full_rank(shape, constraint.scheme))
        frees = self._frees(constraint) and constraint.says_support
        return attach.HeldAtZero(self._pull) if held or frees else self._pull

    def _frees(self, constraint):
        """Whether Z follows what it keeps of the weights: where to keep it is not to set its value."""
        return not self.plan.penalty.penalize_kept and (constraint.says_support or constraint.says_subspace)

    def _aim(self, name, to, held, constraint):
        rule, frees = self._hold.rules[name], self._frees(constraint) and constraint.says_support
        target = attach.marked(to.z - to.u, held, to.z != 0 if frees else None)
        self._duals.set(name, to, target)
        rule.set_target(target)
        if isinstance(rule, attach.OffSubspace):
            rule.set_inside(constraint.inside(to.z))

    def _state(self, name, w):
        """Z is not kept beside U: it is the target plus U, 0 where the weight is held, the weight where it is free."""
        target, u = self._hold.look(self._hold.states[name].target), self._duals[name]
        where = library(w).where
        z = where(target == attach.UNCONSTRAINED, w, target + u)
        return admm.ADMMState(z=where(target == attach.PRUNED, np.float32(0), z), u=u)


def _relative(residuals, norm, rho):
    """Residuals as shares of the norm of the weights, the dual one times rho."""
    return admm.Residuals(residuals.primal / (norm or 1.0), rho * residuals.dual / (norm or 1.0))


def _under(prefix, saved, keys):
    """The arrays of a state that are saved under a prefix, by the names of weights or those of a target's own."""
    names = {key: name for name, key in keys.items()}
    own = (key.removeprefix(f"{prefix}/") for key in saved if key.startswith(f"{prefix}/"))
    return {names.get(key, key): saved[f"{prefix}/{key}"] for key in own}
