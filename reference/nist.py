"""Exact least-squares results of the eleven NIST StRD linear sets.

Makes reference/nist.json, reference/nist.csv and reference/nist_f64.csv from
data/nist/*.csv and reference/data/nist_certified.csv (NIST's figures as printed).
Needs only the Python standard library. Run from the repository root:

    python3 reference/nist.py

Everything is computed in rational arithmetic and rounded once, to 30 significant digits:
`exact_*` (nist.json, nist.csv) takes the data as printed, decimal by decimal;
`exact_f64_*` (nist.json, nist_f64.csv) takes each number rounded to the nearest f64 first,
with powers of x formed exactly from that f64, which is what a program that reads f64 can attain.
"""

import csv
import platform
from decimal import Decimal, getcontext
from fractions import Fraction

from common import ROOT, write_json

DIGITS = 30

# set: (formula, degree of the polynomial in x or None, intercept)
SETS = {
    "Norris": ("y ~ x", 1, True),
    "Pontius": ("y ~ poly(x,2,raw)", 2, True),
    "NoInt1": ("y ~ x - 1", 1, False),
    "NoInt2": ("y ~ x - 1", 1, False),
    "Filip": ("y ~ poly(x,10,raw)", 10, True),
    "Longley": ("y ~ x1 + x2 + x3 + x4 + x5 + x6", None, True),
    "Wampler1": ("y ~ poly(x,5,raw)", 5, True),
    "Wampler2": ("y ~ poly(x,5,raw)", 5, True),
    "Wampler3": ("y ~ poly(x,5,raw)", 5, True),
    "Wampler4": ("y ~ poly(x,5,raw)", 5, True),
    "Wampler5": ("y ~ poly(x,5,raw)", 5, True),
}


def decimal_string(value, square_root=False):
    """The fraction (or its square root), rounded to DIGITS digits, as d.ddd…E±k."""
    if value == 0:
        return "0"
    getcontext().prec = 4 * DIGITS
    number = Decimal(value.numerator) / Decimal(value.denominator)
    if square_root:
        number = number.sqrt()
    return f"{number:.{DIGITS - 1}E}"


def read(name, number):
    with open(ROOT / "data" / "nist" / f"{name}.csv", newline="") as file:
        rows = list(csv.reader(file))
    return rows[0], [[number(cell) for cell in row] for row in rows[1:]]


def design(rows, degree, intercept):
    """y [n] and X [n, p] as fractions."""
    y = [row[0] for row in rows]
    if degree is None:
        x = [row[1:] for row in rows]
    else:
        x = [[row[1] ** power for power in range(1, degree + 1)] for row in rows]
    return y, [[Fraction(1)] * intercept + row for row in x]


def inverse(matrix):
    """Gauss–Jordan elimination in fractions."""
    p = len(matrix)
    work = [row + [Fraction(i == j) for j in range(p)] for i, row in enumerate(matrix)]
    for k in range(p):
        pivot = next(i for i in range(k, p) if work[i][k] != 0)
        work[k], work[pivot] = work[pivot], work[k]
        scale = work[k][k]
        work[k] = [cell / scale for cell in work[k]]
        for i in range(p):
            if i != k and work[i][k] != 0:
                factor = work[i][k]
                work[i] = [a - factor * b for a, b in zip(work[i], work[k])]
    return [row[p:] for row in work]


def least_squares(y, x, intercept):
    n, p = len(x), len(x[0])
    gram = [[sum(row[i] * row[j] for row in x) for j in range(p)] for i in range(p)]
    cross = [sum(row[i] * t for row, t in zip(x, y)) for i in range(p)]
    unscaled = inverse(gram)
    coef = [sum(a * b for a, b in zip(row, cross)) for row in unscaled]
    residual_ss = sum((t - sum(a * b for a, b in zip(row, coef))) ** 2 for row, t in zip(x, y))
    mean = sum(y) / n if intercept else Fraction(0)
    total_ss = sum((t - mean) ** 2 for t in y)
    variance = residual_ss / (n - p)
    leverage = [
        sum(row[i] * unscaled[i][j] * row[j] for i in range(p) for j in range(p)) for row in x
    ]
    return {
        "coef": [decimal_string(c) for c in coef],
        "sd": [decimal_string(variance * unscaled[i][i], True) for i in range(p)],
        "residual_sd": decimal_string(variance, True),
        "r_squared": decimal_string(1 - residual_ss / total_ss),
        "leverage": [float(h) for h in leverage],
    }


def certified(name):
    with open(ROOT / "reference" / "data" / "nist_certified.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["set"] == name]


def agree(exact, printed):
    """Printed figures carry 15 digits; they must be the rounded exact ones, give or take noise."""
    exact, printed = float(exact), float(printed)
    return abs(exact - printed) <= 1e-13 * max(abs(exact), abs(printed))


def result(name):
    formula, degree, intercept = SETS[name]
    header, printed_rows = read(name, Fraction)
    _, f64_rows = read(name, lambda cell: Fraction(float(cell)))
    exact = least_squares(*design(printed_rows, degree, intercept), intercept)
    f64 = least_squares(*design(f64_rows, degree, intercept), intercept)
    rows = certified(name)
    parameters = [row for row in rows if row["parameter"].startswith("B")]
    others = {row["parameter"]: row["certified"] for row in rows[len(parameters) :]}
    assert len(parameters) == len(exact["coef"])
    for row, c, s in zip(parameters, exact["coef"], exact["sd"]):
        assert agree(c, row["certified"]) and agree(s, row["certified_sd"]), (name, row)
    assert agree(exact["residual_sd"], others["residual_sd"])
    assert agree(exact["r_squared"], others["r_squared"])
    return {
        "set": name,
        "n": len(printed_rows),
        "formula": formula,
        "columns": header,
        "parameters": [row["parameter"] for row in parameters],
        "exact_coef": exact["coef"],
        "exact_sd": exact["sd"],
        "exact_residual_sd": exact["residual_sd"],
        "exact_r_squared": exact["r_squared"],
        "exact_leverage": exact["leverage"],
        "exact_f64_coef": f64["coef"],
        "exact_f64_sd": f64["sd"],
        "exact_f64_residual_sd": f64["residual_sd"],
        "exact_f64_r_squared": f64["r_squared"],
        "certified_coef": [row["certified"] for row in parameters],
        "certified_sd": [row["certified_sd"] for row in parameters],
        "certified_residual_sd": others["residual_sd"],
        "certified_r_squared": others["r_squared"],
    }


def write_csv(path, results, prefix):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", "parameter", "exact_coef", "exact_sd"])
        for entry in results:
            for row in zip(entry["parameters"], entry[prefix + "coef"], entry[prefix + "sd"]):
                writer.writerow([entry["set"], *row])


def main():
    results = [result(name) for name in SETS]
    meta = {
        "source": "NIST Statistical Reference Datasets, linear least squares (public domain), "
        "https://www.itl.nist.gov/div898/strd/lls/lls.shtml",
        "made_by": f"reference/nist.py, Python {platform.python_version()}, rational arithmetic",
        "exact": "least squares of the data as printed, 30 digits",
        "exact_f64": "least squares of the data rounded to the nearest f64, powers of x exact, 30 digits",
        "certified": "as printed by NIST",
        "r_squared": "about the mean; about zero for the sets without an intercept",
    }
    write_json(ROOT / "reference" / "nist.json", {"meta": meta, "sets": results})
    write_csv(ROOT / "reference" / "nist.csv", results, "exact_")
    write_csv(ROOT / "reference" / "nist_f64.csv", results, "exact_f64_")


if __name__ == "__main__":
    main()
