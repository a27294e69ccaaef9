"""US macroeconomic quarters 1959Q1 to 2009Q3, as one small CSV file.

Makes data/macro.csv from the data set `macrodata` that comes with statsmodels (public domain). Needs statsmodels. Run from
the repository root:

    python reference/macro.py

All 203 quarters in their order; year and quarter as one word, and four of the other twelve columns, spelled as statsmodels has them.
"""

import statsmodels.api as sm

from common import ROOT

COLUMNS = ["realgdp", "infl", "unemp", "tbilrate"]


def main():
    frame = sm.datasets.macrodata.load_pandas().data
    assert len(frame) == 203
    lines = ["quarter," + ",".join(COLUMNS)]
    for _, row in frame.iterrows():
        values = ",".join(repr(float(row[name])) for name in COLUMNS)
        lines.append(f"{int(row['year'])}Q{int(row['quarter'])},{values}")
    (ROOT / "data" / "macro.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
