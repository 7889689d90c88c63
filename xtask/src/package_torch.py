"""PyTorch (cuBLAS, cuBLASLt, FlashAttention) on the shapes of a run of sizewise.

    python3 torch_peers.py RUN/report.json OUT.json

For each kernel row it times the same work in PyTorch, as ours is timed: calls are queued, one wait ends a sample of
4 ms and more, and the median of the samples counts. A weight that torch has no such form of (int4, blocks, sparse)
is compared with its dense product in the dtype of the activations, which is what such a weight has to beat. f32 is
true f32: TF32 stays off.
"""

import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "i8": torch.int8}


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def values(*shape, dtype):
    if dtype == torch.int8:
        return torch.randint(-127, 128, shape, dtype=dtype, device=DEVICE)
    return (torch.rand(*shape, device=DEVICE) * 2 - 1).to(dtype)


def call(op, dtype, weight, shape):
    """What does the row's work, and what it is called; None where torch has nothing alike."""
    if op == "matmul":
        a, b = values(shape["m"], shape["k"], dtype=dtype), values(shape["k"], shape["n"], dtype=dtype)
        if dtype == torch.int8:
            return (lambda: torch._int_mm(a, b)), "_int_mm"
        out = torch.empty(shape["m"], shape["n"], dtype=dtype, device=DEVICE)
        return (lambda: torch.matmul(a, b, out=out)), "matmul"
    if op == "linear_int8" and not weight.endswith("-dynamic"):
        x = values(shape["m"], shape["k"], dtype=torch.int8)
        w = values(shape["n"], shape["k"], dtype=torch.int8).t()
        return (lambda: torch._int_mm(x, w)), "_int_mm, no scales"
    if op == "linear":
        x, w = values(shape["m"], shape["k"], dtype=dtype), values(shape["n"], shape["k"], dtype=dtype)
        return (lambda: F.linear(x, w)), "linear" if weight == "dense" else "linear, dense"
    if op == "attention":
        heads, d = shape["heads"], shape["head_dim"]
        q = values(1, heads, shape["seq_q"], d, dtype=dtype)
        k, v = (values(1, heads, shape["seq_k"], d, dtype=dtype) for _ in range(2))
        # A single query sees every key; longer prompts here have as many queries as keys.
        causal = shape["seq_q"] == shape["seq_k"] > 1
        return (lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)), "scaled_dot_product_attention"
    if op == "rms_norm":
        x, w = values(shape["rows"], shape["d"], dtype=dtype), values(shape["d"], dtype=dtype)
        return (lambda: F.rms_norm(x, (shape["d"],), w, 1e-5)), "rms_norm"
    if op == "softmax":
        x = values(shape["rows"], shape["d"], dtype=dtype)
        return (lambda: torch.softmax(x, -1)), "softmax"
    if op == "adamw":
        p = values(shape["params"], dtype=torch.float32).requires_grad_()
        p.grad = values(shape["params"], dtype=torch.float32)
        return torch.optim.AdamW([p], lr=1e-4, weight_decay=0.1, fused=True).step, "AdamW, fused"
    return None


def median_ns(run, samples=20, least_s=4e-3, budget_s=2.0):
    def timed(calls):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        wait()
        return time.perf_counter() - start

    timed(1)
    calls = 1
    while (taken := timed(calls)) < least_s:
        calls = max(calls + 1, int(calls * min(10, least_s / taken) + 1))
    times, start = [], time.perf_counter()
    while len(times) < samples and (len(times) < 3 or time.perf_counter() - start < budget_s):
        times.append(timed(calls) / calls)
    return statistics.median(times) * 1e9


@torch.inference_mode(False)
def main(report, out):
    torch.backends.cuda.matmul.allow_tf32 = False
    rows = []
    for row in json.load(open(report))["kernels"]:
        try:
            if row["median_ns"] is None or (found := call(row["op"], DTYPES.get(row["dtype"]), row["weight"], row["shape"])) is None:
                continue
            run, name = found
            with torch.no_grad():
                rows.append({"id": row["id"], "call": name, "median_ns": median_ns(run)})
            print(f"{row['id']}: {name} {rows[-1]['median_ns'] / 1e3:.1f} us, ours {row['median_ns'] / 1e3:.1f} us", flush=True)
        except Exception as error:  # One shape that torch refuses must not cost the others.
            print(f"{row['id']}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
        finally:
            run = found = None
            if DEVICE == "cuda":
                torch.cuda.empty_cache()
    about = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"}
    json.dump({**about, "rows": rows}, open(out, "w"), indent=1)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
