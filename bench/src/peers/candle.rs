//! candle: dense products, quantized linear layers, attention.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};

use super::dense::{Operands, Right};
use super::{Absent, Peer, values};
use crate::report::{Arithmetic, Work};

/// `a` and `b` as `[M, K]` and `[K, N]`.
fn tensors(x: &Operands, dtype: DType) -> Result<(Tensor, Tensor)> {
    let a = Tensor::from_slice(&x.a, (x.m, x.k), &Device::Cpu)?;
    let b = match x.right {
        Right::Matrix => Tensor::from_slice(&x.b, (x.k, x.n), &Device::Cpu)?.to_dtype(dtype)?,
        Right::Weight => Tensor::from_slice(&x.b, (x.n, x.k), &Device::Cpu)?.to_dtype(dtype)?.t()?,
    };
    Ok((a.to_dtype(dtype)?, b))
}

/// Dense product in `dtype`.
pub(super) fn matmul(x: &Operands, dtype: DType) -> std::result::Result<Peer, Absent> {
    let (a, b) = tensors(x, dtype).map_err(absent)?;
    peer("candle-core", "", move || a.matmul(&b))
}

/// The f32 product, read back.
#[cfg(test)]
pub(super) fn product(x: &Operands) -> Result<Vec<f32>> {
    let (a, b) = tensors(x, DType::F32)?;
    a.matmul(&b)?.flatten_all()?.to_vec1()
}

/// Linear layer with a weight in one of llama.cpp's formats.
pub(super) fn quantized(m: usize, n: usize, k: usize, format: GgmlDType) -> std::result::Result<Peer, Absent> {
    let ready = || -> Result<(QMatMul, Tensor)> {
        let weight = Tensor::from_vec(values(n * k), (n, k), &Device::Cpu)?;
        let weight = QMatMul::from_qtensor(QTensor::quantize(&weight, format)?)?;
        Ok((weight, Tensor::from_vec(values(m * k), (m, k), &Device::Cpu)?))
    };
    let (weight, x) = ready().map_err(absent)?;
    let mut peer = peer("candle-core", &format!(" {format:?}"), move || weight.forward(&x))?;
    let weight_bytes = n * k / format.block_size() * format.type_size();
    let work = Work {
        arithmetic: Arithmetic::Int8,
        flop: 2.0 * (m * n * k) as f64,
        bytes: (weight_bytes + 4 * m * k + 4 * m * n) as f64,
    };
    peer.work = Some(work);
    Ok(peer)
}

/// Causal attention of one sequence whose last `seq_q` positions ask.
pub(super) fn attention(heads: usize, head_dim: usize, seq_q: usize, seq_k: usize) -> std::result::Result<Peer, Absent> {
    let tensor = |seq: usize| Tensor::from_vec(values(seq * heads * head_dim), (1, seq, heads, head_dim), &Device::Cpu);
    let ready = || -> Result<[Tensor; 3]> { Ok([tensor(seq_q)?, tensor(seq_k)?, tensor(seq_k)?]) };
    let [q, k, v] = ready().map_err(absent)?;
    let scale = (head_dim as f32).sqrt().recip();
    peer("candle-nn", " flash", move || {
        let mask = AttnMask::causal_with_offset(seq_k.saturating_sub(seq_q));
        flash_attn::<f32>(&q, &k, &v, scale, mask, None, None)
    })
}

/// A peer whose call makes a tensor, tried once.
fn peer(package: &str, suffix: &str, mut call: impl FnMut() -> Result<Tensor> + 'static) -> std::result::Result<Peer, Absent> {
    call().map_err(absent)?;
    Ok(Peer::of(package, suffix, move || call().map(drop).map_err(|error| error.to_string())))
}

fn absent(error: candle_core::Error) -> Absent {
    format!("candle: {error}")
}
