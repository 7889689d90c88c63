//! A query gets the same bits whatever it is computed with: within a prompt, by tiles, or alone over a cache, by blocks of keys.

use kernels::ops::{Attention, Download, Mask, Upload};
use kernels::{Buffer, DType, Memory, Op};
use kernels_wgpu::WgpuBackend;

/// Values without pattern in [−1, 1).
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mix = |i: u32| (i.wrapping_mul(2_654_435_761) ^ seed).wrapping_mul(0x9e37_79b1).rotate_left(13).wrapping_mul(0x85eb_ca6b);
    (0..len as u32).map(|i| mix(i) as f32 / 2f32.powi(31) - 1.0).collect()
}

fn uploaded(gpu: &WgpuBackend, values: &[f32]) -> Buffer {
    let mut buffer = gpu.alloc(DType::F32, values.len()).unwrap();
    Upload::new(values, buffer.view_mut([values.len()]).unwrap()).run(gpu).unwrap();
    buffer
}

fn downloaded(gpu: &WgpuBackend, buffer: &Buffer, len: usize) -> Vec<f32> {
    let mut host = vec![0f32; len];
    Download::new(buffer.view([len]).unwrap(), &mut host).run(gpu).unwrap();
    host
}

#[test]
fn a_query_decoded_alone_equals_the_same_query_within_a_prompt() {
    let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
    let (seq, heads, kv_heads, head_dim) = (150, 6, 2, 72);
    let q = uploaded(&gpu, &values(seq * heads * head_dim, 1));
    let k = uploaded(&gpu, &values(seq * kv_heads * head_dim, 2));
    let v = uploaded(&gpu, &values(seq * kv_heads * head_dim, 3));
    let mut out = gpu.alloc(DType::F32, seq * heads * head_dim).unwrap();
    let mut lse = gpu.alloc(DType::F32, heads * seq).unwrap();
    Attention {
        q: q.view([1, seq, heads, head_dim]).unwrap(),
        k: k.view([1, seq, kv_heads, head_dim]).unwrap(),
        v: v.view([1, seq, kv_heads, head_dim]).unwrap(),
        lengths: None,
        mask: Mask::Causal,
        scale: 0.7,
        out: out.view_mut([1, seq, heads, head_dim]).unwrap(),
        lse: Some(lse.view_mut([1, heads, seq]).unwrap()),
    }
    .run(&gpu)
    .unwrap();
    let prompt = downloaded(&gpu, &out, seq * heads * head_dim);
    let prompt_lse = downloaded(&gpu, &lse, heads * seq);

    // As many queries at a time as are taken by blocks, and more than that.
    for (t, count) in [(0, 1), (63, 1), (64, 1), (100, 1), (149, 1), (130, 2), (75, 5)] {
        let keys = t + count;
        let mut alone = gpu.alloc(DType::F32, count * heads * head_dim).unwrap();
        let mut alone_lse = gpu.alloc(DType::F32, heads * count).unwrap();
        Attention {
            q: q.view([1, seq, heads, head_dim]).unwrap().narrow(1, t, count).unwrap(),
            k: k.view([1, seq, kv_heads, head_dim]).unwrap().narrow(1, 0, keys).unwrap(),
            v: v.view([1, seq, kv_heads, head_dim]).unwrap().narrow(1, 0, keys).unwrap(),
            lengths: None,
            mask: Mask::Causal,
            scale: 0.7,
            out: alone.view_mut([1, count, heads, head_dim]).unwrap(),
            lse: Some(alone_lse.view_mut([1, heads, count]).unwrap()),
        }
        .run(&gpu)
        .unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let row = heads * head_dim;
        let got = downloaded(&gpu, &alone, count * row);
        assert_eq!(bits(&got), bits(&prompt[t * row..(t + count) * row]), "queries {t}..{keys}");
        let got = downloaded(&gpu, &alone_lse, heads * count);
        for h in 0..heads {
            let want = &prompt_lse[h * seq + t..][..count];
            assert_eq!(bits(&got[h * count..(h + 1) * count]), bits(want), "lse of queries {t}..{keys}, head {h}");
        }
    }
}

#[test]
fn what_a_query_does_not_see_may_be_anything() {
    let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
    let (seq, heads, head_dim, clean) = (80, 2, 8, 70);
    let poisoned = |seed: u32| {
        let mut all = values(seq * heads * head_dim, seed);
        all[clean * heads * head_dim..].fill(f32::NAN);
        uploaded(&gpu, &all)
    };
    let (q, k, v) = (uploaded(&gpu, &values(seq * heads * head_dim, 4)), poisoned(5), poisoned(6));
    // A whole prompt, and the last queries alone, the first of which sees no poison.
    for (t, count) in [(0, seq), (clean - 1, 2)] {
        let mut out = gpu.alloc(DType::F32, count * heads * head_dim).unwrap();
        Attention {
            q: q.view([1, seq, heads, head_dim]).unwrap().narrow(1, t, count).unwrap(),
            k: k.view([1, seq, heads, head_dim]).unwrap().narrow(1, 0, t + count).unwrap(),
            v: v.view([1, seq, heads, head_dim]).unwrap().narrow(1, 0, t + count).unwrap(),
            lengths: None,
            mask: Mask::Causal,
            scale: 1.0,
            out: out.view_mut([1, count, heads, head_dim]).unwrap(),
            lse: None,
        }
        .run(&gpu)
        .unwrap();
        let out = downloaded(&gpu, &out, count * heads * head_dim);
        let (seen, unseen) = out.split_at((clean - t) * heads * head_dim);
        assert!(seen.iter().all(|value| value.is_finite()), "{t}");
        assert!(unseen.iter().all(|value| value.is_nan()), "{t}");
    }
}
