"""Makes features.json: TF-IDF of hashed byte n-grams by scikit-learn, for tests/features.rs.

    pip install scikit-learn==1.9.1
    python3 make_features.py > features.json

The hashing is written out here; the weighting is scikit-learn's.
"""
import json
import sys

import numpy
from sklearn.feature_extraction.text import TfidfTransformer

DIMS, MAX_NGRAM = 64, 3


def scrambled_fnv(gram):
    value = 0x811C9DC5
    for byte in gram:
        value = (value ^ byte) * 0x01000193 % 2**32
    value = (value ^ value >> 16) * 0x85EBCA6B % 2**32
    value = (value ^ value >> 13) * 0xC2B2AE35 % 2**32
    return value ^ value >> 16


def sums(texts):
    matrix = numpy.zeros((len(texts), DIMS))
    for row, text in enumerate(texts):
        for length in range(1, MAX_NGRAM + 1):
            for start in range(len(text) - length + 1):
                value = scrambled_fnv(text[start : start + length])
                matrix[row, value % DIMS] += -1 if value >> 31 else 1
    return matrix


train = [text.encode() for text in ["fn main() {}", "let x = 3;", "x", "struct Größe;", "let y = x + x;"]]
test = [text.encode() for text in ["let main = x;", "", "??"]]
weighting = TfidfTransformer(sublinear_tf=True).fit(abs(sums(train)))
rows = {
    side: (numpy.sign(sums(texts)) * weighting.transform(abs(sums(texts))).toarray()).round(7).tolist()
    for side, texts in [("train", train), ("test", test)]
}
texts = {"train_texts": [list(text) for text in train], "test_texts": [list(text) for text in test]}
json.dump({"dims": DIMS, "max_ngram": MAX_NGRAM, **texts, **rows}, sys.stdout)
