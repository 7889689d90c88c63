"""Makes blocks.json: blocks of GGUF's formats, what they stand for, and blocks quantized from values, by the gguf package, for
tests/blocks.rs.

    pip install gguf==0.17.1
    python3 make_blocks.py > blocks.json

Bytes and the bits of f32 are written in hexadecimal.
"""
import json
import sys

import numpy
from gguf import GGMLQuantizationType, quants
from gguf.constants import GGML_QUANT_SIZES

random = numpy.random.default_rng(4)


def bits(values):
    return values.astype("<f4").tobytes().hex()


formats = {}
for name, scales_at, count in [("Q8_0", [0], 3), ("Q4_0", [0], 3), ("Q4_K", [0, 2], 2), ("Q5_K", [0, 2], 2), ("Q6_K", [208], 2)]:
    kind = GGMLQuantizationType[name]
    blocks = random.integers(0, 256, (count, GGML_QUANT_SIZES[kind][1]), dtype=numpy.uint8)
    for at in scales_at:
        # One of each is subnormal.
        scales = numpy.concatenate([random.normal(0, 0.02, count - 1), [3e-6]])
        blocks[:, at : at + 2] = scales.astype("<f2").view(numpy.uint8).reshape(count, 2)
    formats[name.lower()] = {"bytes": blocks.tobytes().hex(), "values": bits(quants.dequantize(blocks, kind))}

values = random.normal(0, 1, (4, 32)).astype(numpy.float32)
values[1] *= 1e-4
values[2] = 0
values[3] = numpy.arange(-16, 16) / 8  # ties
quantized = {
    name.lower(): quants.quantize(values, GGMLQuantizationType[name]).tobytes().hex() for name in ["Q8_0", "Q4_0"]
}
json.dump({"formats": formats, "values": bits(values), "quantized": quantized}, sys.stdout, indent=1)
