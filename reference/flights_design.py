"""The models of the New York flights as plain matrices, with R's column names.

Makes nothing; flights.py and flights_exact.py import it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from common import ROOT

CLUSTERS = {"tailnum": ["tailnum"], "dest": ["dest"], "dest+month": ["dest", "month"]}
HAC_LAG = 5


@dataclass
class Model:
    formula: str
    names: list  # R's coefficient names
    y: np.ndarray  # [n]
    x: np.ndarray  # [n, p], raw powers in place of orthogonal polynomials
    weights: np.ndarray | None  # [n]
    poly: tuple | None = None  # positions in x of the powers 1, 2 that poly() makes orthogonal

    @property
    def intercept(self):
        return self.names[0] == "(Intercept)"


def read_flights():
    """The rows with an arrival delay, which lack nothing else the models use."""
    frame = pq.read_table(ROOT / "data" / "flights.parquet").to_pandas()
    frame = frame[frame["arr_delay"].notna()]
    for name in ("dep_delay", "arr_delay", "air_time"):
        frame[name] = frame[name].astype("int64")
    assert len(frame) == 327_346 and not frame["tailnum"].isna().any()
    return frame


def integers(frame, name):
    return frame[name].to_numpy().astype(np.int64)


def indicators(frame, name, skip=1):
    """Columns and names of the levels in byte order; skip=1 leaves out the reference level."""
    values = frame[name].astype(str)
    levels = sorted(values.unique())[skip:]
    return [(name + level, (values == level).to_numpy().astype(np.int64)) for level in levels]


def model(formula, y, columns, weights=None, poly=None):
    names = [name for name, _ in columns]
    x = np.column_stack([values for _, values in columns])
    return Model(formula, names, y, x, weights, poly)


def models(frame):
    one = ("(Intercept)", np.ones(len(frame), dtype=np.int64))
    plain = lambda *names: [(name, integers(frame, name)) for name in names]
    origin, month = indicators(frame, "origin"), integers(frame, "month")
    delay = integers(frame, "dep_delay")
    result = {}

    columns = [one, *plain("dep_delay", "distance", "hour"), *indicators(frame, "carrier"), *origin]
    formula = "arr_delay ~ dep_delay + distance + hour + carrier + origin"
    y = integers(frame, "arr_delay")
    result["a"] = model(formula, y, columns)
    result["b"] = model(formula, y, columns, weights=integers(frame, "distance"))

    columns = [one, *plain("air_time"), ("poly(dep_delay, 2)1", delay), ("poly(dep_delay, 2)2", delay**2)]
    columns += [*origin, ("month", month), *[(f"{name}:month", values * month) for name, values in origin]]
    y_log = np.log(integers(frame, "distance").astype(float))
    formula = "log(distance) ~ air_time + poly(dep_delay, 2) + origin*month"
    result["c"] = model(formula, y_log, columns, poly=(2, 3))

    columns = [*plain("dep_delay"), *indicators(frame, "carrier", skip=0)]
    result["d"] = model("arr_delay ~ dep_delay + carrier - 1", y, columns)

    columns = [one, *plain("distance"), *origin]
    for target in ("arr_delay", "dep_delay"):
        key, formula = f"e.{target}", f"{target} ~ distance + origin"
        result[key] = model(formula, integers(frame, target), columns)
    return result


def groups(frame, name):
    """One-way or two-way clusters as [(sign, codes)]: each one, then minus their intersection."""
    parts = [frame[column].astype(str) for column in CLUSTERS[name]]
    if len(parts) == 2:
        parts.append(parts[0] + "\0" + parts[1])
    codes = [np.unique(part, return_inverse=True)[1] for part in parts]
    return [(1 if i < 2 else -1, code) for i, code in enumerate(codes)]
