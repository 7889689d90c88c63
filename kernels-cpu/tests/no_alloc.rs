//! Steady state allocates nothing: after one warm-up round, ops called through the door touch neither heap nor device memory.

use kernels::ops::*;
use kernels::weight::{Bits, Quant, QuantScheme, Values, Zero};
use kernels::{Backend, Buffer, DType, Memory, Op, Result, Weight, WeightRef};
use kernels_cpu::CpuBackend;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROWS: usize = 24;
const WIDTH: usize = 192; // 3 heads of 64
const HEADS: usize = 3;

struct Step {
    x: Buffer,
    y: Buffer,
    z: Buffer,
    codes: Buffer,
    scale: Buffer,
    lse: Buffer,
    gradients: [Buffer; 3],
    ones: Buffer,
    weights: Vec<kernels::Packed>,
}

impl Step {
    fn new(cpu: &CpuBackend) -> Result<Self> {
        let square = |values: Vec<f32>| Weight::dense(WIDTH, WIDTH, Values::F32(values));
        let scheme = QuantScheme { bits: Bits::Int8, group_size: 64, zero: Zero::Symmetric };
        let quant = Quant::new(WIDTH, WIDTH, scheme, vec![130; WIDTH * WIDTH], vec![0.01; WIDTH * 3], Vec::new())?;
        let f32s = |len| cpu.alloc(DType::F32, len);
        let all = ROWS * WIDTH;
        Ok(Step {
            x: f32s(all)?,
            y: f32s(all)?,
            z: f32s(all)?,
            codes: cpu.alloc(DType::I8, all)?,
            scale: f32s(ROWS)?,
            lse: f32s(HEADS * ROWS)?,
            gradients: [f32s(all)?, f32s(all)?, f32s(all)?],
            ones: f32s(WIDTH)?,
            weights: vec![cpu.pack(&square(vec![0.01; WIDTH * WIDTH])?)?, cpu.pack(&Weight::Quant(quant))?],
        })
    }

    fn run(&mut self, cpu: &dyn Backend) -> Result<()> {
        let rows = [ROWS, WIDTH];
        let heads = [1, ROWS, HEADS, WIDTH / HEADS];
        for m in [1, ROWS] {
            for weight in &self.weights {
                let x = self.x.view([m, WIDTH])?;
                let weight = WeightRef::Packed(weight);
                Linear { x, weight, bias: None, act: Act::Gelu, out: self.y.view_mut([m, WIDTH])? }.run(cpu)?;
            }
        }
        let (q, scale) = (self.codes.view_mut(rows)?, self.scale.view_mut([ROWS])?);
        Quantize { x: self.y.view(rows)?, q, scale }.run(cpu)?;
        let (x, x_scale) = (self.codes.view(rows)?, self.scale.view([ROWS])?);
        let out = self.y.view_mut(rows)?;
        LinearInt8 { x, x_scale, weight: &self.weights[1], bias: None, act: Act::None, out }.run(cpu)?;
        let (a, b) = (self.x.view([8, 8])?, self.y.view([8, 8])?);
        Matmul::new(a, b, self.z.view_mut([8, 8])?).run(cpu)?;
        let (q, k, v) = (self.x.view(heads)?, self.y.view(heads)?, self.y.view(heads)?);
        let (out, lse) = (self.z.view_mut(heads)?, Some(self.lse.view_mut([1, HEADS, ROWS])?));
        Attention { q, k, v, lengths: None, mask: Mask::Causal, scale: 0.125, out, lse }.run(cpu)?;
        let [dq, dk, dv] = &mut self.gradients;
        AttentionBackward {
            q,
            k,
            v,
            lengths: None,
            mask: Mask::Causal,
            scale: 0.125,
            out: self.z.view(heads)?,
            lse: self.lse.view([1, HEADS, ROWS])?,
            dout: self.x.view(heads)?,
            dq: dq.view_mut(heads)?,
            dk: dk.view_mut(heads)?,
            dv: dv.view_mut(heads)?,
        }
        .run(cpu)?;
        Softmax { x: self.z.view(rows)?, out: self.y.view_mut(rows)? }.run(cpu)?;
        RmsNorm { x: self.y.view(rows)?, weight: self.ones.view([WIDTH])?, eps: 1e-5, out: self.z.view_mut(rows)?, rstd: None }
            .run(cpu)?;
        Unary { op: UnaryOp::Gelu, x: self.z.view(rows)?, out: self.y.view_mut(rows)? }.run(cpu)
    }
}

#[test]
fn steady_state_allocates_nothing() {
    for threads in [1, 2] {
        let cpu = CpuBackend::builder().threads(threads).build().unwrap();
        let mut step = Step::new(&cpu).unwrap();
        step.run(&cpu).unwrap();
        let device = cpu.memory_stats().allocations;
        // The counter sees all threads, the test harness's own too: what an op allocates shows in every round.
        let rounds = (0..5).map(|_| {
            let region = Region::new(ALLOCATOR);
            (0..20).for_each(|_| step.run(&cpu).unwrap());
            let change = region.change();
            change.allocations + change.reallocations
        });
        assert_eq!(rounds.min(), Some(0), "heap, {threads} threads");
        assert_eq!(cpu.memory_stats().allocations, device, "device, {threads} threads");
    }
}

#[test]
fn a_growing_cache_takes_no_more_work_space() {
    const KEYS: usize = 3000;
    let (kv_heads, heads, d) = (4, 8, 64);
    for threads in [1, 2] {
        let cpu = CpuBackend::builder().threads(threads).build().unwrap();
        let (q, mut out) = (cpu.alloc(DType::F32, heads * d).unwrap(), cpu.alloc(DType::F32, heads * d).unwrap());
        let (k, v) = (cpu.alloc(DType::F32, KEYS * kv_heads * d).unwrap(), cpu.alloc(DType::F32, KEYS * kv_heads * d).unwrap());
        let mut decode = |keys: usize| {
            let (query, cache) = ([1, 1, heads, d], [1, keys, kv_heads, d]);
            let (q, k, v) = (q.view(query).unwrap(), k.view(cache).unwrap(), v.view(cache).unwrap());
            let out = out.view_mut(query).unwrap();
            Attention { q, k, v, lengths: None, mask: Mask::Causal, scale: 0.125, out, lse: None }.run(&cpu).unwrap();
            cpu.memory_stats().allocations
        };
        let first = decode(1);
        for keys in (1..KEYS).step_by(85) {
            assert_eq!(decode(keys), first, "{keys} keys on {threads} threads");
        }
    }
}
