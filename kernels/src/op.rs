//! The front door: an op is a struct of named arguments, validated once, and handed to a backend as a proof.

use crate::{Backend, DType, DeviceId, Error, Packed, Result, View, ViewMut, WeightRef};
use std::ops::{Deref, DerefMut};

/// Arguments that have passed [`Op::check`], belong to the backend's device and are of a supported dtype.
///
/// Only [`Op::run`] makes one, so a kernel may rely on it without checking again:
///
/// ```compile_fail,E0423
/// # use kernels::{Checked, View, ViewMut, ops::Copy};
/// fn forge<'a>(x: View<'a>, out: ViewMut<'a>) -> Checked<Copy<'a>> {
///     Checked(Copy { x, out })
/// }
/// ```
pub struct Checked<O>(O);

impl<O> Checked<O> {
    /// The arguments, by value.
    pub fn into_inner(self) -> O {
        self.0
    }
}

impl<O> Deref for Checked<O> {
    type Target = O;
    fn deref(&self) -> &O {
        &self.0
    }
}

impl<O> DerefMut for Checked<O> {
    fn deref_mut(&mut self) -> &mut O {
        &mut self.0
    }
}

/// How a backend runs an op on a dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// By a kernel of its own.
    Native,
    /// By a declared sequence of other ops.
    Composed,
    /// Not at all; the text says why.
    No(&'static str),
}

/// Work an op does, for benchmarks and rooflines. Data-independent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Arithmetic operations; a fused multiply-add counts two.
    pub flop: u64,
    /// Bytes that must be read and written at least once.
    pub bytes: u64,
}

/// An operation of the contract.
pub trait Op: Sized {
    /// Snake-case name: also of its file, tests, benches and shaders.
    const NAME: &'static str;

    /// Checks shapes, dtypes, strides and parameters. Pure: looks at no data.
    ///
    /// # Errors
    /// The first rule that does not hold.
    fn check(&self) -> Result<()>;

    /// Work and traffic. Meaningful only for arguments that pass [`Op::check`].
    fn cost(&self) -> Cost;

    /// The dtype the support table is looked up by.
    fn dtype(&self) -> DType;

    /// Shows `see` the name and device of each operand; `None` for an optional operand left out.
    fn operands(&self, see: &mut dyn FnMut(&'static str, Option<DeviceId>));

    /// Validates the arguments and queues the op on a backend.
    ///
    /// # Errors
    /// Those of [`Op::check`]; `Device` if an operand lives elsewhere; `Unsupported` by the support table; what the kernel reports.
    fn run(self, on: &(dyn Backend + 'static)) -> Result<()>
    where
        dyn Backend: Launch<Self>,
    {
        self.check()?;
        let id = on.id();
        let mut stranger = None;
        self.operands(&mut |arg, device| {
            if device.is_some_and(|device| device != id) {
                stranger.get_or_insert(arg);
            }
        });
        if let Some(arg) = stranger {
            return Err(Error::Device { op: Self::NAME, arg, backend: on.name() });
        }
        let dtype = self.dtype();
        if let Support::No(reason) = Launch::<Self>::support(on, dtype) {
            return Err(Error::Unsupported { op: Self::NAME, dtype, backend: on.name(), reason });
        }
        Launch::launch(on, Checked(self))
    }
}

/// One backend's implementation of one op.
pub trait Launch<O: Op> {
    /// Support by dtype alone, never by shape.
    fn support(&self, dtype: DType) -> Support;

    /// Queues the op. Returns once queued on asynchronous devices.
    ///
    /// # Errors
    /// What only the data or the device can tell.
    fn launch(&self, args: Checked<O>) -> Result<()>;
}

/// Anything that may be an operand of an op.
pub(crate) trait OnDevice {
    fn device(&self) -> Option<DeviceId>;
}
impl OnDevice for View<'_> {
    fn device(&self) -> Option<DeviceId> {
        Some(View::device(self))
    }
}
impl OnDevice for ViewMut<'_> {
    fn device(&self) -> Option<DeviceId> {
        Some(ViewMut::device(self))
    }
}
impl OnDevice for &Packed {
    fn device(&self) -> Option<DeviceId> {
        Some(Packed::device(self))
    }
}
impl OnDevice for WeightRef<'_> {
    fn device(&self) -> Option<DeviceId> {
        match self {
            WeightRef::Dense(view) => Some(view.device()),
            WeightRef::Packed(packed) => Some(Packed::device(packed)),
        }
    }
}
impl<T: OnDevice> OnDevice for Option<T> {
    fn device(&self) -> Option<DeviceId> {
        self.as_ref().and_then(OnDevice::device)
    }
}

/// Implements [`Op::operands`] from the names of the fields that hold operands.
macro_rules! operands {
    ($($field:ident),+) => {
        fn operands(&self, see: &mut dyn FnMut(&'static str, Option<$crate::DeviceId>)) {
            $(see(stringify!($field), $crate::op::OnDevice::device(&self.$field));)+
        }
    };
}
pub(crate) use operands;
