//! Cases of [`Upload`], [`Download`], [`Copy`], [`Fill`] and [`Cast`]: everything to the bit.

use super::{Suite, shape};
use crate::conformance::bounds::Want;
use crate::conformance::case::{Case, Expect};
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::host::{round_to, typed};
use crate::ops::{Cast, Copy, Download, Fill, Upload};
use crate::{DType, Op};
use half::{bf16, f16};

pub(super) fn suites() -> Vec<Suite> {
    let mut suites = Vec::new();
    for dtype in DType::ALL {
        suites.push(Suite::new(Upload::NAME, dtype, 256 / 7 + 1, move |draw| upload(draw, dtype)));
        suites.push(Suite::new(Download::NAME, dtype, 256 / 7 + 1, move |draw| download(draw, dtype)));
        suites.push(Suite::new(Copy::NAME, dtype, 256 / 7 + 1, move |draw| copy(draw, dtype)));
        suites.push(Suite::new(Fill::NAME, dtype, 256 / 7 + 1, move |draw| fill(draw, dtype)));
        suites.push(Suite::new(Cast::NAME, dtype, 256 / 7 + 1, move |draw| cast(draw, dtype)));
    }
    suites
}

fn upload(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let mut data = draw.input("data", dtype, shape, Strides::Any);
    let out = draw.output("out", dtype, shape, Strides::Any);
    data = data.contiguous();
    let wanted = data.clone();
    let mut case = Case::new(
        vec![],
        vec![out],
        vec![],
        move |on, mut with| typed!(dtype, T => Upload::new(data.elements::<T>(), with.output()).run(on)),
    );
    case.expect = vec![Expect::Bits(wanted)];
    case
}

fn download(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let x = draw.input("x", dtype, shape, Strides::Any);
    // What came down goes up again, so that it is compared like any output.
    let out = draw.output("out", dtype, shape, Strides::Any);
    let (wanted, host) = (x.clone(), x.contiguous());
    let mut case = Case::new(vec![x], vec![out], vec![], move |on, mut with| {
        let mut host = host.clone();
        typed!(dtype, T => {
            host.elements_mut::<T>().fill(bytemuck::Zeroable::zeroed());
            Download::new(with.input(), host.elements_mut::<T>()).run(on)?;
            Upload::new(host.elements::<T>(), with.output()).run(on)
        })
    });
    case.expect = vec![Expect::Bits(wanted)];
    case
}

fn copy(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let x = draw.input("x", dtype, shape, Strides::Any);
    let out = draw.output("out", dtype, shape, Strides::Any);
    let wanted = x.clone();
    let mut case = Case::new(vec![x], vec![out], vec![], |on, mut with| Copy { x: with.input(), out: with.output() }.run(on));
    case.expect = vec![Expect::Bits(wanted)];
    case
}

fn fill(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let value = draw.among(&[0.0, 1.5, -2.7, f64::NAN, f64::INFINITY, 300.0, -1e20, 0.1]);
    let out = draw.output("out", dtype, shape, Strides::Any);
    let wants = vec![Want::exactly(round_to(dtype, value)); out.layout.numel()];
    let mut case = Case::new(vec![], vec![out], vec![wants], move |on, mut with| Fill { value, out: with.output() }.run(on));
    case.plain = true;
    case
}

fn cast(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let to = if dtype.is_float() { draw.among(&DType::FLOATS) } else { DType::F32 };
    let x = draw.input("x", dtype, shape, Strides::Any);
    let out = draw.output("out", to, shape, Strides::Any);
    // Devices that flush subnormals may do so here, too.
    let model = draw.model();
    let want = |value: f64| match value.abs() < f64::from(f32::MIN_POSITIVE) {
        true => Want { value, bound: model.flushed() },
        false => Want::exactly(value),
    };
    let wants = x.values().into_iter().map(want).collect();
    Case::new(vec![x], vec![out], vec![wants], |on, mut with| Cast { x: with.input(), out: with.output() }.run(on))
}
