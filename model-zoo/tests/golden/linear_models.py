"""Makes linear_models.json: optima of scikit-learn's linear classifiers on the embedded digits.

    pip install scikit-learn==1.9.1
    python3 linear_models.py ../../data/digits.u8 linear_models.json

Rows 0..1437 fit, rows 1437..1477 are predicted, in the order of the file; pixels are divided by 16 except for `logistic_raw`.
Every solver is driven far beyond its default tolerance, so that the values are those of the optimum and not of the path to it.
"""
import json
import sys
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

warnings.filterwarnings("error")
source, target = sys.argv[1:]
data = np.fromfile(source, dtype=np.uint8).reshape(-1, 65)
raw, labels = data[:, :64].astype(np.float64), data[:, 64]
unit = raw / 16
FIT, SHOW = slice(0, 1437), slice(1437, 1477)


def digits(array, places):
    return [round(float(value), places) for value in np.asarray(array).ravel()]


golden = {}
for name, rows in [("logistic_raw", raw), ("logistic_unit", unit)]:
    model = LogisticRegression(C=1.0, tol=1e-9, max_iter=1_000_000).fit(rows[FIT], labels[FIT])
    golden[name] = digits(model.predict_proba(rows[SHOW]), 6)  # [40, 10]
model = LogisticRegression(C=1.0, l1_ratio=1.0, solver="saga", tol=1e-7, max_iter=1_000_000, random_state=0)
model.fit(unit[FIT], labels[FIT])
golden["logistic_l1"] = digits(model.predict_proba(unit[SHOW]), 6)  # [40, 10]
golden["logistic_l1_zeros"] = int((model.coef_ == 0).sum())
for loss in ["hinge", "squared_hinge"]:
    model = LinearSVC(C=1.0, loss=loss, dual=True, tol=1e-8, max_iter=10_000_000, random_state=0)
    model.fit(unit[FIT], labels[FIT])
    golden[f"svm_{loss}_weight"] = digits(model.coef_, 5)  # [10, 64]
    golden[f"svm_{loss}_bias"] = digits(model.intercept_, 5)  # [10]
    golden[f"svm_{loss}_accuracy"] = float(model.score(unit[1437:], labels[1437:]))

with open(target, "w") as out:
    json.dump(golden, out, separators=(",", ":"))
    out.write("\n")
