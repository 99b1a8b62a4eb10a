"""The way of calibration samples through a model, block by block: each block with what comes in from those before."""

import abc

import keras
from keras import ops, tree

from keras_admm import inference
from keras_admm.graph import calls, every_layer, has_graph, observe, takes_training


class Block:
    """A part of a model that its samples have come to, on two ways: through the model as it is, and as it was.

    Args:
        layers: list of the layers in it.
        run: function `(index, before)` that sends a batch through, and returns what comes out. `before` is None for the
            model as it is, or a dict of `id(variable)` to the value that a variable had.

    Attributes:
        before: dict of `id(variable)` to the tensors that variables of the block had before they were changed.
    """

    def __init__(self, layers, run):
        self.layers, self.before = layers, {}
        self._run = run

    def run(self, index):
        """What comes out of the block as it is for a batch, behind blocks as they are."""
        return self._run(index, None)

    def run_before(self, index):
        """What comes out of the block as it was for a batch, behind blocks as they were."""
        return self._run(index, self.before)


class Passage(abc.ABC):
    """Samples on their way through a model, which may be changed behind them."""

    @abc.abstractmethod
    def blocks(self):
        """Yields each `Block`; when the next is asked for, the samples go on through this one as it then is."""


class Value:
    """A tensor between two blocks, with the Keras mask that comes along with it, which attention takes away.

    Args:
        tensor: the tensor.
        mask: its mask; by default the one that it has.
    """

    def __init__(self, tensor, mask=None):
        self._tensor = tensor
        self._mask = inference.mask_of(tensor) if mask is None else mask

    def taken(self):
        """The tensor with its mask."""
        inference.set_mask(self._tensor, self._mask)
        return self._tensor

    def settle(self):
        """The mask is from now on the one that the tensor has."""
        self._mask = inference.mask_of(self._tensor)


class WholeModel(Passage):
    """The model as one block, whatever it does: what comes to a layer is computed from the inputs on each time.

    Args:
        model: the model.
        batches: list of batches of its inputs.
    """

    def __init__(self, model, batches):
        self._model, self._batches = model, batches

    def blocks(self):
        yield Block(every_layer(self._model), lambda i, before: called(self._model, self._batches[i], before))


class GraphOrder(Passage):
    """A Functional or Sequential model, each call of its graph a block; held are the activations that are still read.

    Args:
        model: the model.
        batches: list of batches of its inputs.
        twice: bool, whether the samples go through the model as it was as well.
    """

    def __init__(self, model, batches, twice):
        followed = calls.of(model, "its layers can be calibrated").needed()
        self._calls = followed.calls
        self._now = [_entered(followed.inputs, batch) for batch in batches]
        self._before = [_entered(followed.inputs, batch) for batch in batches] if twice else []
        kept = set(tree.flatten(followed.outputs))
        self._last = {x: i for i, call in enumerate(self._calls) for x in call.reads() if x not in kept}

    def blocks(self):
        for i, call in enumerate(self._calls):
            inside = every_layer(call.layer) if isinstance(call.layer, keras.layers.Layer) else []
            block = Block(inside, lambda index, before, call=call: self._outputs(call, index, before))
            yield block
            for run, stream in ((block.run, self._now), (block.run_before, self._before)):
                for index, values in enumerate(stream):
                    values.update(zip(call.outputs, map(Value, tree.flatten(run(index))), strict=True))
                    for x in call.reads():
                        values[x].settle()
                    for x in [x for x in values if self._last.get(x, i) <= i]:
                        del values[x]

    def _outputs(self, call, index, before):
        values = (self._now if before is None else self._before)[index]
        args, kwargs = call.filled({x: values[x].taken() for x in call.reads()})
        return at_inference(call.layer, args, kwargs, before)


class NamedBlocks(Passage):
    """The blocks that a model names by `get_quantization_layer_structure`, each fed by the one before.

    What else a block is called with, such as a padding mask or positions, is what the model passes.

    Args:
        blocks: list of the layers that are blocks.
        records: list of a `Record` for each batch.
        twice: bool, whether the samples go through the model as it was as well.
    """

    def __init__(self, blocks, records, twice):
        self._blocks, self._records = blocks, records
        self._now = [Value(record.first, record.others[0][1].get("mask")) for record in records]
        self._before = list(self._now) if twice else []

    def blocks(self):
        for i, layer in enumerate(self._blocks):
            block = Block(every_layer(layer), lambda index, before, i=i: self._outputs(i, index, before))
            yield block
            if i + 1 == len(self._blocks):
                return
            for run, stream in ((block.run, self._now), (block.run_before, self._before)):
                outputs = [tree.flatten(run(index)) for index in range(len(stream))]
                stream[:] = [Value(each[self._records[n].ways[i + 1]]) for n, each in enumerate(outputs)]

    def _outputs(self, i, index, before):
        args, kwargs = self._records[index].others[i]
        given = (self._now if before is None else self._before)[index].taken()
        return at_inference(self._blocks[i], (given, *args), kwargs, before)


class Record:
    """How a model calls its blocks on one batch.

    Attributes:
        layers: list of the layers, as they were called.
        first: what came in to the first of them.
        others: list of pairs, the other arguments and keyword arguments of each call.
        ways: list, which of the flat outputs of the call before came in; None where it was none of them.
    """

    def __init__(self, model, batch, blocks):
        self.layers, self.others, self.ways, self.first = [], [], [], None
        self._before = []
        with observe(blocks, self._note):
            called(model, batch)
        del self._before

    def follows(self, blocks):
        """Whether each block was called once, in this order, on what came out of the one before."""
        return list(map(id, self.layers)) == list(map(id, blocks)) and None not in self.ways[1:]

    def _note(self, call):
        if not self.layers:
            self.first = call.inputs
        ways = [i for i, x in enumerate(self._before) if call.args and x is call.args[0]]
        self.layers.append(call.layer)
        self.others.append((call.args[1:], call.kwargs))
        self.ways.append(ways[0] if ways else None)
        self._before = tree.flatten(call.outputs)


def passage_of(model, batches, variables, twice):
    """The `Passage` that has the least to compute anew: by the model's named blocks, by its graph, or as a whole.

    Args:
        model: the model.
        batches: list of batches of its inputs.
        variables: list of the variables that will change.
        twice: bool, whether the samples go through the model as it was as well.
    """
    blocks = named_blocks(model)
    if blocks:
        records = [Record(model, batch, blocks) for batch in batches]
        if all(record.follows(blocks) for record in records):
            return NamedBlocks(blocks, records, twice)
    elif has_graph(model):
        readers = calls.of(model, "its layers can be calibrated").readers()
        if all(len(readers.get(id(v), [])) == 1 for v in variables):
            return GraphOrder(model, batches, twice)
    return WholeModel(model, batches)


def named_blocks(model):
    """The blocks in the order of `model.get_quantization_layer_structure`, or None where the model has none."""
    structure = model.get_quantization_layer_structure("gptq")
    return list(structure["sequential_blocks"]) if structure else None


def at_inference(layer, args, kwargs, values=None):
    """What a layer or an operation gives at inference; `values` as in `inference.eager`."""
    with inference.eager(values):
        return layer(*args, **{**kwargs, "training": False} if takes_training(layer) else kwargs)


def called(model, batch, values=None):
    """What a model gives at inference; `values` as in `inference.eager`."""
    with inference.eager():
        return inference.call(model, batch, values)


def _entered(inputs, batch):
    """A dict of the symbols of a graph's inputs to the tensors of a batch."""
    flat = tree.flatten(inputs)
    by_name = isinstance(batch, dict) and not isinstance(inputs, dict)
    given = [batch[x.layer.name] for x in flat] if by_name else tree.flatten(batch)
    tensors = (ops.cast(ops.convert_to_tensor(x), symbol.symbol.dtype) for symbol, x in zip(flat, given, strict=True))
    return dict(zip(flat, map(Value, tensors), strict=True))
