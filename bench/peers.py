"""The peers that `cargo xtask bench` times beside hattention.

Needs numpy and, for the peers of the same name, scipy, scikit-learn, statsmodels, polars with polars-ols and polars-ds,
duckdb, pandas with pyarrow; a peer that cannot be imported is reported, not skipped. Started by `cargo xtask bench`:

    peers.py serve                      the in-memory peers, driven over stdin (see `serve`)
    peers.py serve-attention            linear attention by tensor libraries, driven in the same way
    peers.py statsmodels FILE FORMULA   a whole process: Parquet to coefficients and standard errors
    peers.py duckdb FILE THREADS        a whole process: the sums of products of the same design, by SQL
    peers.py prepare FILE FOLDER        the CSV files that some contestants read
    peers.py versions                   as JSON
    peers.py measure OUT COMMAND…       runs a command, its stdout to OUT; wall time and peak memory as JSON
"""

import json
import os
import sys
import time


# ---- in memory


class Data:
    """One data set, in every layout a peer may like best. Shapes: x [n, p], y [n], design [n, 1 + p]."""

    def __init__(self, folder, n, p):
        import numpy as np

        self.y = np.fromfile(os.path.join(folder, "y.f64"), dtype="<f8")
        self.x_columns = np.fromfile(os.path.join(folder, "x.f64"), dtype="<f8").reshape(p, n).T  # Fortran order
        self.x_rows = np.ascontiguousarray(self.x_columns)
        self.design_columns = np.asfortranarray(np.column_stack([np.ones(n), self.x_columns]))
        self.design_rows = np.ascontiguousarray(self.design_columns)
        self.names = [f"x{j}" for j in range(p)]
        self._frame = None

    @property
    def frame(self):
        if self._frame is None:
            import polars as pl

            columns = {name: self.x_columns[:, j] for j, name in enumerate(self.names)}
            self._frame = pl.DataFrame({**columns, "y": self.y})
        return self._frame


def numpy_lstsq(x, y):
    import numpy as np

    return np.linalg.lstsq(x, y, rcond=None)[0]


def numpy_normal(x, y):
    import numpy as np

    return np.linalg.solve(x.T @ x, x.T @ y)


def scipy_gelsy(x, y):
    from scipy.linalg import lstsq

    return lstsq(x, y, lapack_driver="gelsy", check_finite=False)[0]


def sklearn_linear(x, y):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(x, y)
    return [model.intercept_, *model.coef_]


def statsmodels_ols(x, y):
    import statsmodels.api as sm

    result = sm.OLS(y, x).fit()
    result.bse
    return result.params


def polars_ols(data):
    import polars as pl
    import polars_ols  # noqa: F401, registers the namespace

    fit = pl.col("y").least_squares.ols(*data.names, mode="coefficients", add_intercept=True)
    row = data.frame.select(fit.alias("fit"))["fit"][0]
    return [row["const"], *(row[name] for name in data.names)]


def polars_ds(data):
    import polars_ds as pds

    row = data.frame.select(pds.lin_reg(*data.names, target="y", add_bias=True).alias("fit"))["fit"][0]
    if row is None:
        raise ValueError("it gave null")
    return [row[-1], *row[:-1]]


def polars_ds_report(data):
    import polars_ds as pds

    report = data.frame.select(pds.lin_reg_report(*data.names, target="y", add_bias=True).alias("fit")).unnest("fit")
    row = report["beta"].to_list()
    return [row[-1], *row[:-1]]


ROWS, COLUMNS = "row-major", "column-major"

# (name, layout, what is computed, modules, function of Data)
PEERS = [
    ("numpy lstsq", ROWS, "coefficients", ["numpy"], lambda d: numpy_lstsq(d.design_rows, d.y)),
    ("numpy lstsq", COLUMNS, "coefficients", ["numpy"], lambda d: numpy_lstsq(d.design_columns, d.y)),
    ("numpy normal equations", ROWS, "coefficients", ["numpy"], lambda d: numpy_normal(d.design_rows, d.y)),
    ("numpy normal equations", COLUMNS, "coefficients", ["numpy"], lambda d: numpy_normal(d.design_columns, d.y)),
    ("scipy lstsq (gelsy)", ROWS, "coefficients", ["scipy.linalg"], lambda d: scipy_gelsy(d.design_rows, d.y)),
    ("scipy lstsq (gelsy)", COLUMNS, "coefficients", ["scipy.linalg"], lambda d: scipy_gelsy(d.design_columns, d.y)),
    ("scikit-learn", ROWS, "coefficients", ["sklearn.linear_model"], lambda d: sklearn_linear(d.x_rows, d.y)),
    ("scikit-learn", COLUMNS, "coefficients", ["sklearn.linear_model"], lambda d: sklearn_linear(d.x_columns, d.y)),
    ("statsmodels OLS", ROWS, "and standard errors", ["statsmodels.api"], lambda d: statsmodels_ols(d.design_rows, d.y)),
    ("statsmodels OLS", COLUMNS, "and standard errors", ["statsmodels.api"], lambda d: statsmodels_ols(d.design_columns, d.y)),
    ("polars-ols", "frame", "coefficients", ["polars", "polars_ols"], polars_ols),
    ("polars-ds lin_reg", "frame", "coefficients", ["polars", "polars_ds"], polars_ds),
    ("polars-ds lin_reg_report", "frame", "and standard errors", ["polars", "polars_ds"], polars_ds_report),
]


def serve():
    """Answers each line of stdin by one line of JSON.

    First, unasked: `{"peers": [{name, layout, computes}], "versions": {…}}`. Then `load FOLDER ROWS COLUMNS` gives `{}`,
    `run NUMBER` (of the list) gives `{"seconds", "coefficients"}`, the intercept first, or `{"error"}`.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints does not belong to the answers

    def answer(value):
        out.write(json.dumps(value) + "\n")
        out.flush()

    answer({"peers": [{"name": p[0], "layout": p[1], "computes": p[2]} for p in PEERS], "versions": versions()})
    data = None
    for line in sys.stdin:
        word, *rest = line.split()
        try:
            if word == "load":
                data = Data(rest[0], int(rest[1]), int(rest[2]))
                answer({})
            elif word == "run":
                _, layout, _, modules, function = PEERS[int(rest[0])]
                for module in modules:
                    __import__(module)
                if layout == "frame":
                    data.frame  # built before the clock starts, as the arrays are
                start = time.perf_counter()
                coefficients = function(data)
                seconds = time.perf_counter() - start
                answer({"seconds": seconds, "coefficients": [float(b) for b in coefficients]})
            else:
                answer({"error": f"unknown word {word}"})
        except BaseException as error:  # a peer's panic must not end the others
            if isinstance(error, KeyboardInterrupt):
                raise
            answer({"error": f"{type(error).__name__}: {error}"[:300]})


# ---- attention


class Tokens:
    """Tokens [n, d], the one map to queries, keys and values [d, d], and W_p [d, m], in doubles and in singles."""

    def __init__(self, folder, n, d):
        import numpy as np

        read = lambda name: np.fromfile(os.path.join(folder, name + ".f64"), dtype="<f8")
        self.arrays = {"doubles": [read("tokens").reshape(n, d), read("w").reshape(d, -1), read("w_p").reshape(d, -1)]}
        self.arrays["singles"] = [a.astype(np.float32) for a in self.arrays["doubles"]]
        self._tensors = {}

    def tensors(self, layout):
        import torch

        if layout not in self._tensors:
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
            self._tensors[layout] = [torch.from_numpy(a) for a in self.arrays[layout]]
        return self._tensors[layout]


def three_projections(x, w, p):
    q, k, v = x @ w, x @ w, x @ w
    return (q @ (k.T @ v / len(x))) @ p


def keys_shared(x, w, p):
    k = x @ w
    return k @ ((k.T @ k / len(x)) @ p)


def product_alone(x, w, p):
    x @ w
    return None


ATTENTION = [
    (f"{library}, {what}", layout, computes, library, function)
    for layout in ("doubles", "singles")
    for library in ("PyTorch", "numpy")
    for what, computes, function in (
        ("three projections", "three projections", three_projections),
        ("keys shared", "one projection", keys_shared),
        ("the product X W alone", "nothing but one product", product_alone),
    )
]


def serve_attention():
    """As `serve`: `run NUMBER` gives `{"seconds", "predictions"}`, the first 100 (none of a product alone)."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value):
        out.write(json.dumps(value) + "\n")
        out.flush()

    found = versions() | {"torch": package_version("torch")}
    answer({"peers": [{"name": p[0], "layout": p[1], "computes": p[2]} for p in ATTENTION], "versions": found})
    data = None
    for line in sys.stdin:
        word, *rest = line.split()
        try:
            if word == "load":
                data = Tokens(rest[0], int(rest[1]), int(rest[2]))
                answer({})
            elif word == "run":
                _, layout, _, library, function = ATTENTION[int(rest[0])]
                arrays = data.tensors(layout) if library == "PyTorch" else data.arrays[layout]
                start = time.perf_counter()
                result = function(*arrays)
                seconds = time.perf_counter() - start
                predictions = [] if result is None else [float(y) for y in result.reshape(-1)[:100]]
                answer({"seconds": seconds, "predictions": predictions})
            else:
                answer({"error": f"unknown word {word}"})
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            answer({"error": f"{type(error).__name__}: {error}"[:300]})


def package_version(package):
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions():
    from importlib import metadata

    found = {"python": sys.version.split()[0]}
    packages = "numpy scipy scikit-learn statsmodels polars polars-ols polars-ds duckdb pandas pyarrow".split()
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    try:
        import numpy  # noqa: F401
        import scipy.linalg  # noqa: F401
        from threadpoolctl import threadpool_info

        for pool in threadpool_info():
            if pool["user_api"] != "blas":
                continue
            owner = "numpy" if "numpy" in os.path.basename(os.path.dirname(pool["filepath"])) else "scipy"
            found[f"{owner} BLAS"] = (
                f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}, {pool['num_threads']} threads"
            )
    except ImportError:
        pass
    return found


# ---- whole processes


def flights_columns():
    return ["arr_delay", "dep_delay", "distance", "hour", "carrier", "origin"]


def as_in_r(name):
    """`carrier[T.AA]` is `carrierAA`, `Intercept` is `(Intercept)`."""
    return "(Intercept)" if name == "Intercept" else name.replace("[T.", "").replace("]", "")


def statsmodels_process(path, formula):
    import pandas as pd
    import statsmodels.formula.api as smf

    frame = pd.read_parquet(path, columns=flights_columns())
    result = smf.ols(formula, frame).fit()
    errors = result.bse
    rows = [
        {"name": as_in_r(name), "estimate": float(value), "std_error": float(errors[name])}
        for name, value in result.params.items()
    ]
    print(json.dumps({"n": int(result.nobs), "coefficients": rows, "how": "pandas.read_parquet, six columns"}))


def duckdb_process(path, threads):
    """Sums of products of all pairs of the 22 columns (intercept, 20 of the design, target), then the normal equations."""
    import duckdb
    import numpy as np

    db = duckdb.connect(config={"threads": int(threads)})
    source = f"read_parquet('{path}')"
    whole = " and ".join(f"{name} is not null" for name in flights_columns())
    columns = {"(Intercept)": "1.0::double"}
    columns |= {name: f"{name}::double" for name in ["dep_delay", "distance", "hour"]}
    for factor in ["carrier", "origin"]:
        levels = db.sql(f"select distinct {factor} from {source} where {whole} order by 1").fetchall()
        for (level,) in levels[1:]:
            columns[factor + level] = f"({factor} = '{level}')::double"
    expressions = [*columns.values(), "arr_delay::double"]
    size = len(expressions)
    pairs = [(i, j) for i in range(size) for j in range(i, size)]
    inner = ", ".join(f"{e} as c{i}" for i, e in enumerate(expressions))
    sums = ", ".join(f"sum(c{i} * c{j})" for i, j in pairs)
    values = db.sql(f"select {sums} from (select {inner} from {source} where {whole})").fetchall()[0]
    gram = np.zeros((size, size))
    for (i, j), value in zip(pairs, values):
        gram[i, j] = gram[j, i] = value
    solution = np.linalg.solve(gram[:-1, :-1], gram[:-1, -1])
    rows = [{"name": name, "estimate": float(b), "std_error": None} for name, b in zip(columns, solution)]
    print(json.dumps({"n": int(gram[0, 0]), "coefficients": rows, "how": "Parquet, normal equations from SQL sums"}))


def prepare(path, folder):
    """The model's six columns as CSV, all rows, and queries: the first complete rows."""
    import pandas as pd

    frame = pd.read_parquet(path, columns=flights_columns())
    whole = {"arr_delay": "Int64", "dep_delay": "Int64"}
    frame = frame.astype(whole)
    frame.to_csv(os.path.join(folder, "flights.csv"), index=False)
    for count in [10, 100, 1000]:
        frame.dropna().head(count).to_csv(os.path.join(folder, f"queries_{count}.csv"), index=False)
    print("{}")


def measure(out, command):
    """Wall seconds from start to end; peak resident bytes of the process, by `wait4`."""
    with open(out, "wb") as stdout:
        start = time.perf_counter()
        actions = [(os.POSIX_SPAWN_DUP2, stdout.fileno(), 1)]
        child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"seconds": seconds, "peak_bytes": usage.ru_maxrss * unit, "exit": code}))


if __name__ == "__main__":
    word, rest = sys.argv[1], sys.argv[2:]
    if word == "measure":
        measure(rest[0], rest[1:])
    elif word == "versions":
        print(json.dumps(versions()))
    else:
        words = {"serve": serve, "serve-attention": serve_attention, "statsmodels": statsmodels_process}
        words |= {"duckdb": duckdb_process, "prepare": prepare}
        words[word](*rest)
