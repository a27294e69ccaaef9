"""Peers of attention regression on real data, by scikit-learn, on the rows that the lab's experiment uses.

Makes reference/attreg_real_data.json and, once, reference/data/attreg_flights.csv and attreg_randhie.csv. Needs scikit-learn,
pandas with pyarrow, statsmodels, and a folder of the eight UCI sets as `<name>.csv.gz`, the target last, which is not part of
this repository. Half an hour on two cores; sets that the JSON file holds already are kept. Run from the repository root:

    python reference/attreg_real_data.py FOLDER
"""

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
import statsmodels
import statsmodels.api as sm
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor

from common import ROOT, write_json

UCI = ["california", "yacht", "energy", "concrete", "airfoil", "abalone", "kin8nm", "protein"]
OWN = ["flights", "randhie"]
SPLITS, MOST, OWN_ROWS = 5, 5000, 3000
MASK = 2**64 - 1


def splitmix(seed):
    """The 64-bit numbers of Steele, Lea and Flood's generator."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def permutation(count, seed):
    """Fisher and Yates' shuffle from the end; a place below k is the upper half of the product of a number and k."""
    order, numbers = list(range(count)), splitmix(seed)
    for last in range(count - 1, 0, -1):
        place = (next(numbers) * (last + 1)) >> 64
        order[last], order[place] = order[place], order[last]
    return order


def split(rows, place):
    """Training and test rows of a split."""
    order = permutation(rows, 42 + 1000 * place)[:MOST]
    train = len(order) * 4 // 5
    return order[:train], order[train:]


def make_own():
    """Some rows of the flights and of the RAND health insurance experiment."""
    flights = pd.read_parquet(ROOT / "data" / "flights.parquet").dropna(subset=["arr_delay"])
    flights["sched_hour"] = flights["hour"] + flights["minute"] / 60
    columns = ["month", "day", "sched_hour", "dep_delay", "distance", "air_time", "arr_delay"]
    randhie = sm.datasets.randhie.load_pandas().data
    target = "mdvis"
    randhie = randhie[[c for c in randhie.columns if c != target] + [target]]
    for name, frame in [("flights", flights[columns]), ("randhie", randhie)]:
        chosen = sorted(permutation(len(frame), 1)[:OWN_ROWS])
        # Six digits are more than either needs.
        frame.iloc[chosen].to_csv(ROOT / "reference" / "data" / f"attreg_{name}.csv", index=False, float_format="%.6g")


def load(name, folder):
    path = folder / f"{name}.csv.gz" if name in UCI else ROOT / "reference" / "data" / f"attreg_{name}.csv"
    return pd.read_csv(path).to_numpy(dtype=float)


def peers(seed):
    return {
        "ols": LinearRegression(),
        "forest": RandomForestRegressor(500, max_features=1 / 3, random_state=seed, n_jobs=2),
        "boosting": GradientBoostingRegressor(n_estimators=500, learning_rate=0.01, random_state=seed),
        "mlp": MLPRegressor(
            hidden_layer_sizes=(200, 200, 200), early_stopping=True, validation_fraction=0.15, n_iter_no_change=10,
            random_state=seed,
        ),
    }


def measure(table, place):
    train, test = split(len(table), place)
    mean, deviation = table[train].mean(0), table[train].std(0)
    deviation[deviation == 0] = 1
    scaled = (table - mean) / deviation
    found = {"seed": 42 + 1000 * place, "train": len(train), "test": len(test), "first_test_rows": test[:3]}
    for name, model in peers(42 + 1000 * place).items():
        start = time.perf_counter()
        model.fit(scaled[train, :-1], scaled[train, -1])
        found[name] = r2_score(scaled[test, -1], model.predict(scaled[test, :-1]))
        found[f"{name}_seconds"] = round(time.perf_counter() - start, 2)
    return found


def main():
    folder = Path(sys.argv[1])
    if not all((ROOT / "reference" / "data" / f"attreg_{name}.csv").exists() for name in OWN):
        make_own()
    meta = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "scikit-learn": sklearn.__version__,
        "statsmodels": statsmodels.__version__,
        "what": "R² on the test rows; features and target standardised on the training rows",
        "forest": "500 trees, max_features 1/3",
        "boosting": "500 trees, rate .01, depth 3",
        "mlp": "3 layers of 200, ReLU, Adam at scikit-learn's settings, early stopping on 15 %, no dropout",
        "permutation_of_12_seed_42": permutation(12, 42),
    }
    path = ROOT / "reference" / "attreg_real_data.json"
    sets = json.loads(path.read_text())["sets"] if path.exists() else {}
    for name in [name for name in OWN + UCI if name not in sets]:
        table = load(name, folder)
        splits = [measure(table, place) for place in range(SPLITS)]
        sets[name] = {"rows": len(table), "columns": table.shape[1] - 1, "splits": splits}
        means = {peer: round(float(np.mean([s[peer] for s in splits])), 3) for peer in peers(0)}
        print(name, table.shape, means, flush=True)
        write_json(path, {"meta": meta, "sets": sets})


if __name__ == "__main__":
    main()
