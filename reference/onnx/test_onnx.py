"""The ONNX and safetensors files of `hat transformer`, in the programs that they are written for.

Run by `cargo xtask check python`, or by hand with the packages of requirements.txt:
    HAT=target/release/hat python -m pytest -q -s reference/onnx
Every graph passes onnx.checker with shape inference, and ONNX Runtime's predictions are compared with the engine's
(`hat predict`) or, where a layout is not least squares, with the forward pass (`hat transformer forward`).
"""

import itertools
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
HAT = os.environ.get("HAT", str(ROOT / "target/release/hat"))
CARS = ROOT / "reference/data/mtcars.csv"
FLIGHTS = ROOT / "data/flights.parquet"
FORMULA = "arr_delay ~ dep_delay + distance + hour + carrier + origin"
# Training and fresh rows: the first eleven months, and December.
TRAIN = "SELECT * FROM flights WHERE month <= 11"
FRESH = "SELECT * FROM flights WHERE month = 12"
CONTEXT = "SELECT * FROM flights WHERE month = 11"
# On flights, relative to the spread of the predictions.
TOLERANCE = {"f64": 1e-12, "f32": 1e-5}
EPSILON = {"f64": 2.0**-52, "f32": 2.0**-23}
NUMBERS = {"f64": np.float64, "f32": np.float32}


def hat(*arguments):
    done = subprocess.run([HAT, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def table(path):
    """A CSV file that hat wrote, without row numbers: rows with all their values."""
    numbered = path.read_text().startswith("row,")
    rows = np.genfromtxt(path, delimiter=",", skip_header=1, ndmin=2)[:, int(numbered):]
    return rows[~np.isnan(rows).any(axis=1)]


def graph(weights, dtype, folder):
    """The exported graph, checked, as a function of its inputs."""
    path = folder / f"{weights.stem}-{dtype}.onnx"
    hat("transformer", "export", weights, "--onnx", path, "--dtype", dtype)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(**inputs):
        cast = {name: value.astype(NUMBERS[dtype]) for name, value in inputs.items()}
        assert sorted(cast) == sorted(i.name for i in session.get_inputs())
        (y,) = session.run(["y"], cast)
        assert y.dtype == NUMBERS[dtype]
        return y

    return run


def compare(what, dtype, got, expected, tolerance=None):
    """The largest difference over the spread of the predictions, printed and held to a tolerance."""
    expected = expected[:, 0] if expected.shape[1] == 1 else expected
    assert got.shape == expected.shape
    gap = np.abs(got - expected)
    spread = expected.std(axis=0)
    largest, rms = (gap.max(axis=0) / spread).max(), (np.sqrt((gap**2).mean(axis=0)) / spread).max()
    print(f"\n{what:<44} {dtype}  {len(got):>6} rows  max {largest:.1e}  rms {rms:.1e} of the spread", end="")
    assert largest <= (tolerance or TOLERANCE[dtype]), what


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """A model of eleven months; the design and the engine's predictions of the twelfth."""
    folder = tmp_path_factory.mktemp("flights")
    model = folder / "m.hat"
    hat("fit", FORMULA, FLIGHTS, "--sql", TRAIN, "-o", model)
    weights = folder / "cross.safetensors"
    hat("transformer", "build", model, "-o", weights)
    x, y, p = folder / "x.csv", folder / "y.csv", folder / "p.csv"
    hat("transformer", "forward", weights, FLIGHTS, "--sql", FRESH, "--inputs", x, "-o", y)
    hat("predict", model, FLIGHTS, "--sql", FRESH, "-o", p)
    # hat predict needs the same columns, so the rows with all their values are the same.
    return folder, model, table(x), table(p)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("heads", [1, 4])
def test_cross_predicts_fresh_flights_as_the_engine_does(flights, heads, dtype):
    folder, model, x, predictions = flights
    weights = folder / f"cross{heads}.safetensors"
    hat("transformer", "build", model, "--heads", heads, "-o", weights)
    compare(f"flights, cross, {heads} heads", dtype, graph(weights, dtype, folder)(x=x), predictions)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_self_attends_as_the_forward_pass_does(flights, dtype):
    folder, model, x, _ = flights
    weights, y = folder / "self.safetensors", folder / "self.csv"
    hat("transformer", "build", model, "--layout", "self", "-o", weights)
    hat("transformer", "forward", weights, FLIGHTS, "--sql", FRESH, "-o", y)
    compare("flights, self, against the forward pass", dtype, graph(weights, dtype, folder)(x=x), table(y))


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_solve_predicts_fresh_flights_as_a_fit_of_the_context_does(flights, dtype):
    folder, model, x, _ = flights
    weights, rows, local = folder / "solve.safetensors", folder / "context.csv", folder / "local.hat"
    hat("transformer", "build", model, "--layout", "solve", "-o", weights)
    # The engine's own fit of the context, and the context's rows and targets.
    hat("fit", FORMULA, FLIGHTS, "--sql", CONTEXT, "-o", local)
    expected, augmented = folder / "local.csv", folder / "augmented.csv"
    hat("predict", local, FLIGHTS, "--sql", FRESH, "-o", expected)
    fitted = "SELECT * FROM flights WHERE month = 11 AND arr_delay IS NOT NULL"
    hat("predict", local, FLIGHTS, "--sql", fitted, "--augment", "-o", augmented)
    hat("transformer", "forward", folder / "cross.safetensors", FLIGHTS, "--sql", fitted, "--inputs", rows,
        "-o", folder / "ignored.csv")
    # Delays are whole minutes, so prediction and residual add up to them exactly.
    names = augmented.read_text().split("\n", 1)[0].split(",")[1:]
    columns = table(augmented)
    targets = np.round(columns[:, names.index("prediction")] + columns[:, names.index("residual")])[:, None]
    y = graph(weights, dtype, folder)(x=x, context=table(rows), targets=targets)
    compare("flights, solve, a context of November", dtype, y, table(expected))


def small():
    layouts, conventions = ["self", "cross", "solve"], ["covariance", "gram"]
    formulas = ["mpg ~ wt + hp + qsec + drat", "mpg ~ wt + hp + qsec - 1", "cbind(mpg, disp) ~ wt + hp + qsec"]
    # What the layout solve solves has no heads.
    every = itertools.product(layouts, conventions, formulas, [1, 3])
    return [case for case in every if (case[0], case[3]) != ("solve", 3)]


@pytest.mark.parametrize("layout,convention,formula,heads", small())
def test_small_graphs_compute_the_forward_pass(tmp_path, layout, convention, formula, heads):
    weights, x, y = tmp_path / "w.safetensors", tmp_path / "x.csv", tmp_path / "y.csv"
    hat("transformer", "build", formula, CARS, "--layout", layout, "--convention", convention, "--heads", heads,
        "-o", weights)
    context = ["--context", CARS] if layout == "solve" else []
    hat("transformer", "forward", weights, CARS, "--inputs", x, "-o", y, *context)
    cars = np.genfromtxt(CARS, delimiter=",", names=True, dtype=None, encoding="utf-8")
    names = [name for name in ["mpg", "disp"] if name in formula]
    inputs = {"x": table(x)}
    if layout == "solve":
        inputs |= {"context": table(x), "targets": np.stack([cars[name] for name in names], axis=1)}
    expected = table(y)
    # 20 ε κ of the largest prediction, in units of the spread.
    size = (np.abs(expected).max(axis=0) / expected.std(axis=0)).max()
    condition = float(safe_open(weights, "np").metadata()["condition"])
    for dtype in ["f64", "f32"]:
        compare(f"mtcars, {layout}, {convention}, {heads} heads", dtype, graph(weights, dtype, tmp_path)(**inputs),
                expected, 20 * EPSILON[dtype] * condition * size)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_a_penalty_is_on_the_keys_and_not_on_the_constant(tmp_path, dtype):
    weights, x, alpha = tmp_path / "w.safetensors", tmp_path / "x.csv", 3.5
    hat("transformer", "build", "mpg ~ wt + hp", CARS, "--layout", "solve", "-o", weights)
    hat("transformer", "forward", weights, CARS, "--context", CARS, "--inputs", x, "-o", tmp_path / "y.csv")
    with safe_open(weights, "np") as file:
        w, said = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    save_file(w, weights, said | {"alpha": str(alpha)})
    rows = table(x)
    y = np.genfromtxt(CARS, delimiter=",", names=True, dtype=None, encoding="utf-8")["mpg"][:, None]
    keys = np.concatenate([np.ones((len(rows), 1)), rows - w["x_mean"]], axis=1) @ w["w_k"]
    penalty = alpha * np.diag([0.0] + [1.0] * (keys.shape[1] - 1))
    expected = keys @ np.linalg.solve(keys.T @ keys + penalty, keys.T @ y)
    assert np.abs(expected - table(tmp_path / "y.csv")).max() > 0.1
    hat("transformer", "forward", weights, CARS, "--context", CARS, "-o", tmp_path / "z.csv")
    compare("mtcars, solve with a penalty, forward pass", "f64", table(tmp_path / "z.csv")[:, 0], expected)
    got = graph(weights, dtype, tmp_path)(x=rows, context=rows, targets=y)
    compare("mtcars, solve with a penalty", dtype, got, expected)


def test_properties_say_what_the_columns_are(flights):
    folder, model, x, _ = flights
    path = folder / "named.onnx"
    hat("transformer", "export", folder / "cross.safetensors", "--onnx", path)
    file = onnx.load(str(path))
    said = {entry.key: entry.value for entry in file.metadata_props}
    assert said["formula"] == FORMULA and json.loads(said["targets"]) == ["arr_delay"]
    assert json.loads(said["names"])[:4] == ["dep_delay", "distance", "hour", "carrierAA"]
    assert len(json.loads(said["names"])) == x.shape[1]
    assert (said["layout"], said["convention"], said["intercept"]) == ("cross", "covariance", "true")
    assert [(o.domain, o.version) for o in file.opset_import] == [("", 17)] and file.ir_version == 8
    dims = file.graph.input[0].type.tensor_type.shape.dim
    assert (dims[0].dim_param, dims[1].dim_value) == ("rows", x.shape[1])


def test_a_context_that_fixes_nothing_gives_nan(tmp_path):
    weights, x = tmp_path / "w.safetensors", tmp_path / "x.csv"
    hat("transformer", "build", "mpg ~ wt + hp", CARS, "--layout", "solve", "-o", weights)
    hat("transformer", "forward", weights, CARS, "--context", CARS, "--inputs", x, "-o", tmp_path / "y.csv")
    rows = table(x)
    for dtype in ["f64", "f32"]:
        run = graph(weights, dtype, tmp_path)
        # Twice the same row, two rows for three coefficients, and horsepower that follows from weight.
        for context in [rows[[0] * 5], rows[:2], np.stack([rows[:, 0], 3 * rows[:, 0] + 1], axis=1)]:
            y = run(x=rows, context=context, targets=np.ones((len(context), 1)))
            assert np.isnan(y).all(), y


def test_one_row_and_no_row(flights):
    folder, _, x, predictions = flights
    run = graph(folder / "cross.safetensors", "f64", folder)
    assert abs(run(x=x[:1])[0] - predictions[0, 0]) <= 1e-12 * predictions.std()
    assert run(x=x[:0]).shape == (0,)


def test_safetensors_predict_in_numpy(flights):
    folder, _, x, predictions = flights
    with safe_open(folder / "cross.safetensors", "np") as file:
        w, said = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    tokens = x - w["x_mean"]
    if said["intercept"] == "true":
        tokens = np.concatenate([np.ones((len(x), 1)), tokens], axis=1)
    y = tokens @ w["w_q"] @ w["memory"] @ w["w_ffn"] @ w["w_p"]
    compare("flights, safetensors in numpy", "f64", y[:, 0], predictions)
