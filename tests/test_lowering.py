"""Training steps and projections as an accelerator gets them: exported for TPUs without one, traced once a phase."""

import contextlib
import functools
import importlib
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from cases import rows
from keras import ops

import keras_admm as ka
from keras_admm import attach, penalties, weights
from keras_admm.constraints import Binary, Joint, Levels, LowRank, Sparse, Support, counting

BACKEND = keras.backend.backend()
EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = [
    pytest.mark.every_backend,
    pytest.mark.skipif(BACKEND == "torch", reason="no step of it is lowered to what a TPU takes"),
]
X, Y = np.zeros((16, 8), "float32"), np.zeros((16, 6), "float32")

# What XLA has on a TPU itself; all else that is called is of another device, or of the host.
NATIVE = {"Eigh", "Qr", "ProductOfElementaryHouseholderReflectors"}
FAULTS = {
    "a call": re.compile(r"custom_call @([\w.]+)|custom_call_target=\"([\w.]+)\""),
    "a transfer": re.compile(r"(?:stablehlo\.| )(send|recv|infeed|outfeed)\b"),
    "a dynamic shape": re.compile(r"(tensor<[^>]*\?[^>]*>|\w+\[[^\]]*<=[^\]]*\]|set.dimension.size)"),
    "float64": re.compile(r"(tensor<(?:\d+x)*f64>|\bf64\[)"),
}


def faults(text):
    """What in a lowered step an accelerator could not do by itself, at full speed."""
    found = {
        fault: {next(filter(None, match)) for match in map(re.Match.groups, each.finditer(text))}
        for fault, each in FAULTS.items()
    }
    found["a call"] -= NATIVE
    return {fault: those for fault, those in found.items() if those}


def lowered(function, *arguments):
    """The StableHLO of a function that JAX exports for TPUs; of TensorFlow XLA's own text."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True).experimental_get_compiler_ir(*arguments)(stage="hlo")
    import jax

    exported = jax.export.export(jax.jit(function), platforms=["tpu"])(*jax.tree.map(jax.typeof, arguments))
    return f"{exported.mlir_module()}"


def step(model, *data):
    """The lowered training step of a compiled model."""
    data = keras.tree.map_structure(ops.convert_to_tensor, data)
    if BACKEND == "tensorflow":
        return lowered(model.train_step, data)
    kinds = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
    return lowered(model.train_step, model._get_jax_state(**dict.fromkeys(kinds, True)), data)


def small(optimizer="adam", **kwargs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, **kwargs)])
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    return model


LINES = {
    "stablehlo.custom_call @lapack_sgesdd_ffi(%1) : tensor<3xf32>": "a call",
    '%2 = f32[3] custom-call(%1), custom_call_target="TopK"': "a call",
    '"stablehlo.send"(%1, %2) <{is_host_transfer = true}>': "a transfer",
    "%2 = ((f32[3], s32[]), token[]) infeed(%1)": "a transfer",
    "%2 = stablehlo.add %1, %1 : tensor<?x8xf32>": "a dynamic shape",
    "%2 = f32[<=16,8] add(%1, %1)": "a dynamic shape",
    "%2 = stablehlo.add %1, %1 : tensor<8x6xf64>": "float64",
    "%2 = f64[] add(%1, %1)": "float64",
    "stablehlo.custom_call @Qr(%1) : tensor<3x3xf32>": None,
    "%2 = stablehlo.dynamic_slice %1, sizes = [1] : (tensor<3xf32>, tensor<i32>) -> tensor<1xf32>": None,
}


@pytest.mark.parametrize("line", LINES)
def test_what_an_accelerator_cannot_do_is_found(line):
    assert list(faults(line)) == ([LINES[line]] if LINES[line] else [])


def test_a_call_of_the_host_cannot_be_lowered():
    def called(x):
        if BACKEND == "tensorflow":
            import tensorflow as tf

            return tf.numpy_function(np.sort, [x], tf.float32)
        import jax

        return jax.pure_callback(np.sort, x, x)

    with pytest.raises(ValueError, match="PyFunc|platform"):
        lowered(called, ops.convert_to_tensor(X))


PULL = penalties.GradientPenalty().rule()
# What a training step does to the kernel, of shape (8, 6).
RULES = {
    "nothing": attach.Rest(),
    "added": attach.AddedToGradient(),
    "gradient": PULL,
    "proximal": attach.ProximalPull(),
    "held at zero": attach.HeldAtZero(),
    "gradient, held at zero": attach.HeldAtZero(PULL),
    "held at values": attach.HeldAtValues(),
    "off a subspace": attach.OffSubspace(PULL, "channel", 6),
    "spliced": attach.Spliced(0.1, 0.01),
    "clusters": attach.SharedClusters((4, 1)),
    "clusters, channels": attach.SharedClusters((4, 6)),
    "scale": attach.SharedScale((1,)),
    "scale, channels": attach.SharedScale((6,)),
    "through values": attach.StraightThroughValues((4, 1)),
    "through values, channels": attach.StraightThroughValues((4, 6)),
    "through many values": attach.StraightThroughValues((128, 1)),
    "through values and zero": attach.StraightThroughValuesAndZero((16, 1)),
    "through a scale": attach.StraightThroughScale((8, 1)),
    "through a scale, channels": attach.StraightThroughScale((8, 6)),
}


def attached(rule=None, **kwargs):
    """The lowered step of a model with a rule, or at rest."""
    model = small()
    hold = attach.Hold(model, weights.select(model), model.optimizer, **kwargs)
    hold.set_rules({} if rule is None else dict.fromkeys(hold.rules, rule))
    text = step(model, X, Y)
    hold.release()
    return text


@functools.cache
def length_at_rest():
    return len(attached().splitlines())


@pytest.mark.parametrize("name", RULES)
def test_what_a_rule_does_to_a_step_runs_on_a_tpu(name):
    text = attached(RULES[name])
    assert not faults(text)
    assert (len(text.splitlines()) > length_at_rest()) == (name != "nothing")


def test_a_step_for_all_phases_runs_on_a_tpu():
    text = attached(any_of=attach.AnyOfThese(PULL))
    assert not faults(text)
    assert len(text.splitlines()) > length_at_rest()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="whose graphs begin whatever has its inputs")
@pytest.mark.parametrize("rule", [PULL, attach.ProximalPull(), attach.HeldAtZero(PULL)])
def test_the_target_of_a_weight_is_read_when_its_turn_has_come(rule):
    """Else what is made of it, for all weights at once, would lie in memory from the beginning of the step."""
    import tensorflow as tf

    model = small()
    hold = attach.Hold(model, weights.select(model), model.optimizer)
    hold.set_rules(dict.fromkeys(hold.rules, rule))
    graph = tf.function(model.train_step).get_concrete_function((tf.constant(X), tf.constant(Y))).graph
    hold.release()
    targets = [id(state.target.value.handle) for state in hold.states.values()]
    handles = {inside.name for outside, inside in graph.captures if id(outside) in targets}
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp" and op.inputs[0].name in handles]
    assert reads and all(op.control_inputs for op in reads)


def kinds_of(rule):
    """The concrete classes of a rule that the package has."""
    own = [rule] if not rule.__abstractmethods__ and rule.__module__.startswith("keras_admm") else []
    return {*own, *(kind for each in rule.__subclasses__() for kind in kinds_of(each))}


def test_every_rule_is_among_them():
    assert kinds_of(attach.StepRule) == {type(rule) for rule in RULES.values()} | {attach.AnyOfThese}


# What a compiled step can hold of a set: of a kernel of shape (3, 3, 4, 6), in which a "2:4" has its inputs.
SETS = {
    **{structure: Sparse(0.5, structure) for structure in ("element", "filter", "row", "column", "block(2,4)")},
    "pattern": Sparse(0.5, "pattern"),
    "2:4": Sparse(structure="2:4"),
    "support": Support(np.ones((3, 3, 4, 6))),
    "levels": Levels(4, fit="max"),
    "levels, channels": Levels(4, zero=False, scope="channel", fit="max"),
    "binary": Binary(),
    "binary, channels": Binary("channel", keep_zeros=True),
    "sparse levels": Joint(Sparse(0.5), Levels(4, fit="max")),
    **{f"low rank, {scheme}": LowRank(2, scheme=scheme) for scheme in ("channel", "spatial")},
    "low rank by energy": LowRank(energy=0.9),
}


# Between two steps, with `state="device"`.
BETWEEN = {
    "the largest": lambda x: counting.mark(ops.abs(x), ops.cast(9, "int32"), axes=(0, 1, 2, 3)),
    "the largest of each pool": lambda x: counting.mark(ops.abs(x), ops.cast(2, "int32"), axes=(2,)),
    "how many of the largest": lambda x: counting.numbers_of_largest([x, x[0]], ops.cast(9, "int32")),
}


@pytest.mark.parametrize("name", SETS | BETWEEN)
def test_a_projection_runs_on_a_tpu(name):
    assert not faults(lowered((SETS | BETWEEN)[name], ops.ones((3, 3, 4, 6))))


class Steps(keras.callbacks.Callback):
    """Lowers each training step of a run, and keeps the version of the step at each of its traces."""

    def __init__(self, run, *data):
        super().__init__()
        self.run, self.data = run, data
        self.faults, self.traced, self.running = {}, [], False

    def loss(self, y, p):
        if self.running:
            self.traced.append(self.run.engine.step_version)
        return ops.mean(ops.square(y - p), axis=-1)

    def on_train_batch_begin(self, batch, logs=None):
        self.running = False
        version = self.run.engine.step_version
        if version not in self.faults:
            self.faults[version] = faults(step(self.model, *self.data))
        self.running = True


@contextlib.contextmanager
def compiled_steps(caplog):
    """A list of what JAX says, afterwards, of each training step that it has compiled: here a device may matter too."""
    found = []
    if BACKEND != "jax":
        yield found
        return
    import jax

    with jax.log_compiles():
        yield found
    found += [said for said in caplog.messages if said.startswith("Finished XLA compilation of jit(train_step)")]


class OwnStep(keras.Model):
    """With a `train_step` of its own, which is compiled once for all phases."""

    def train_step(self, *args):
        return super().train_step(*args)


def dense(kind=keras.Model):
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(10, "relu")(inputs)
    return kind(inputs, keras.layers.Dense(6)(hidden))


def transformer():
    """Two blocks of attention, with dropout, over 12 tokens."""
    tokens = keras.Input((12,), dtype="int32")
    x = keras.layers.Embedding(50, 16)(tokens)
    for _ in range(2):
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.MultiHeadAttention(2, 8, dropout=0.1)(y, y, use_causal_mask=True)
        x = keras.layers.Add()([x, y])
        y = keras.layers.Dense(32, "gelu")(keras.layers.LayerNormalization()(x))
        x = keras.layers.Add()([x, keras.layers.Dropout(0.1)(keras.layers.Dense(16)(y))])
    return keras.Model(tokens, keras.layers.Dense(50)(x))


def example(module, name):
    def make():
        sys.path.insert(0, str(EXAMPLES))
        try:
            return getattr(importlib.import_module(module), name)()
        finally:
            sys.path.remove(str(EXAMPLES))

    return make


NETWORKS = {
    "dense": dense,
    "dense, its own step": lambda: dense(OwnStep),
    "LeNet-5": example("mnist_lenet5", "lenet5"),
    "ResNet-20": example("cifar_resnet20", "resnet20"),
    "Transformer": transformer,
}
# The callback, and how many steps are compiled in its fit: for the rules of each phase, or a `train_step` for all of
# them, where retraining needs no other.
RUNS = {
    "pruned twice": (lambda: ka.ADMMPrune([0.5, 0.8], allocation="erk", update_every="3 steps"), 4, 1),
    "quantized": (lambda: ka.ADMMQuantize(3), 3, 3),
    "clustered": (lambda: ka.ADMMCluster(4, retraining="shared_values"), 2, 2),
    "low rank": (lambda: ka.ADMMLowRank(energy=0.9), 1, 1),
    "channels": (lambda: ka.ADMMPrune(structure="channel", budget={"macs": 0.5}), 2, 1),
}
CASES = [("dense", run) for run in RUNS] + [("LeNet-5", run) for run in RUNS]
CASES += [("dense, its own step", "pruned twice"), ("dense, its own step", "quantized")]
CASES += [("ResNet-20", run) for run in ("pruned twice", "quantized", "channels")]
CASES += [("Transformer", run) for run in ("pruned twice", "quantized", "clustered")]


@pytest.mark.parametrize("case", rows(lambda case: "dense" in case[0] and case[1] == "pruned twice", CASES))
def test_a_whole_fit_runs_on_a_tpu_and_traces_each_step_once(case, caplog):
    name, run = case
    model, (make, phases, of_its_own) = NETWORKS[name](), RUNS[run]
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(8, *model.input_shape[1:]))).astype("float32")
    y = rng.normal(size=(8, *model.output_shape[1:])).astype("float32")
    callback = make()
    steps = Steps(callback, x[:4], y[:4])
    model.compile("adam", steps.loss, jit_compile=BACKEND == "jax")
    with compiled_steps(caplog) as compiled:
        model.fit(x, y, epochs=8, batch_size=4, verbose=0, callbacks=[callback, steps])
    assert not any(steps.faults.values())
    assert steps.traced == list(steps.faults)
    assert len(steps.traced) == (of_its_own if isinstance(model, OwnStep) else phases)
    assert len(compiled) == (len(steps.traced) if BACKEND == "jax" else 0)
