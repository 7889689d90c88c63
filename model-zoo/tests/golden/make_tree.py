"""Makes tree.json: class probabilities of scikit-learn's decision tree on its own training rows, for tests/forest.rs.

    pip install scikit-learn==1.9.1
    python3 make_tree.py > tree.json

The 200 rows have at most 200 distinct values per column, fewer than the forest has bins, so both see the same splits. Equally
good splits are broken at random, so only settings on which twenty seeds agree are of use.
"""
import json
import sys

import numpy
from sklearn.tree import DecisionTreeClassifier

random = numpy.random.default_rng(8)
table = random.normal(size=(200, 4)).astype(numpy.float32).round(3)
noise = 0.3 * random.normal(size=200)
labels = numpy.digitize(table[:, 0] * table[:, 1] + table[:, 2] + noise, [-0.7, 0.6])
trees = []
for depth, min_leaf in [(1, 1), (3, 1), (5, 1), (5, 5), (6, 12)]:
    fits = [
        DecisionTreeClassifier(max_depth=depth, min_samples_leaf=min_leaf, random_state=seed).fit(table, labels).predict_proba(table)
        for seed in range(20)
    ]
    assert all((fit == fits[0]).all() for fit in fits), (depth, min_leaf)
    trees.append({"max_depth": depth, "min_leaf": min_leaf, "probabilities": fits[0].round(6).tolist()})
json.dump({"table": table.astype(float).round(3).tolist(), "labels": labels.tolist(), "trees": trees}, sys.stdout)
