"""Golden values for tests/transformers.rs: two tiny decoders and a tiny encoder, their logits, loss and gradients, in float64.

Written from the papers, independently of the Rust code; gradients by JAX. Run in this directory:
    pip install "jax[cpu]==0.10.2" safetensors && python make_transformers.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

jax.config.update("jax_enable_x64", True)
VOCAB, EPS = 256, 1e-5
B, T, C, LAYERS, H, F = 2, 5, 8, 2, 2, 24
D = C // H


def shapes(kind, kv_heads):
    """Every parameter with its shape; weights are [out, in]."""
    llama, gpt = kind == "llama", kind == "gpt2"
    s = {}
    if kind == "encoder":
        s["patch.weight"], s["patch.bias"] = (C, 3), (C,)
        s["head.weight"], s["head.bias"] = (3, C), (3,)
    else:
        s["embedding"] = (VOCAB, C)
    if llama:
        s["head.weight"] = (VOCAB, C)
    else:
        s["positions"] = (T + 3 if gpt else T, C)

    def norm(name):
        s[name + ".weight"] = (C,)
        if not llama:
            s[name + ".bias"] = (C,)

    def linear(name, n, k):
        s[name + ".weight"] = (n, k)
        if not llama:
            s[name + ".bias"] = (n,)

    for i in range(LAYERS):
        norm(f"blocks.{i}.attention_norm")
        linear(f"blocks.{i}.qkv", (H + 2 * kv_heads) * D, C)
        linear(f"blocks.{i}.attention_out", C, C)
        norm(f"blocks.{i}.mlp_norm")
        linear(f"blocks.{i}.up", (2 if llama else 1) * F, C)
        linear(f"blocks.{i}.down", C, F)
    norm("norm")
    return s


def forward(p, x, kind, kv_heads):
    llama = kind == "llama"
    b, t, _ = x.shape

    def norm(name, x):
        w = p[name + ".weight"]
        if llama:
            return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + EPS) * w
        centred = x - jnp.mean(x, -1, keepdims=True)
        return centred / jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True) + EPS) * w + p[name + ".bias"]

    def linear(name, x):
        y = x @ p[name + ".weight"].T
        return y if llama else y + p[name + ".bias"]

    def rope(x):  # [B, T, heads, D], pairs (i, i + D/2)
        angle = jnp.arange(t)[:, None] * 10000.0 ** (-2 * jnp.arange(D // 2) / D)[None, :]
        cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
        a, b = x[..., : D // 2], x[..., D // 2 :]
        return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

    if not llama:
        x = x + p["positions"][:t]
    for i in range(LAYERS):
        qkv = linear(f"blocks.{i}.qkv", norm(f"blocks.{i}.attention_norm", x))
        q, k, v = jnp.split(qkv, [H * D, (H + kv_heads) * D], -1)
        q, k, v = q.reshape(b, t, H, D), k.reshape(b, t, kv_heads, D), v.reshape(b, t, kv_heads, D)
        if llama:
            q, k = rope(q), rope(k)
        k, v = jnp.repeat(k, H // kv_heads, 2), jnp.repeat(v, H // kv_heads, 2)
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D)
        if kind != "encoder":
            scores = jnp.where(np.tril(np.ones((t, t), bool)), scores, -jnp.inf)
        out = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores, -1), v).reshape(b, t, C)
        x = x + linear(f"blocks.{i}.attention_out", out)
        h = linear(f"blocks.{i}.up", norm(f"blocks.{i}.mlp_norm", x))
        if llama:
            gate, up = jnp.split(h, 2, -1)
            h = gate / (1 + jnp.exp(-gate)) * up
        else:
            h = 0.5 * h * (1 + jnp.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        x = x + linear(f"blocks.{i}.down", h)
    return norm("norm", x)


def logits(p, inputs, kind, kv_heads):
    if kind == "encoder":
        x = forward(p, inputs @ p["patch.weight"].T + p["patch.bias"], kind, kv_heads)
        return x.mean(1) @ p["head.weight"].T + p["head.bias"]
    x = forward(p, p["embedding"][inputs], kind, kv_heads).reshape(B * T, C)
    return x @ p["head.weight" if kind == "llama" else "embedding"].T


def loss(p, inputs, targets, kind, kv_heads):
    log_p = jax.nn.log_softmax(logits(p, inputs, kind, kv_heads), -1)
    return -jnp.mean(log_p[jnp.arange(len(targets)), targets])


for kind, kv_heads in [("gpt2", 2), ("llama", 1), ("encoder", 2)]:
    rng = np.random.default_rng(42)
    p = {name: (rng.normal(size=shape) * 0.4 + (len(shape) == 1)).astype(np.float32) for name, shape in shapes(kind, kv_heads).items()}
    if kind == "encoder":
        inputs = rng.normal(size=(B, T, 3)).astype(np.float32)
        targets = rng.integers(0, 3, B)
    else:
        inputs = rng.integers(0, VOCAB, (B, T))
        targets = rng.integers(0, VOCAB, B * T)
    p64 = {name: jnp.asarray(value, jnp.float64) for name, value in p.items()}
    x = jnp.asarray(inputs, jnp.float64) if kind == "encoder" else inputs
    value, grads = jax.value_and_grad(loss)(p64, x, targets, kind, kv_heads)
    out = {"param." + name: value for name, value in p.items()}
    out |= {"grad." + name: np.asarray(grad, np.float32) for name, grad in grads.items()}
    out["logits"] = np.asarray(logits(p64, x, kind, kv_heads), np.float32)
    out["loss"] = np.asarray([value], np.float32)
    out["inputs"] = inputs if kind == "encoder" else inputs.astype(np.uint32).reshape(-1)
    out["targets"] = targets.astype(np.uint32)
    save_file(out, f"{kind}.safetensors", metadata={"source": "make_transformers.py"})
    print(kind, float(value))
