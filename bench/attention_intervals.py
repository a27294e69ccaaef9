"""What intervals of attention regression cover where metrics know the rows by heart: metrics held, and fitted anew without each fold.

    python3 bench/attention_intervals.py

Needs the Python package. One hundred rows of twenty columns, a line in one of them and as much noise, penalty .1; a thousand new rows;
five draws; level .9.
"""

import warnings

import numpy as np

from hattention import AttentionRegressor

TRAIN, NEW, LEVEL = 100, 1000, 0.9


def covered(seed, folds):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(TRAIN + NEW, 20))
    y = x[:, 0] + rng.normal(size=TRAIN + NEW)
    model = AttentionRegressor(penalty=0.1, max_iter=3000).fit(x[:TRAIN], y[:TRAIN])
    _, low, high = model.predict(x[TRAIN:], interval="prediction", level=LEVEL, folds=folds)
    return ((low <= y[TRAIN:]) & (y[TRAIN:] <= high)).mean()


warnings.simplefilter("ignore")
for folds, name in [(0, "metrics held"), (10, "ten folds")]:
    shares = [covered(seed, folds) for seed in range(100, 105)]
    print(f"{name}: {np.mean(shares):.3f} of new rows inside, level {LEVEL} ({', '.join(f'{share:.3f}' for share in shares)})")
