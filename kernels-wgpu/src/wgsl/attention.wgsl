// What the kernels of attention share. The heads of a group are rows of one problem: query t of head h is row t · group + h mod
// group of its group, so that keys and values are read once for all of them.

// First element, and strides of batch, position and head.
struct Place {
    first: u32,
    batch: u32,
    row: u32,
    head: u32,
}

struct Params {
    q: Place,
    k: Place,
    v: Place,
    out: Place,
    lse: Place,
    dout: Place,
    dq: Place,
    dk: Place,
    dv: Place,
    batch: u32,
    seq_q: u32,
    seq_k: u32,
    kv_heads: u32,
    group: u32, // heads of a group
    rows: u32, // seq_q · group
    head_dim: u32,
    slices: u32, // of columns, a workgroup each
    blocks: u32, // of keys, where a workgroup computes one each
    causal: u32,
    lengths_first: u32,
    lengths_step: u32,
    with_lengths: u32,
    with_lse: u32,
    scale: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Keys whose weights and sums are computed by themselves and joined in order, whatever the kernel.
const BLOCK = 64u;

// The problem a workgroup works on.
var<private> batch: u32;
var<private> kv_head: u32;

fn query_at(place: Place, row: u32) -> u32 {
    let h = kv_head * params.group + row % params.group;
    return place.first + batch * place.batch + row / params.group * place.row + h * place.head;
}

fn key_at(place: Place, key: u32) -> u32 {
    return place.first + batch * place.batch + key * place.row + kv_head * place.head;
}

// Place of a row in `lse` [B, H, Tq].
fn query_lse(row: u32) -> u32 { return query_at(params.lse, row); }

// Keys of this batch entry that are not masked by its length.
fn valid_keys() -> u32 {
    if (params.with_lengths == 0u) { return params.seq_k; }
    return min(params.seq_k, lengths[params.lengths_first + batch * params.lengths_step]);
}

// Leading keys that a row sees.
fn visible_keys(row: u32) -> u32 {
    var visible = valid_keys();
    if (params.causal != 0u) {
        let past = row / params.group + 1u + params.seq_k;
        visible = min(visible, past - min(past, params.seq_q));
    }
    return visible;
}

// Where the results of a row over one block of keys lie: greatest score, sum of weights, sums over values.
fn parts_at(row: u32, block: u32) -> u32 {
    let rows = (batch * params.kv_heads + kv_head) * params.rows + row;
    return (rows * params.blocks + block) * (2u + params.head_dim);
}

// Place of a row in the statistics of the backward passes [B, KvH, rows].
fn stats_at(row: u32) -> u32 { return (batch * params.kv_heads + kv_head) * params.rows + row; }

// The greater, and `a` where either is NaN: it comes back through its weight.
fn greater(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> { return select(a, b, b > a); }

// Where every score is −∞ weights are 0, not e^(−∞ + ∞).
fn shift_of_scores(greatest: vec4<f32>) -> vec4<f32> {
    return select(greatest, vec4(0.0), greatest == vec4(-infinity()));
}

// `exp_of`, of four that are not above 0.
fn fading_of(x: vec4<f32>) -> vec4<f32> {
    let y = max(x, vec4(-87.33654));
    let n = round(y * LOG2_E);
    let r = (y - n * LN_2_HIGH) - n * LN_2_LOW;
    var q = vec4(0.00019790245);
    q = fma(q, r, vec4(0.0013944758));
    q = fma(q, r, vec4(0.008333498));
    q = fma(q, r, vec4(0.041666295));
    q = fma(q, r, vec4(0.16666666));
    q = fma(q, r, vec4(0.5));
    let p = fma(r * r, q, r) + 1.0;
    let power = bitcast<vec4<f32>>((vec4<i32>(n) + 127) << vec4(23u));
    let number = select(p * power, vec4(0.0), x < vec4(-87.33654));
    return select(number, x, (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u));
}

// Running softmax of four rows: greatest score, and sum of weights relative to it.
struct Softmax {
    greatest: vec4<f32>,
    total: vec4<f32>,
}

// Factors of the sums so far and of those of the next block.
struct Join {
    fade: vec4<f32>,
    rise: vec4<f32>,
}

// Joins a block to the blocks before it.
fn join_block(before: ptr<function, Softmax>, block: Softmax) -> Join {
    let greatest = greater((*before).greatest, block.greatest);
    let shift = shift_of_scores(greatest);
    let fade = fading_of((*before).greatest - shift);
    let rise = fading_of(block.greatest - shift);
    *before = Softmax(greatest, fma((*before).total, fade, block.total * rise));
    return Join(fade, rise);
}

// Sums over values, divided by the sum of weights.
fn normalized(sum: f32, total: f32) -> f32 { return select(sum / total, 0.0, total == 0.0); }

fn log_sum_exp(greatest: f32, total: f32) -> f32 { return select(greatest + ln_of(total), -infinity(), total == 0.0); }
