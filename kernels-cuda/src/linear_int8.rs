//! Fully connected layer in integers of 8 bits.

use crate::lattice::count;
use crate::linear::{FEW_ROWS, Layer, activation, rows_of};
use crate::params::CodedParams;
use crate::queue::Dispatch;
use crate::source::{Source, source};
use crate::weight::{Form, PackedWeight};
use crate::{CudaBackend, NAME};
use kernels::ops::LinearInt8;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("linear_int8");

/// Name of a kernel, by the number of a form.
fn kernel(form: u32, few: bool) -> &'static str {
    macro_rules! of_form {
        ($form:literal) => {
            if few { concat!("int8_few_", $form) } else { concat!("int8_many_", $form) }
        };
    }
    match form {
        1 => of_form!("int8"),
        2 => of_form!("int4"),
        3 => of_form!("q8_0"),
        4 => of_form!("q4_0"),
        5 => of_form!("q4_k"),
        6 => of_form!("q5_k"),
        _ => of_form!("q6_k"),
    }
}

impl Launch<LinearInt8<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::I8 => Support::Native,
            _ => Support::No("the rows are i8, from quantize"),
        }
    }

    fn launch(&self, args: Checked<LinearInt8<'_>>) -> Result<()> {
        const OP: &str = LinearInt8::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let packed = args.weight.storage::<PackedWeight>().ok_or(Error::Device { op: OP, arg: "weight", backend: NAME })?;
        let Form::Coded { form, group_size, groups, sections } = packed.form else {
            let got = args.weight.format().to_owned();
            return Err(Error::Value { op: OP, arg: "weight", wanted: "of integer codes", got });
        };
        let (bias, bias_step) = self.bias(OP, args.bias.as_ref())?;
        let layer = Layer {
            dtype: DType::I8,
            rows: count(OP, "M", out.shape()[0])?,
            columns: count(OP, "N", out.shape()[1])?,
            k: count(OP, "K", args.x.shape()[1])?,
            x: rows_of(&args.x, self.operand(OP, "x", &args.x)?),
            out: rows_of(&out, self.operand(OP, "out", &out)?),
            bias,
            bias_step,
            activation: activation(args.act),
        };
        let params = layer.coded((form, group_size, groups), sections);
        let is_free = form <= 2 && groups > 1;
        let params = CodedParams {
            x_scale: self.operand(OP, "x_scale", &args.x_scale)?,
            x_scale_step: args.x_scale.layout().strides()[0] as u64,
            // Parts end where groups do.
            part: if is_free { params.part.next_multiple_of(group_size) } else { params.part },
            ..params
        };
        let (rows, columns) = (u64::from(layer.rows), u64::from(layer.columns));
        let (kernel, blocks) = if is_free && !group_size.is_multiple_of(32) {
            ("linear_int8_any", columns.div_ceil(256) * rows)
        } else if layer.rows <= FEW_ROWS {
            (kernel(form, true), columns.div_ceil(16))
        } else {
            (kernel(form, false), columns.div_ceil(128) * rows.div_ceil(64))
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel,
            threads: 256,
            blocks,
            params: bytemuck::bytes_of(&params),
        })
    }
}
