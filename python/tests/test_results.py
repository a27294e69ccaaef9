"""Results: their rows, their targets, copies, and what they are asked."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import hattention
from hattention import DataError, HattentionWarning


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=(2, 60))
    return pd.DataFrame({
        "y": 1 + x + rng.normal(size=60), "x": x, "z": z, "w": rng.uniform(0.5, 2, 60), "g": list("abc") * 20,
        "firm": np.arange(60) % 10, "b": rng.random(60) > 0.5,
    })  # fmt: skip


def test_rows_that_have_changed_are_refused(data: pd.DataFrame) -> None:
    columns = {name: data[name].to_numpy().copy() for name in data}
    result = hattention.fit("y ~ x", columns)
    np.testing.assert_allclose((result.resid**2).sum(), result.ssr, rtol=1e-12)
    columns["x"] *= 1000
    for use in (
        lambda: result.predict(),
        lambda: result.augment(),
        lambda: result.fittedvalues,
        lambda: result.resid,
        lambda: result.explain({"x": [1.0]}),
        lambda: hattention.plots.residuals(result),
        lambda: hattention.plots.leverage(result),
    ):
        with pytest.raises(DataError, match="the rows have changed since the fit: the residual sum of squares was") as error:
            use()
        assert error.value.hint is not None and "copy" in error.value.hint
    assert result.predict({"x": [0.0]})[0] == result.params["(Intercept)"]
    assert len(result.explain({"x": [1.0]}, train=data)) == 1
    columns["x"] /= 1000
    result.predict()
    # Rows in another order are the same rows.
    order = np.arange(60)[::-1]
    for name in columns:
        columns[name][:] = columns[name][order]
    result.predict()
    frame = data.copy()
    result = hattention.fit("y ~ x", frame)
    frame.loc[60] = frame.loc[0]
    with pytest.raises(DataError, match="60 rows then, 61 rows now"):
        result.predict()


def test_a_file_that_was_written_anew_is_refused(data: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    data.to_csv(path, index=False)
    result = hattention.fit("y ~ x | firm", path)
    np.testing.assert_allclose((result.resid**2).sum(), result.ssr, rtol=1e-12)
    data.assign(y=data["y"] + 1e-3 * data["z"]).to_csv(path, index=False)
    with pytest.raises(DataError, match="the rows have changed since the fit"):
        _ = result.fittedvalues
    data.assign(firm=data["firm"] + 100).to_csv(path, index=False)
    with pytest.raises(DataError, match="the rows have changed since the fit"):
        _ = result.fittedvalues


@pytest.mark.parametrize(
    ("formula", "arguments"),
    [
        ("y ~ x", {"vcov": "cluster:firm"}),
        ("y ~ x*g", {"weights": "w", "vcov": "HC1"}),
        ("y ~ x | g", {"weights": "w", "vcov": "cluster:firm"}),
        ("y ~ x", {"vcov": "HAC:2", "order": "z"}),
        ("y ~ poly(x, 5, raw)", {}),
        ("cbind(y, z) ~ I(1e9 + x)", {}),
        ("y ~ x + z", {"ridge": 2.0}),
        ("y ~ x + z", {"components": 1}),
        ("y ~ x + I(2*x)", {"aliased": "min-norm"}),
        ("I(1 + 2*x) ~ x", {}),
    ],
)
def test_rows_that_have_not_changed_are_taken(formula: str, arguments: dict[str, Any], data: pd.DataFrame) -> None:
    data["firm"] = data["firm"].astype(float)
    for at, name in enumerate(("y", "x", "z", "firm")):
        data.loc[[2 * at, 20 + at], name] = np.nan
    data.loc[30:40, "w"] = 0
    for scale in (1.0, 1e-150, 1e150):
        result = hattention.fit(formula, data.assign(y=data["y"] * scale), **arguments)
        assert len(result.predict()) == 60


def test_a_target_that_is_chosen_is_chosen_everywhere(data: pd.DataFrame, tmp_path: Path) -> None:
    both, small = (hattention.fit(f"cbind(y, z) ~ {terms}", data, vif=True) for terms in ("x + g", "x"))
    for name in ("y", "z"):
        one, alone = both[name], hattention.fit(f"{name} ~ x + g", data, vif=True)
        assert one.targets == [name] and list(one) == [name] and list(both) == ["y", "z"]
        assert name in both and "x" not in both and one[name].to_dict() == one.to_dict()
        told = alone.to_dict()
        assert one.to_dict() == {**told, "formula": "cbind(y, z) ~ x + g"}
        assert one._repr_html_().count("<table>") == 1 and f"Response {name}:" in str(one.summary())
        for of in (lambda r: r.test("x = 0"), lambda r: r.anova(), lambda r: r.augment(), lambda r: r.cov_params()):
            pd.testing.assert_frame_equal(of(one), of(alone))
        compared = one.compare(small[name])
        assert compared["statistic"].iloc[0] == alone.compare(hattention.fit(f"{name} ~ x", data))["statistic"].iloc[0]
        for mine, theirs in zip(one.explain(data.head(3)), alone.explain(data.head(3)), strict=True):
            assert (mine.target, mine.weighted_sum, mine.rows.tolist()) == (name, theirs.weighted_sum, theirs.rows.tolist())
        np.testing.assert_array_equal(one.resid, alone.resid)
        one.to_onnx(tmp_path / "one.onnx")
        alone.to_onnx(tmp_path / "alone.onnx")
        graphs = [(tmp_path / f"{which}.onnx").read_bytes().replace(one.formula.encode(), b"") for which in ("one", "alone")]
        assert abs(len(graphs[0]) - len(graphs[1])) < 40
        one.to_safetensors(tmp_path / "one.weights")
        one.save(tmp_path / "one.hat")
        loaded = hattention.load(tmp_path / "one.hat")
        pd.testing.assert_frame_equal(loaded.augment(data), alone.augment())
        again = pickle.loads(pickle.dumps(one))
        assert again.to_dict() == one.to_dict()
    with pytest.raises(DataError, match="several targets"):
        _ = both.fittedvalues


def test_explanations_are_not_cut_silently() -> None:
    rng = np.random.default_rng(1)
    data = pl.DataFrame({"x": rng.normal(size=1200), "y": rng.normal(size=1200)})
    result = hattention.fit("y ~ x", data)
    with pytest.warns(HattentionWarning, match="the first 1000 rows are explained, and there are more; limit=None"):
        assert len(result.explain(data)) == 1000
    assert len(result.explain(data, limit=None)) == 1200
    assert len(result.explain(data, limit=7)) == 7
    assert len(result.explain(data.head(1000))) == 1000


def test_hc3_beside_a_row_of_leverage_one(data: pd.DataFrame) -> None:
    data["firm"] = [99] + [1] * 29 + [2] * 30
    for vcov in ("HC2", "HC3"):
        with pytest.warns(HattentionWarning, match=f"{vcov} has no value: 1 row has leverage 1 .* use vcov HC1"):
            assert hattention.fit("y ~ x + C(firm)", data, vcov=vcov).bse.isna().all()
    assert hattention.fit("y ~ x + C(firm)", data, vcov="HC1").bse.notna().all()


def test_nested_models_of_robust_fits_say_that_the_test_is_classical(data: pd.DataFrame) -> None:
    small, large = (hattention.fit(formula, data, vcov="HC3") for formula in ("y ~ x", "y ~ x + z"))
    with pytest.warns(HattentionWarning, match="the F test of nested models is the classical one"):
        found = large.compare(small)
    classical = hattention.fit("y ~ x + z", data).anova().loc["z"]
    np.testing.assert_allclose(found.iloc[0], classical, rtol=1e-12)
    assert abs(large.anova().loc["z", "statistic"] - classical["statistic"]) > 1e-4


@pytest.mark.parametrize(
    ("formula", "arguments"),
    [
        ("y ~ x + z", {"vif": True}),
        ("y ~ x | firm", {}),
        ("y ~ x + z | firm + g", {"vif": True, "vcov": "cluster:firm"}),
        ("cbind(y, z) ~ x", {}),
        ("y ~ x", {"ridge": 1.0}),
    ],
)
def test_pickles_tell_all(formula: str, arguments: dict[str, Any], data: pd.DataFrame) -> None:
    result = hattention.fit(formula, data, **arguments)
    again = pickle.loads(pickle.dumps(result))
    assert str(again.summary()) == str(result.summary()) and str(again.summary(0.1)) == str(result.summary(0.1))
    for level in (0.95, 0.9):
        assert again.to_dict(level) == result.to_dict(level)
    twice = pickle.loads(pickle.dumps(again))
    assert twice.to_dict() == result.to_dict()


def test_copies_have_the_rows(data: pd.DataFrame) -> None:
    result = hattention.fit("y ~ x", data)
    for same in (copy.copy(result), copy.deepcopy(result), copy.deepcopy([result])[0]):
        np.testing.assert_array_equal(same.resid, result.resid)


def test_what_is_told_is_a_copy(data: pd.DataFrame) -> None:
    result = hattention.fit("y ~ x", data)
    told = result.to_dict()
    told["coefficients"][0]["estimate"] = 99.0
    assert result.params.iloc[0] != 99 and result.to_dict()["coefficients"][0]["estimate"] != 99
    explained, drift = result.explain(data.head(2)), result.drift(data)
    explained.to_dict()["queries"].clear()
    drift.to_dict()["columns"][0]["name"] = drift.columns[0]["name"] = "q"
    assert len(explained.to_dict()["queries"]) == 2 and drift.to_dict()["columns"][0]["name"] == "x"


def test_what_is_not_there_is_no_attribute(data: pd.DataFrame, tmp_path: Path) -> None:
    result = hattention.fit("y ~ x", data)
    result.save(tmp_path / "m.hat")
    for one in (result, hattention.load(tmp_path / "m.hat"), hattention.fit("cbind(y, z) ~ x", data)):
        assert not hasattr(one, "vif")
        assert "conf_int" in dict(inspect.getmembers(one))
    loaded = hattention.load(tmp_path / "m.hat")
    assert not hasattr(loaded, "resid") and hasattr(result, "resid")
    with pytest.raises(DataError, match="no variance inflation factors") as error:
        _ = loaded.vif
    assert isinstance(error.value, AttributeError) and "files of models do not keep them" in str(error.value)


@pytest.mark.parametrize(
    "name", ["a b", 'a"b', "a-b", "a:b", "a, b", "a=b", "_x", "1x", "TRUE", "🙂", "x y*2", "Intercept"]
)  # fmt: skip
def test_hypotheses_about_any_name(name: str, data: pd.DataFrame) -> None:
    result = hattention.fit(f"y ~ `{name}` + z", data.rename(columns={"x": name}))
    expected = hattention.fit("y ~ x + z", data).test("2*x - z = 1")
    coefficient = result.params.index[1]
    for text in (f"2*`{name}` - z = 1", f"2*{coefficient} - z = 1", f"-z + 2 * {coefficient} - 1"):
        assert result.test(text)["statistic"].iloc[0] == pytest.approx(expected["statistic"].iloc[0], rel=1e-12)
    assert result.test({name: 1}).iloc[0].tolist() == result.test(f"{coefficient} = 1").iloc[0].tolist()


def test_hypotheses_that_cannot_be_read(data: pd.DataFrame) -> None:
    result = hattention.fit("y ~ x + z + g", data)
    for text in ("q = 0", "x = 0,", "x z", "x = y", "2/x", "x = ", "x*z = 0", "g[T.q] = 0", {"q": 0}):
        with pytest.raises(DataError, match="cannot read"):
            result.test(text)
    with pytest.raises(DataError, match=r"R is of shape \(1, 2\), expected 5 columns"):
        result.test([0, 1])
    with pytest.raises(DataError, match="q has 1 values, and R 2 rows"):
        result.test((np.eye(5)[:2], [1]))
    with pytest.raises(DataError, match="restrictions that depend on each other"):
        result.test("x = 0, 2*x = 0")
    with pytest.raises(TypeError, match="the value of 'x' is 'a'"):
        result.test({"x": "a"})
    with pytest.raises(TypeError, match="hypotheses that are not all texts"):
        result.test("x = 0", np.eye(5))
    with pytest.raises(DataError, match="no hypothesis"):
        result.test([])
    names = list(result.test(np.eye(5)).index) + list(result.test(np.eye(5)[1] - 2 * np.eye(5)[2]).index)
    assert names == ["(Intercept) = 0, x = 0, z = 0, gb = 0, gc = 0", "x - 2*z = 0"]
    ridge = hattention.fit("y ~ x", data, ridge=1.0)
    with pytest.raises(DataError, match="the fit is one by ridge or components, expected one by least squares"):
        ridge.test("x")
    with pytest.raises(DataError, match="the comparison is of models with 58 and 58 residual degrees of freedom"):
        hattention.fit("y ~ x", data).compare(hattention.fit("y ~ z", data))


def test_effects_taken_out_leave_residuals(data: pd.DataFrame) -> None:
    result, factors = hattention.fit("y ~ x | firm + g", data), hattention.fit("y ~ x + C(firm) + g", data)
    np.testing.assert_allclose(result.resid, factors.resid, atol=1e-12)
    np.testing.assert_allclose((result.resid**2).sum(), result.ssr, rtol=1e-12)
    told = result.augment()
    assert list(told.columns) == ["prediction", "residual"]
    np.testing.assert_array_equal(told["residual"], result.resid)
    with pytest.raises(DataError, match="interval of a model with absorbed effects"):
        result.predict(data, interval="confidence")


def test_hints_for_too_many_levels_can_be_followed() -> None:
    columns = {"y": np.arange(9000.0) ** 0.5, "x": np.arange(9000.0) % 7, "k": np.arange(9000) % 4500}
    with pytest.raises(DataError) as error:
        hattention.fit("y ~ x + C(k)", columns)
    formula = re.search(r"absorb its effects: (y ~ x \| \S+);", str(error.value))
    assert formula is not None
    assert hattention.fit(formula[1], columns).nobs == 9000


def test_levels_of_summaries_and_intervals(data: pd.DataFrame) -> None:
    result = hattention.fit("y ~ x", data)
    text = str(result.summary(0.1))
    assert text.startswith(str(result.summary())) and "5 %" in text and "95 %" in text
    assert f"{result.conf_int(0.1).loc['x', 0]:.7g}" in text
    assert "<th>5 %</th><th>95 %</th>" in result.summary(0.1).as_html()
    for use in (result.summary, result.conf_int):
        with pytest.raises(DataError, match="alpha is 2, expected a number between 0 and 1"):
            use(2)
        with pytest.raises(TypeError, match="alpha is 'a', expected a number between 0 and 1"):
            use("a")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="level is 1"):
        result.to_dict(1)


def test_arguments_that_cannot_be(data: pd.DataFrame) -> None:
    result = hattention.fit("y ~ x", data)
    for kind in (hattention.fit, hattention.State):
        with pytest.raises(TypeError, match="formula is .*, expected text"):
            kind(None, data)  # type: ignore[arg-type]
    for name, use in {
        "top": lambda: result.explain(data, top=-1),
        "limit": lambda: result.explain(data, limit=0),
        "permutations": lambda: result.drift(data, train=data, permutations=-1),
        "seed": lambda: result.drift(data, train=data, seed=-1),
        "heads": lambda: result.to_safetensors("never", heads=-1),
        "threads": lambda: hattention.set_threads(-1),
    }.items():
        with pytest.raises(ValueError, match=f"{name} is (-1|0), expected"):
            use()
    with pytest.raises(TypeError, match="other is of type int, expected Result"):
        result.compare(3)  # type: ignore[arg-type]
    for vcov in ("nonrobust", "iid"):
        assert hattention.fit("y ~ x", data, vcov=vcov).to_dict() == result.to_dict()
    one = data.head(3).copy()
    one.loc[1, "x"] = np.nan
    with pytest.warns(HattentionWarning, match="1 query has missing values and was left out"):
        result.explain(one)


def test_estimators_name_the_argument_that_cannot_be(data: pd.DataFrame) -> None:
    model = hattention.LeastSquares().fit(data[["x"]], data["y"])
    for name in ("top", "target"):
        with pytest.raises(ValueError, match=f"{name} is -1, expected a whole number of at least 0"):
            model.explain(data[["x"]], **{name: -1})


def test_no_warning_where_nothing_is_wrong(data: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        large, small = hattention.fit("y ~ x + z", data), hattention.fit("y ~ x", data)
        large.compare(small)
        large.explain(data)
