"""Prune a Keras model and ship it: `python examples/guides/prune_and_ship.py`. No data; under a minute.

Train, prune 20x in one more `fit`, look at what each layer kept, fine-tune with the zeros held by masks, and write
three files: Keras's own, a packed one of everything, and a .tflite.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
from quickstart import conv_net, digits

import keras_admm as ka

keras.utils.set_random_seed(0)
x, x_test, y, y_test = digits()
model = conv_net()
model.fit(x, y, epochs=15, batch_size=32, verbose=0)
dense = model.evaluate(x_test, y_test, verbose=0)[1]

# One more fit of the same model, compiled as it was. backup_dir= would let a run go on that was killed.
model.fit(x, y, epochs=40, batch_size=32, verbose=0, validation_split=0.1, callbacks=[ka.ADMMPrune(0.95, verbose=1)])
print(ka.report(model))

# A later `fit` would fill the zeros: layers that hold masks keep them, in the saved file too.
masked = ka.mask(model)
print(f"layers that hold their zeros: {sum(isinstance(layer, ka.layers.Masked) for layer in masked.layers)}\n")
masked.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
masked.fit(x, y, epochs=5, batch_size=32, verbose=0)
plain = ka.strip(masked)
plain.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
pruned = plain.evaluate(x_test, y_test, verbose=0)[1]

plain.save("pruned.keras")
ka.save(plain, "pruned.kadmm")
ka.export.litert(plain, "pruned.tflite", quantize="int8", representative_data=x[:200])
again = ka.load("pruned.kadmm")
same = all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), again.get_weights(), strict=True))

print(f"test accuracy: dense {dense:.2%}, pruned and fine-tuned {pruned:.2%}")
print(f"the packed file gives back the same weights: {same}")
sizes = ka.packed.sizes("pruned.kadmm")
print(f"of its {sizes.file:,} bytes {sizes.data:,.0f} are the numbers of its weights, {sizes.index:,.0f} their places")
for name in ("pruned.keras", "pruned.kadmm", "pruned.tflite"):
    print(f"{name}: {Path(name).stat().st_size:,} bytes")
