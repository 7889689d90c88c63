// The loop of optimizers over the elements of f32 parameters. The op's own piece defines `update(i)`.

fn each_update(index: u32, lane: u32) {
    for (var k = 0u; k < 4u; k++) {
        let i = index * 256u + k * 64u + lane;
        if (i < params.lattices[0].count) { update(i); }
    }
}

// −1, 0 or 1; NaN stays NaN.
fn sign_of(x: f32) -> f32 { return select(select(x, 1.0, x > 0.0), -1.0, x < 0.0); }
