"""What the commands do; each loads what it needs when it runs, so that `--help` is there at once."""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

CALIBRATION = 500  # samples: more change the ranges little and take long
SILENT = 2.0  # seconds after which it is said what takes so long
PACKED = ".kadmm"
KERAS, KERAS_OR_FOLDER = (".keras",), (".keras", "")  # of tf_keras: no ending, for the folder of a SavedModel
ENDINGS = {"litert": (".tflite",), "tf_keras": KERAS_OR_FOLDER, "savedmodel": None}


class UsageError(ValueError):
    """What is wrong with the command line, not with the work."""


def version():
    """The program's name and version."""
    import keras_admm

    return f"keras-admm {keras_admm.__version__}"


def report(args):
    from keras_admm import reporting

    if args.html:
        _check_written(args, args.html)
    model = _opened(args.model)
    with _told("counting what each layer kept"):
        counted = reporting.report(model)
        if args.html:
            counted.to_html(args.html, details=args.details)
    write = counted.to_markdown if args.markdown else counted.to_text
    _print(args, counted.to_dict, lambda: write(details=args.details))


def prune(args):
    from keras_admm import reporting
    from keras_admm.engine import Engine
    from keras_admm.files import save_model
    from keras_admm.plan import Plan, Step, pruning_targets

    try:
        steps = [
            Step(target=target, admm_epochs=1, retrain_epochs=0)
            for target in pruning_targets("prune", args.sparsity, allocation=args.allocation)
        ]
    except ValueError as error:
        raise UsageError(str(error).removeprefix("prune: ")) from error
    _check_output(args, KERAS_OR_FOLDER)
    model, choice = _opened(args.model), (_names(args.layers), _names(args.exclude))
    _check_choice(model, *choice)
    with _told("pruning"):
        Engine(model, Plan(steps=steps), *choice, optimizer=None, name="prune").project()
        save_model(model, args.output)
        counted = reporting.report(model, *choice)
    note = (
        "Pruned at once by magnitude, without data or training: the accuracy was not looked at.\n"
        f"Written without an optimizer: {args.output}"
    )
    _print(args, counted.to_dict, lambda: f"{counted}\n\n{note}")


def shrink(args):
    from keras_admm import reporting, structure
    from keras_admm.files import save_model

    _check_output(args, KERAS)
    model = _opened(args.model)
    with _told("taking out what is dead"):
        small = structure.shrink(model, args.round_to)
        save_model(small, args.output)
        counts = {name: _size(reporting.report(each)) for name, each in (("before", model), ("after", small))}
    before, after = counts["before"], counts["after"]
    lines = (f"{before[name]:,} -> {after[name]:,} {name}" for name in before if name in after)
    _print(args, lambda: counts, lambda: f"{', '.join(lines)}\nWritten: {args.output}")


def pack(args):
    from keras_admm import packed, reporting

    _check_output(args, (PACKED,))
    model = _opened(args.model)
    with _told("packing"):
        packed.save(model, args.output)
        file = reporting.report(model).file
    counts = {"bytes": file.bytes, "float32_bytes": file.dense_bytes, "ratio": file.ratio}
    told = f"{file.dense_bytes:,} bytes of float32 -> {file.bytes:,} bytes, {file.ratio:.1f}x\nWritten: {args.output}"
    _print(args, lambda: counts, lambda: told)


def unpack(args):
    from keras_admm.files import save_model

    _check_output(args, KERAS)
    if not args.model.endswith(PACKED):
        raise UsageError(f"the model must be a {PACKED} file. Received: {args.model!r}. Others need no unpacking.")
    save_model(_opened(args.model), args.output)
    print(f"Written: {args.output}")


def export(args):
    from keras_admm.files import save_model, save_saved_model

    _check_output(args, ENDINGS[args.to])
    if args.to != "litert" and (args.quantize or args.data or args.json):
        raise UsageError(
            f"--quantize, --data and --json are for --to=litert. Received: --to={args.to}. Leave them out."
        )
    if args.quantize == "int8" and not args.data:
        raise UsageError(
            "--quantize=int8 needs --data, which show the ranges of the activations. Received: none. Pass a few "
            "hundred typical inputs, or --quantize=dynamic_int8."
        )
    model = _opened(args.model)
    data = _data(args.data, CALIBRATION, model) if args.data else None
    with _told(f"exporting to {args.to}"):
        if args.to == "litert":
            from keras_admm.export import litert

            written = litert(model, args.output, quantize=args.quantize, representative_data=data)
        elif args.to == "tf_keras":
            from keras_admm.export import to_tf_keras

            save_model(to_tf_keras(model), args.output)
        else:
            save_saved_model(model, args.output)
    if args.to == "litert":
        _print(args, lambda: written.to_dict(), lambda: written)
    if not args.json:
        print(f"Written: {args.output}")


def latency(args):
    from keras_admm.timing import latency

    a, b = (path if path.endswith(".tflite") else _opened(path) for path in (args.a, args.b))
    data = _data(args.data, args.batch, a, b, least=args.batch)
    with _told("timing"):
        found = latency(a, b, data, threads=args.threads)
    _print(args, found._asdict, lambda: found)


def dashboard(args):
    from keras_admm import explain
    from keras_admm.files import load_array

    _check_written(args, args.output)
    if not args.data.endswith(".npz"):
        raise UsageError(
            f"--data must be FILE.npz, of two arrays x and y. Received: --data={args.data}. Name such a file."
        )
    x, y = (load_array(f"{args.data}:{name}") for name in ("x", "y"))
    motifs = explain.read_meme(args.motifs) if args.motifs else None
    if len(set(args.models)) < len(args.models):
        raise UsageError(f"each model must be given once. Received: {' '.join(args.models)}. Leave out what is twice.")
    stems = [Path(path).stem for path in args.models]
    names = stems if len(set(stems)) == len(stems) else args.models
    models = {name: _opened(path) for name, path in zip(names, args.models, strict=True)}
    options = {"alphabet": args.alphabet, "samples": args.samples, "motifs": motifs, "steps": args.steps}
    with _told("looking at what the models look at"):
        found = explain.dashboard(models, x, y, args.output, **options)
    _print(args, found.to_dict, lambda: f"{found}\nWritten: {args.output}")


def _opened(path):
    """The model in a file."""
    with _told(f"opening {path}"):
        if path.endswith(PACKED) and not os.path.isdir(path):
            from keras_admm import packed

            return packed.load(path)
        from keras_admm.files import load_model

        return load_model(path)


def _data(path, most, *models, least=0):
    """The first samples of what models are run on: an array, or one for each input by name."""
    from keras import tree

    from keras_admm.files import load_array
    from keras_admm.graph import input_names

    names = next((input_names(model) for model in models if not isinstance(model, str)), [])
    data = tree.map_structure(lambda array: array[:most], load_array(path, names))
    if len(tree.flatten(data)[0]) < least:
        raise UsageError(f"--batch needs as many samples. Received: --batch={least}, and fewer in {path}. Lower it.")
    return data


@contextlib.contextmanager
def _told(what):
    """Say on standard error what is being done, once it has taken long."""
    timer = threading.Timer(SILENT, lambda: print(f"keras-admm: {what} ...", file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _print(args, numbers, text):
    print(json.dumps(numbers(), indent=2) if args.json else text())


def _size(counted):
    total = counted.total
    macs = 0 if not total.weights else total.macs
    return {"weights": total.weights} | ({} if macs is None else {"MACs": macs})


def _names(text):
    return text.split(",") if text else None


def _check_output(args, endings):
    output = Path(args.output)
    _check_written(args, output)
    if endings and output.suffix not in endings:
        raise UsageError(
            f"{output}: the output must end in {endings[0]}. Received: {output.name!r}. Choose such a name."
        )


def _check_choice(model, layers, exclude):
    from keras_admm import weights

    try:
        weights.choose(model, layers, exclude)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check_written(args, path):
    """Refuses a path that cannot be written, or that the command reads."""
    from keras_admm.files import check_place, parted

    given = vars(args)
    read = [given.get(name) for name in ("model", "a", "b", "motifs")] + given.get("models", [])
    for each in [*filter(None, read), parted(given.get("data") or "")[0]]:
        if os.path.exists(path) and os.path.exists(each) and os.path.samefile(path, each):
            raise UsageError(f"{path}: the output must not be an input. Received: {each} as well. Choose another.")
    try:
        check_place(path)
    except ValueError as error:
        raise UsageError(str(error)) from error
