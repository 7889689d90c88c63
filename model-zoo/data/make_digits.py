"""Makes digits.u8 from the digits.csv.gz inside scikit-learn's wheel.

    pip download --no-deps scikit-learn==1.9.1
    unzip scikit_learn-*.whl sklearn/datasets/data/digits.csv.gz
    python3 make_digits.py sklearn/datasets/data/digits.csv.gz digits.u8

Each of the 1,797 rows becomes 65 bytes: 64 pixels (0..=16, row by row of the 8 x 8 image), then the digit.
"""
import gzip
import sys

source, target = sys.argv[1:]
rows = [[int(value) for value in line.split(",")] for line in gzip.open(source, "rt")]
assert len(rows) == 1797 and all(len(row) == 65 for row in rows)
assert all(0 <= pixel <= 16 for row in rows for pixel in row[:64]) and all(0 <= row[64] <= 9 for row in rows)
with open(target, "wb") as out:
    for row in rows:
        out.write(bytes(row))
