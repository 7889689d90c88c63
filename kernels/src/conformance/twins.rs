//! Negative twins: for every rule of every op's `check`, a call that breaks it, the error it must give, and nothing written.
//!
//! Rules about operands are broken generically, one operand of a right case at a time: its dtype, its rank, the size of an output's
//! last dimension, a stride, its device. Rules about parameters and data are in [`parameters`](super::parameters).

use super::Device;
use super::case::{Case, Operands};
use super::cases::Suite;
use super::draw::{Draw, Limits};
use super::guard;
use super::host::Host;
use super::recipe::Recipe;
use crate::{Buffer, DType, DeviceId, Error, Layout, MAX_RANK, Packed, Result, Shape, View, ViewMut};

/// The error a broken call must give: its variant and argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// `Shape` of an argument.
    Shape(&'static str),
    /// `DType` of an argument.
    DType(&'static str),
    /// `Layout` of an argument.
    Layout(&'static str),
    /// `Value` of a parameter.
    Value(&'static str),
    /// `Index` in an argument.
    Index(&'static str),
    /// `Limit`.
    Limit,
    /// `Device` of an argument.
    Device(&'static str),
    /// Any error at all.
    Any,
}

impl Wanted {
    /// Checks what a broken call returned.
    ///
    /// # Errors
    /// What it should have been.
    pub fn check(self, op: &str, breaks: &str, got: Result<()>) -> std::result::Result<(), String> {
        let of_op = |name: &str| name == op;
        let right = match (&got, self) {
            (Err(_), Wanted::Any) => true,
            (Err(Error::Shape { op, arg, .. }), Wanted::Shape(wanted)) => of_op(op) && *arg == wanted,
            (Err(Error::DType { op, arg, .. }), Wanted::DType(wanted)) => of_op(op) && *arg == wanted,
            (Err(Error::Layout { op, arg, .. }), Wanted::Layout(wanted)) => of_op(op) && *arg == wanted,
            (Err(Error::Value { op, arg, .. }), Wanted::Value(wanted)) => of_op(op) && *arg == wanted,
            (Err(Error::Index { op, arg, .. }), Wanted::Index(wanted)) => of_op(op) && *arg == wanted,
            (Err(Error::Device { op, arg, .. }), Wanted::Device(wanted)) => of_op(op) && *arg == wanted,
            (Err(Error::Limit { op, .. }), Wanted::Limit) => of_op(op),
            _ => false,
        };
        match (right, got) {
            (true, _) => Ok(()),
            (false, Ok(())) => Err(format!("{op} with {breaks} ran; want the error {self:?}")),
            (false, Err(error)) => Err(format!("{op} with {breaks} gave `{error}`; want the error {self:?}")),
        }
    }
}

/// Operands that define the shape the others must have, so that one of higher rank is no error of its own.
fn defines_shape(op: &str, arg: &str) -> bool {
    match op {
        "matmul" | "binary" => arg == "a",
        "softmax_backward" => arg == "y",
        "softmax"
        | "layer_norm"
        | "layer_norm_backward"
        | "rms_norm"
        | "rms_norm_backward"
        | "unary"
        | "unary_backward"
        | "axpy"
        | "reduce"
        | "copy"
        | "cast" => arg == "x",
        "sgd" | "adamw" => arg == "param",
        "clip_norm" => arg == "grads",
        "upload" | "download" | "fill" | "random" => true,
        _ => false,
    }
}

/// Ops that take every dtype.
fn takes_all(op: &str) -> bool {
    matches!(op, "upload" | "download" | "copy" | "fill" | "cast")
}

/// How one operand is broken.
#[derive(Clone, Copy, Debug)]
enum Break {
    DType,
    Rank,
    LastSize,
    Overlap,
    LastStride,
    Foreign,
    Forged,
}

const BREAKS: [Break; 7] =
    [Break::DType, Break::Rank, Break::LastSize, Break::Overlap, Break::LastStride, Break::Foreign, Break::Forged];

/// The broken operand and the error it must give; `None` where the rule does not apply.
fn broken(how: Break, op: &str, host: &Host, is_output: bool) -> Option<(Host, Wanted)> {
    let (arg, shape) = (host.arg, *host.layout.shape());
    let rank = shape.rank();
    let fresh = |layout: Layout, dtype| {
        let len = layout.end().ok()?.max(host.len());
        Some(Host::new(arg, dtype, layout, len))
    };
    match how {
        Break::DType if takes_all(op) => None,
        // No op takes U8 where another dtype is right, but those that take all.
        Break::DType => Some((fresh(Layout::contiguous(shape).ok()?, DType::U8)?, Wanted::DType(arg))),
        Break::Rank if rank == MAX_RANK || defines_shape(op, arg) => None,
        Break::Rank => {
            let taller = Shape::new(&[&[1], &shape[..]].concat()).ok()?;
            Some((fresh(Layout::contiguous(taller).ok()?, host.dtype)?, Wanted::Shape(arg)))
        }
        Break::LastSize if !is_output || rank == 0 || (defines_shape(op, arg) && op != "upload") => None,
        Break::LastSize => {
            let longer = shape.with(rank - 1, shape[rank - 1] + 1);
            Some((fresh(Layout::contiguous(longer).ok()?, host.dtype)?, Wanted::Shape(arg)))
        }
        Break::Overlap if !is_output => None,
        Break::Overlap => {
            let axis = (0..rank).find(|&axis| shape[axis] > 1)?;
            let mut strides = Layout::contiguous(shape).ok()?.strides().to_vec();
            // A dense last dimension is another rule.
            if axis + 1 == rank && host.dense {
                return None;
            }
            strides[axis] = 0;
            Some((fresh(Layout::strided(shape, &strides, 0).ok()?, host.dtype)?, Wanted::Layout(arg)))
        }
        Break::LastStride if !host.dense || rank == 0 || shape[rank - 1] < 2 => None,
        Break::LastStride => {
            let strides: Vec<usize> = Layout::contiguous(shape).ok()?.strides().iter().map(|stride| 2 * stride).collect();
            Some((fresh(Layout::strided(shape, &strides, 0).ok()?, host.dtype)?, Wanted::Layout(arg)))
        }
        Break::Foreign => Some((host.clone(), Wanted::Device(arg))),
        // Its id says it is of this device, its memory object does not.
        Break::Forged => Some((host.clone(), Wanted::Any)),
    }
}

/// A right case with no empty dimension and, by its choices, all optional operands.
fn right(suite: &Suite, limits: Limits) -> Case {
    let recipe = Recipe::directed([4, 6, 5, 3, 2], [1, 1, 1, 1]);
    (suite.build)(&mut Draw::new(&recipe, limits))
}

/// Breaks each operand of a suite's case in every way that applies.
///
/// # Errors
/// The first twin that ran, gave another error, or left something written.
pub fn operands(on: &Device, suite: &Suite, limits: Limits) -> std::result::Result<(), String> {
    let case = right(suite, limits);
    let weight = case.weight.as_ref().map(|weight| on.pack(weight)).transpose().map_err(|e| e.to_string())?;
    // What a download brings is compared by uploading it: that output is no operand of the op.
    let count = case.inputs.len() + if suite.op == "download" { 0 } else { case.outputs.len() };
    for at in 0..count {
        for how in BREAKS {
            let (inputs, outputs) = (case.inputs.len(), &case.outputs);
            let host = if at < inputs { &case.inputs[at] } else { &outputs[at - inputs] };
            let Some((host, wanted)) = broken(how, suite.op, host, at >= inputs) else { continue };
            let breaks = format!("a broken `{}` ({how:?})", host.arg);
            let (mut ins, mut outs) = (case.inputs.clone(), case.outputs.clone());
            match at < inputs {
                true => ins[at] = host,
                false => outs[at - inputs] = host,
            }
            let upload = |index: usize, host: &Host| match how {
                Break::Foreign if index == at => Ok(Buffer::new(DeviceId::unique(), host.dtype, host.len(), ())),
                Break::Forged if index == at => Ok(Buffer::new(on.id(), host.dtype, host.len(), ())),
                _ => host.upload(on).map_err(|e| format!("{breaks}: {e}")),
            };
            let in_buffers = ins.iter().enumerate().map(|(i, h)| upload(i, h)).collect::<std::result::Result<Vec<_>, _>>()?;
            let mut out_buffers =
                outs.iter().enumerate().map(|(i, h)| upload(inputs + i, h)).collect::<std::result::Result<Vec<_>, _>>()?;
            let views: Result<Vec<View<'_>>> = in_buffers.iter().zip(&ins).map(|(b, h)| b.view_as(h.layout)).collect();
            let muts: Result<Vec<ViewMut<'_>>> =
                out_buffers.iter_mut().zip(&outs).map(|(b, h)| b.view_mut_as(h.layout)).collect();
            let ran = (|| (case.launch)(on, Operands::new(views?, muts?, weight.as_ref())))();
            wanted.check(suite.op, &breaks, ran)?;
            for (i, (before, buffer)) in outs.iter().zip(&out_buffers).enumerate() {
                let stranger = matches!(how, Break::Foreign | Break::Forged) && inputs + i == at;
                // What a forged operand leads to is found late, when other outputs may be written.
                if !stranger && !matches!(how, Break::Forged) {
                    let after = before.download(on, buffer).map_err(|e| e.to_string())?;
                    guard::untouched(before, &after).map_err(|e| format!("{breaks}: {e}"))?;
                }
            }
        }
    }
    foreign_weight(on, suite, &case)
}

/// A weight packed for another device.
fn foreign_weight(on: &Device, suite: &Suite, case: &Case) -> std::result::Result<(), String> {
    let Some(weight) = &case.weight else { return Ok(()) };
    for (device, wanted) in [(DeviceId::unique(), Wanted::Device("weight")), (on.id(), Wanted::Any)] {
        let packed = Packed::new(device, weight, 0, ());
        let text = |e: Error| e.to_string();
        let inputs: Vec<Buffer> = case.inputs.iter().map(|h| h.upload(on)).collect::<Result<_>>().map_err(text)?;
        let mut outputs: Vec<Buffer> = case.outputs.iter().map(|h| h.upload(on)).collect::<Result<_>>().map_err(text)?;
        let views: Result<Vec<View<'_>>> = inputs.iter().zip(&case.inputs).map(|(b, h)| b.view_as(h.layout)).collect();
        let muts: Result<Vec<ViewMut<'_>>> =
            outputs.iter_mut().zip(&case.outputs).map(|(b, h)| b.view_mut_as(h.layout)).collect();
        let ran = (|| (case.launch)(on, Operands::new(views?, muts?, Some(&packed))))();
        wanted.check(suite.op, "a weight packed elsewhere", ran)?;
    }
    Ok(())
}
