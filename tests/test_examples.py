"""The examples, run as their users run them, in small."""

import io
import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"


def run(script, *arguments, backend="tensorflow"):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


GUIDES = {
    "prune_and_ship": r"the packed file gives back the same weights: True",
    "what_and_how_much": r"99% at once +\d\d\.\d+%   zeros: conv1",
    "few_bits": r"binary +9\d\.\d+%   at most 2 values a kernel",
    "to_litert": r"int8 +[\d,]+ bytes, +[\d,]+ by gzip; zeros: stored",
    "training_loop": r"kept 1,908 of 38,160; test 9\d\.",
    "coming_from_tfmot": r"zeros of the model in TFMOT's wrappers: 0.9000\nstripped: 0.9000",
    "coming_and_going": r"from TFMOT: zeros 0.7999(?s:.*)torch: zeros 0.9(?s:.*)own: zeros 0.8999(?s:.*) 0.50 zeros",
    "more_ways": r"budget: 9,\d+ bytes +9\d\.(?s:.*)a target of one's own +9\d\.\d+% +19,400 ",
    "which_ratio": r"one tolerance: \d+\.\dx, validation 9\d\.",
    "large_models": r"2 devices: kept 3,816 of 38,160; test 9\d\.",
    "large_models_jax": r"ModelParallel, 2 devices: kept 3,816 of 38,160; test 9(?s:.*) in 2 parts of \(512, 32\)",
    "extending": r"the smallest weight of the head is -?0; test 9\d\.",
}


BENCHMARKS = {
    "overhead": (["--networks", "LeNet-5", "--rounds", 1, "--lenet-steps", 2, "--jit", "off"], "LeNet-5"),
    "packed": (["--times", 1, "--levels"], "bytes"),
    "projection": (["--millions", 1, "--few", 1, "--rounds", 1], "1"),
    "scale": (["--millions", 1], "1"),
    "search": (["--networks", "LeNet-300-100", "--masks", 5, "--rounds", 1], r"LeNet-300-100, 1,000 images +\d\.\d\d"),
    **{name: (["--table"], "seeds") for name in ("quantization", "recipes", "structured", "few_steps")},
}


@pytest.mark.nightly
@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks(name):
    if name == "packed":
        pytest.importorskip("zstandard", reason="of the extra 'examples'")
    arguments, told = BENCHMARKS[name]
    assert re.search(told, run(f"benchmarks/{name}.py", *arguments))


@pytest.mark.nightly
@pytest.mark.tensorflow_only
@pytest.mark.parametrize("guide", GUIDES)
def test_guides(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.search(GUIDES[guide], run(f"guides/{guide}.py"))


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """The real images where they are, made-up ones of the same shapes elsewhere; few, for the examples' paths alone."""
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    rng = np.random.default_rng(0)
    if (DATA / "mnist.npz").exists():
        with np.load(DATA / "mnist.npz") as real:
            arrays = {key: real[key][:1600] for key in real.files}
    else:
        images = {f"x_{part}": rng.integers(0, 256, (1600, 28, 28), dtype=np.uint8) for part in ("train", "test")}
        arrays = {**images, **{f"y_{part}": rng.integers(0, 10, 1600) for part in ("train", "test")}}
    np.savez(path, **arrays)
    return path


@pytest.mark.tensorflow_only
def test_quickstart(tmp_path):
    out = run("quickstart.py", "--plot", tmp_path / "plot.png")
    assert re.search(r"total +38,160 +1,908 +0.9500 ", out)
    dense, pruned = map(float, re.search(r"dense ([\d.]+)%, pruned 20x ([\d.]+)%", out).groups())
    assert dense > 95 and pruned > dense - 1.5
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_mnist_max_drop(mnist):
    small = "--images", 1000, "--validation", 400, "--dense-epochs", 4, "--epochs", 18
    out = run("mnist_max_drop.py", "--data", mnist, "--drop", 0.03, *small)
    told = re.findall(r"step (\d) of 3, ([\d.]+)x, sparsity .*: (held|broken); ", out)
    assert [step for step, _, _ in told] == ["1", "2", "3"]
    held = max(float(rate) for _, rate, verdict in told if verdict == "held")
    dense, pruned = (float(each) for each in re.findall(r"^\S+ +[\d,]+ +([\d.]+)% +[\d.]+%$", out, re.MULTILINE))
    assert f"\n{held:.0f}x " in out and held >= 4 and pruned >= dense - 3


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_byte_budget(mnist):
    small = "--networks", "LeNet-5", "--images", 640, "--validation", 100, "--test", 200, "--dense-epochs", 1
    out = run("byte_budget.py", "--data", mnist.parent, *small, "--epochs", 3, "--lenet-bytes", 20_000)
    (size,) = re.findall(r"^LeNet-5 +20,000 +([\d,]+) ", out, re.MULTILINE)
    assert 19_600 <= int(size.replace(",", "")) <= 20_000


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_guide_faster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = run("guides/faster.py")
    dense, before, small, after = re.search(
        r"dense ([\d.]+)%, ([\d,]+) weights; small ([\d.]+)%, ([\d,]+)", out
    ).groups()
    assert float(small) > float(dense) - 2
    assert int(after.replace(",", "")) < 0.6 * int(before.replace(",", ""))
    files = [int(size.replace(",", "")) for size in re.findall(r"tflite: ([\d,]+) bytes", out)]
    assert files[1] < 0.7 * files[0]


@pytest.mark.nightly
@pytest.mark.parametrize("script", ["mnist_lenet5.py", "mnist_lenet300.py"])
def test_mnist(script, mnist):
    few = ["--dense-epochs", 1, "--admm-epochs", 2, "--retrain-epochs", 1, "--validation", 400]
    out = run(script, "--data", mnist, "--rate", 20, *few)
    kept = {"mnist_lenet5.py": "21,525", "mnist_lenet300.py": "13,310"}[script]
    assert re.search(rf"20.0x +[\d.]+% +[\d.]+% +{kept}", out)


@pytest.mark.nightly
def test_mnist_olmp(mnist, tmp_path):
    rows = tmp_path / "rows.jsonl"
    few = [
        "--data",
        mnist.parent,
        "--cache",
        tmp_path,
        "--results",
        rows,
        "--networks",
        "lenet300",
        "--validation",
        400,
    ]
    out = run("mnist_olmp.py", *few, "--steps", 60, "--seeds", 0, "--dense-epochs", 2)
    assert re.search(r"lenet300, delta 0.003, 60 steps, to 30, mean of 1 +[\d.]+ ", out)
    assert run("mnist_olmp.py", *few, "--steps", 60, "--table").splitlines() == out.splitlines()[-3:]


@pytest.mark.nightly
def test_whose_counts(mnist, tmp_path):
    rows = tmp_path / "rows.jsonl"
    few = ["--data", mnist.parent, "--cache", tmp_path, "--results", rows, "--validation", 400, "--rates", 30]
    methods = [f"ours, {how}" for how in ("erk", "owl", "saliency", "evolution")]
    out = run("benchmarks/ratios.py", *few, "--seeds", 0, "--dense-epochs", 1, "--methods", *methods, "tfmot, lamp")
    line = r"^lenet300, (\S+, \S+), 30x +1 +[\d.]+ +[\d.]+ +0.00 +([\d,]+), ([\d,]+), ([\d,]+)$"
    found = re.findall(line, out, re.MULTILINE)
    assert {method for method, *_ in found} == {*methods, "tfmot, lamp"}
    for _, *counts in (each for each in found if each[0] in methods):  # for TFMOT these are too few steps
        assert abs(sum(int(count.replace(",", "")) for count in counts) - 8873) < 100
    assert run("benchmarks/ratios.py", *few, "--table").splitlines() == out.splitlines()[-6:]


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """Made-up images in the file's format."""
    folder = tmp_path_factory.mktemp("data")
    rng, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 600), ("test", 100)):
        files = [io.BytesIO() for _ in range(count)]
        for file in files:
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
        arrays[f"jpeg_{part}"] = np.frombuffer(b"".join(f.getvalue() for f in files), np.uint8)
        arrays[f"offsets_{part}"] = np.cumsum([0, *(len(f.getvalue()) for f in files)])
        arrays[f"y_{part}"] = rng.integers(0, 10, count)
    np.savez(folder / "cifar.npz", **arrays)
    return folder / "cifar.npz"


@pytest.mark.nightly
@pytest.mark.skipif(not (DATA / "resnet20_cifar10_torch.npz").exists(), reason="the given weights are not here")
def test_cifar_one_ratio(tmp_path):
    few = ["--cache", tmp_path, "--results", tmp_path / "rows.jsonl", "--network", "resnet20", "--seeds", 0]
    out = run("cifar_one_ratio.py", "--data", DATA, *few, "--images", 256, "--ratios", 0, 0.5, 0.9)
    kept = dict(re.findall(r"^resnet20, (\d+)% removed +1 +([\d,]+) ", out, re.MULTILINE))
    weights = 268_336
    assert {ratio: int(count.replace(",", "")) for ratio, count in kept.items()} == {
        "0": weights,
        "50": weights // 2,
        "90": round(0.1 * weights),
    }


@pytest.mark.nightly
@pytest.mark.skipif(not (DATA / "stories260K.bin").exists(), reason="the model that tells stories is not here")
def test_stories_layerwise():
    out = run("stories_layerwise.py", "--data", DATA, "--sparsities", 0.5, "--steps", 50)
    assert float(re.search(r"NumPy by (\S+)", out)[1]) < 1e-4
    found = {
        name.strip(): float(value) for name, value in re.findall(r"^(.{26}) +([\d.]+) +[\d.-]+ ", out, re.MULTILINE)
    }
    assert found["prune_layerwise"] < 16 < found["ALPS"] < found["SparseGPT"] < found["Wanda"] < found["magnitude"]
    assert float(re.search(r"50 ([\d.]+)$", out, re.MULTILINE)[1]) < found["prune_layerwise"]


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_cifar_on_few_values(cifar):
    epochs = ["--epochs", 1, "--admm-epochs", 1, "--retrain-epochs", 1, "--limit", 64, "--batch-size", 32]
    out = run("cifar_resnet20.py", "--data", cifar, *epochs, "--validation", 100, "--rate", 10, "--bits", 2)
    (last,) = re.findall(r"^10x, .*$", out, re.MULTILINE)
    assert re.search(r" 27,090 ", last)
    distinct = re.findall(r"^\S+/kernel +\S+ +[\d,]+ +[\d,]+ +[\d.]+ +([\d,]+) ", out, re.MULTILINE)
    assert len(distinct) == 2 * 22 and max(map(int, distinct[22:])) <= 5


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_mnist_lenet5_storage(mnist, tmp_path):
    few = ["--dense-epochs", 1, "--admm-epochs", 2, "--retrain-epochs", 1, "--validation", 400, "--rate", 20]
    few += ["--few-admm-epochs", 1, "--few-retrain-epochs", 1, "--out", tmp_path / "lenet5.kadmm"]
    out = run("mnist_lenet5_storage.py", "--data", mnist, *few)
    whole = re.search(r"^the whole file +([\d,]+) +([\d,]+)x +[\d.]+%", out, re.MULTILINE)
    assert int(whole[1].replace(",", "")) == (tmp_path / "lenet5.kadmm").stat().st_size
    assert int(whole[2].replace(",", "")) == round(4 * 431_080 / (tmp_path / "lenet5.kadmm").stat().st_size)


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_mnist_records(mnist, tmp_path):
    few = ["--seeds", 3, "--epochs", 4, "--validation", 400]
    paths = ["--cache", tmp_path / "cache", "--results", tmp_path / "rows.jsonl"]
    out = run("mnist_records.py", "--data", mnist, *few, *paths)
    (kept,) = re.findall(r"^lenet300, weights +([\d,]+) +1[5-9]\dx ", out, re.MULTILINE)
    assert int(kept.replace(",", "")) <= 1_775
    size = (tmp_path / "cache" / "lenet300_3" / "bytes.kadmm").stat().st_size
    assert re.search(rf"^lenet300, bytes +[\d,]+ +\d+x +{size:,} ", out, re.MULTILINE)
    again = run("mnist_records.py", "--data", mnist, *few, *paths)
    assert again.splitlines()[-3:] == out.splitlines()[-3:]


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_mnist_binary(mnist):
    few = ["--dense-epochs", 1, "--admm-epochs", 1, "--retrain-epochs", 1, "--validation", 400]
    out = run("mnist_binary.py", "--data", mnist, *few)
    assert len(re.findall(r"^lenet5/\w+/kernel +\S+ +[\d,]+ +[\d,]+ +0.0000 +2 ", out, re.MULTILINE)) == 4


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_cifar_low_rank(cifar):
    few = ["--epochs", 1, "--admm-epochs", 1, "--retrain-epochs", 1, "--validation", 100, "--limit", 256]
    out = run("cifar_resnet20.py", "--data", cifar, *few, "--low-rank", 0.5)
    assert len(re.findall(r"^(?:ADMM|TRP|truncated SVD), channel +[\d.]+%", out, re.MULTILINE)) == 3
    macs = [int(left.replace(",", "")) for left in re.findall(r"in two, [\d,]+ to ([\d,]+) of their MACs", out)]
    assert len(macs) == 3 and all(19_800_000 < left <= 20_500_000 for left in macs)


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_fast_on_cpu():
    out = run("fast_on_cpu.py", "--width", 64, "--size", 32, "--runs", 3)
    assert re.search(r"Dense, 1x4 zeros 90% +0\.(90|89)\d ", out) and "MobileNetV2, zeros 95%, for_xnnpack" in out


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_shrink_mobilenet():
    out = run("shrink_mobilenet.py", "--models", "MobileNetV2", "--size", 32, "--runs", 3)
    rows = re.findall(r"^MobileNetV2, [\w, ]+?  +3\.54 +1\.24 ", out, re.MULTILINE)
    assert len(rows) == 4


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_tfhub_compress():
    out = run("tfhub_compress.py", "--dense-epochs", 1, "--epochs", 4)
    served = re.findall(r"^.*(?:KerasLayer|TFSMLayer) +[\d,]+ +([\d,]+) +([\d,]+) ", out, re.MULTILINE)
    assert len(served) == 3 and all(kept == again for kept, again in served)


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_export_lenet5(mnist):
    few = ["--limit", 600, "--dense-epochs", 1, "--admm-epochs", 1, "--retrain-epochs", 1, "--validation", 400]
    out = run("export_lenet5.py", "--data", mnist, *few, "--runs", 2, "--schemes")
    zeros = int(re.search(r"([\d,]+) zeros\n", out)[1].replace(",", ""))
    ways = {
        line.rsplit("  ", 6)[0].strip(): line for line in out.splitlines() if line.startswith(("pruned", "tf_keras"))
    }
    assert zeros == round(0.95 * 430_500) and len(ways) == 7
    for line in ways.values():
        assert int(re.search(r" ([\d,]+) +[\d.]+% ", line)[1].replace(",", "")) >= zeros


def test_shuffled_sequences_keep_every_pair_of_neighbours(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import dna

    rng = np.random.default_rng(0)
    for _ in range(200):
        sequence = "".join(rng.choice(list("ACGTN"), rng.integers(2, 40), p=[0.3, 0.2, 0.2, 0.25, 0.05]))
        other = dna.shuffled(sequence, rng)
        pairs = [Counter(zip(each, each[1:], strict=False)) for each in (sequence, other)]
        assert pairs[0] == pairs[1] and (sequence[0], sequence[-1]) == (other[0], other[-1])
    seen = {dna.shuffled("ACATAGA", rng) for _ in range(300)}
    assert seen == {"A" + "A".join(middle) + "A" for middle in itertools.permutations("CTG")}
    np.testing.assert_array_equal(dna.one_hot(["AN", "TG"])[..., 3], [[0, 0], [1, 0]])


@pytest.mark.nightly
@pytest.mark.tensorflow_only
@pytest.mark.skipif(not (DATA / "dna").exists(), reason="needs the sequences")
def test_deepmotif(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [
        "--data",
        DATA / "dna",
        "--seeds",
        0,
        "--most",
        60,
        "--epochs",
        4,
        "--compress-epochs",
        4,
        "--results",
        tmp_path / "rows.jsonl",
    ]
    out = run("deepmotif.py", *options, "--factors", "SRF", "simulated")
    for network in ("CNN dense", "CNN 30x", "RNN 30x", "CNN-RNN 100x", "CNN-RNN half the channels"):
        assert re.search(rf"SRF {network} +0\.\d+ +[+-]0\.\d+ +- ", out)
    assert re.search(r"simulated CNN-RNN dense +0\.\d+ +\+0\.0000 +0\.\d+ ", out)
    assert "validation" not in run("deepmotif.py", *options, "--factors", "SRF")  # nothing is made again
    with pytest.raises(AssertionError, match="another number of sequences"):
        run("deepmotif.py", *options, "--factors", "SRF", "--most", 50)
    assert re.search(r"SRF 30x, by filters +(yes|no)", run("deepmotif.py", *options, "--factors", "SRF", "--motifs"))


@pytest.mark.nightly
@pytest.mark.tensorflow_only
def test_guide_what_it_looks_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = run("guides/what_it_looks_at.py")
    assert re.search(r"pruned 20x +0\.9\d+ ", out)
    assert "<img" in (tmp_path / "what_it_looks_at.html").read_text()
