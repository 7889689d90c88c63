//! One call of one op: operands, how it is launched, what must come out.

use super::Device;
use super::bounds::Want;
use super::host::Host;
use crate::{Packed, Result, View, ViewMut, Weight};

/// Operands on the device, in the order the case lists them.
pub struct Operands<'a> {
    inputs: std::vec::IntoIter<View<'a>>,
    outputs: std::vec::IntoIter<ViewMut<'a>>,
    /// The packed weight, of cases that have one.
    pub weight: Option<&'a Packed>,
}

impl<'a> Operands<'a> {
    pub(super) fn new(inputs: Vec<View<'a>>, outputs: Vec<ViewMut<'a>>, weight: Option<&'a Packed>) -> Self {
        Operands { inputs: inputs.into_iter(), outputs: outputs.into_iter(), weight }
    }

    /// The next input.
    ///
    /// # Panics
    /// If the case lists fewer.
    pub fn input(&mut self) -> View<'a> {
        self.inputs.next().expect("a case lists the inputs it launches with")
    }

    /// The next output.
    ///
    /// # Panics
    /// If the case lists fewer.
    pub fn output(&mut self) -> ViewMut<'a> {
        self.outputs.next().expect("a case lists the outputs it launches with")
    }

    /// The outputs left.
    pub fn outputs(self) -> std::vec::IntoIter<ViewMut<'a>> {
        self.outputs
    }

    /// The packed weight.
    ///
    /// # Panics
    /// If the case has none.
    pub fn packed(&self) -> &'a Packed {
        self.weight.expect("a case has the weight it launches with")
    }
}

/// Runs the op on operands.
pub type Launch = Box<dyn for<'a> Fn(&'a Device, Operands<'a>) -> Result<()>>;

/// How elements are compared.
pub enum Expect {
    /// Each within its bound.
    Values(Vec<Want>),
    /// The same bits.
    Bits(Host),
}

/// One call of one op.
pub struct Case {
    /// Read operands.
    pub inputs: Vec<Host>,
    /// Written operands as they are before.
    pub outputs: Vec<Host>,
    /// A weight to pack.
    pub weight: Option<Weight>,
    /// The call.
    pub launch: Launch,
    /// What each output must hold after it.
    pub expect: Vec<Expect>,
    /// Whether many zeros or one value everywhere are what the inputs ask for.
    pub plain: bool,
    /// Operands whose first dimension counts independent rows: each must come out the same alone as among others.
    pub rows: &'static [&'static str],
}

impl Case {
    /// A case without weight.
    pub fn new(
        inputs: Vec<Host>,
        outputs: Vec<Host>,
        expect: Vec<Vec<Want>>,
        launch: impl for<'a> Fn(&'a Device, Operands<'a>) -> Result<()> + 'static,
    ) -> Self {
        let expect = expect.into_iter().map(Expect::Values).collect();
        Case { inputs, outputs, weight: None, launch: Box::new(launch), expect, plain: false, rows: &[] }
    }
}
