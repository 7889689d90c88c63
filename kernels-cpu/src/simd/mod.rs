//! Instruction sets.

/// An instruction set kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
}

impl Isa {
    /// The widest this processor has.
    pub fn detect() -> Self {
        Isa::Scalar
    }
    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        self == Isa::Scalar
    }
    /// As in `SIZEWISE_ISA`.
    pub fn name(self) -> &'static str {
        "scalar"
    }
    /// The reverse of [`Isa::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        (name == "scalar").then_some(Isa::Scalar)
    }
}
