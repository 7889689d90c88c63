//! Runs cases: draws, launches, compares, shrinks, counts.

use super::bounds::Want;
use super::case::{Case, Expect, Operands};
use super::cases::Suite;
use super::draw::{Draw, Limits};
use super::guard;
use super::host::{Host, round_to};
use super::recipe::Recipe;
use super::{Device, Filter};
use crate::{Buffer, Error, Packed, Support, View, ViewMut, support_table};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;

/// What one suite came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Generated and directed cases that ran and are trusted.
    pub cases: u32,
    /// Of these, cases whose (first) output must be right to the bit.
    pub exact: u32,
    /// Cases that ran right but prove little (mostly zeros, or constant), and do not count.
    pub mistrusted: u32,
    /// Largest share of the error bound used by any element.
    pub error_budget_used: f64,
}

/// How one case ended.
enum Verdict {
    Right { exact: bool, used: f64 },
    Mistrusted,
}

/// Operands of a case on a device.
struct Placed {
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

impl Placed {
    fn upload(inputs: &[Host], outputs: &[Host], on: &Device) -> crate::Result<Self> {
        let upload = |hosts: &[Host]| hosts.iter().map(|host| host.upload(on)).collect::<crate::Result<Vec<_>>>();
        Ok(Placed { inputs: upload(inputs)?, outputs: upload(outputs)? })
    }

    fn launch(
        &mut self,
        case: &Case,
        inputs: &[Host],
        outputs: &[Host],
        on: &Device,
        weight: Option<&Packed>,
    ) -> crate::Result<()> {
        let inputs: crate::Result<Vec<View<'_>>> =
            self.inputs.iter().zip(inputs).map(|(buffer, host)| buffer.view_as(host.layout)).collect();
        let outputs: crate::Result<Vec<ViewMut<'_>>> =
            self.outputs.iter_mut().zip(outputs).map(|(buffer, host)| buffer.view_mut_as(host.layout)).collect();
        (case.launch)(on, Operands::new(inputs?, outputs?, weight))
    }

    fn download(&self, outputs: &[Host], on: &Device) -> crate::Result<Vec<Host>> {
        outputs.iter().zip(&self.outputs).map(|(host, buffer)| host.download(on, buffer)).collect()
    }
}

fn said(error: Error) -> String {
    format!("returned an error: {error}")
}

/// Runs a case once and gives back its outputs.
pub(super) fn outputs(case: &Case, on: &Device) -> Result<Vec<Host>, String> {
    let weight = case.weight.as_ref().map(|weight| on.pack(weight)).transpose().map_err(said)?;
    let mut placed = Placed::upload(&case.inputs, &case.outputs, on).map_err(said)?;
    placed.launch(case, &case.inputs, &case.outputs, on, weight.as_ref()).map_err(said)?;
    placed.download(&case.outputs, on).map_err(said)
}

/// Runs a case and then `repeats` times more, on fresh operands, and checks everything that must hold.
fn check(case: &Case, on: &Device, repeats: u32) -> Result<Verdict, String> {
    let weight = case.weight.as_ref().map(|weight| on.pack(weight)).transpose().map_err(said)?;
    let mut placed = Placed::upload(&case.inputs, &case.outputs, on).map_err(said)?;
    placed.launch(case, &case.inputs, &case.outputs, on, weight.as_ref()).map_err(said)?;
    let after = placed.download(&case.outputs, on).map_err(said)?;
    let mut used = 0f64;
    for ((before, after), expect) in case.outputs.iter().zip(&after).zip(&case.expect) {
        guard::untouched_outside(before, after)?;
        match expect {
            Expect::Bits(wanted) => compare_bits(wanted, after)?,
            Expect::Values(wants) => {
                used = used.max(compare(wants, after)?);
            }
        }
    }
    for (before, buffer) in case.inputs.iter().zip(&placed.inputs) {
        guard::untouched(before, &before.download(on, buffer).map_err(said)?)?;
    }
    for _ in 0..repeats {
        let mut again = Placed::upload(&case.inputs, &case.outputs, on).map_err(said)?;
        again.launch(case, &case.inputs, &case.outputs, on, weight.as_ref()).map_err(said)?;
        for (first, second) in after.iter().zip(&again.download(&case.outputs, on).map_err(said)?) {
            if first.bytes() != second.bytes() {
                return Err(format!("`{}` differs between two runs of the same call", first.arg));
            }
        }
    }
    let exact = match case.expect.first() {
        Some(Expect::Values(wants)) => wants.iter().all(|want| want.bound == 0.0),
        _ => true,
    };
    rows_alone(case, on, weight.as_ref(), &after)?;
    let trusted = case.plain || case.expect.iter().zip(&case.outputs).all(|(expect, host)| proves(expect, host));
    Ok(if trusted { Verdict::Right { exact, used } } else { Verdict::Mistrusted })
}

/// Batch invariance: one row alone gives the bits it has among the others.
fn rows_alone(case: &Case, on: &Device, weight: Option<&Packed>, together: &[Host]) -> Result<(), String> {
    let batched = |host: &Host| case.rows.contains(&host.arg);
    let first = case.inputs.iter().find(|host| batched(host)).and_then(|host| host.layout.shape().first().copied());
    let Some(count) = first.filter(|&count| count > 1) else { return Ok(()) };
    for row in [0, count - 1] {
        let alone = |hosts: &[Host]| -> crate::Result<Vec<Host>> {
            let one = |host: &Host| match batched(host) {
                true => Ok(host.with_layout(host.layout.narrow(0, row, 1)?)),
                false => Ok(host.clone()),
            };
            hosts.iter().map(one).collect()
        };
        let (inputs, outputs) = (alone(&case.inputs).map_err(said)?, alone(&case.outputs).map_err(said)?);
        let mut placed = Placed::upload(&inputs, &outputs, on).map_err(said)?;
        placed.launch(case, &inputs, &outputs, on, weight).map_err(said)?;
        for (alone, together) in placed.download(&outputs, on).map_err(said)?.iter().zip(together) {
            if batched(alone) && alone.layout.indices().any(|at| alone.bits(at) != together.bits(at)) {
                return Err(format!("`{}`: row {row} alone differs from row {row} of {count}", alone.arg));
            }
        }
    }
    Ok(())
}

/// The zero-trust rule: an output of which more than 30 % is zero, or which is constant, proves little.
fn proves(expect: &Expect, host: &Host) -> bool {
    let values: Vec<f64> = match expect {
        Expect::Bits(_) => return true,
        Expect::Values(wants) => wants.iter().map(|want| round_to(host.dtype, want.value)).collect(),
    };
    let zeros = values.iter().filter(|&&v| v == 0.0).count();
    let constant = values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
    values.len() < 8 || (10 * zeros <= 3 * values.len() && !constant)
}

fn compare(wants: &[Want], after: &Host) -> Result<f64, String> {
    let values = after.values();
    if values.len() != wants.len() {
        return Err(format!("the case expects {} elements of `{}`, not {}", wants.len(), after.arg, values.len()));
    }
    let mut used = 0f64;
    for (at, (want, &got)) in wants.iter().zip(&values).enumerate() {
        let shape = after.layout.shape();
        used = used.max(want.accept(after.dtype, got).map_err(|e| format!("`{}` {shape}, element {at}: {e}", after.arg))?);
    }
    Ok(used)
}

fn compare_bits(wanted: &Host, after: &Host) -> Result<(), String> {
    for (at, (from, to)) in wanted.layout.indices().zip(after.layout.indices()).enumerate() {
        let (want, got) = (wanted.bits(from), after.bits(to));
        if want != got {
            return Err(format!("`{}`, element {at}: want the bytes {want:02x?}, got {got:02x?}", after.arg));
        }
    }
    Ok(())
}

/// How `on` runs the op of a suite.
pub(super) fn support(on: &Device, suite: &Suite) -> Support {
    let rows = support_table(on);
    rows.iter()
        .find(|row| row.op == suite.op && row.dtype == suite.dtype)
        .map_or(Support::No("not in the table"), |row| row.support)
}

/// Whether the backend declines the weight format of a suite, as `pack` may.
pub(super) fn declines(on: &Device, suite: &Suite, limits: Limits) -> bool {
    let recipe = Recipe::directed([3, 8, 8, 1, 1], [0; 4]);
    let case = (suite.build)(&mut Draw::new(&recipe, limits));
    case.weight.is_some_and(|weight| matches!(on.pack(&weight), Err(Error::Unsupported { .. })))
}

/// An unsupported op must say so, and write nothing.
pub(super) fn refuses(on: &Device, suite: &Suite, limits: Limits) -> Result<(), String> {
    let recipe = Recipe::directed([3, 8, 8, 1, 1], [0; 4]);
    let case = (suite.build)(&mut Draw::new(&recipe, limits));
    let weight = match case.weight.as_ref().map(|weight| on.pack(weight)).transpose() {
        Err(Error::Unsupported { .. }) => return Ok(()),
        weight => weight.map_err(said)?,
    };
    let mut placed = match Placed::upload(&case.inputs, &case.outputs, on) {
        // Not even its memory is supported.
        Err(Error::Unsupported { .. }) => return Ok(()),
        placed => placed.map_err(said)?,
    };
    match placed.launch(&case, &case.inputs, &case.outputs, on, weight.as_ref()) {
        Err(Error::Unsupported { op, .. }) if op == suite.op => {}
        Err(other) => return Err(format!("the support table says No, but the error is: {other}")),
        Ok(()) => return Err("the support table says No, but the op ran".into()),
    }
    let after = placed.download(&case.outputs, on).map_err(said)?;
    case.outputs.iter().zip(&after).try_for_each(|(before, after)| guard::untouched(before, after))
}

fn failure(suite: &Suite, recipe: &Recipe, why: &str) -> String {
    let name = suite.name();
    format!("{name}: {why}\n  replay: SIZEWISE_REPLAY='{name} {recipe}'")
}

/// Draws cases: the same for the same suite and seed.
fn generator(suite: &Suite, cases: u32, seed: u64) -> TestRunner {
    let rejects = 20 * cases + 100;
    let config = Config {
        cases,
        failure_persistence: None,
        max_global_rejects: rejects,
        max_local_rejects: rejects,
        max_shrink_iters: 4096,
        ..Config::default()
    };
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    for (i, byte) in suite.name().bytes().enumerate() {
        key[8 + i % 24] = key[8 + i % 24].wrapping_mul(31).wrapping_add(byte);
    }
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &key))
}

/// Runs regressions, directed and generated cases of a suite.
///
/// # Errors
/// The smallest failing case, as text that replays it.
pub(super) fn run(on: &Device, suite: &Suite, filter: &Filter, known: &[Recipe]) -> Result<Tally, String> {
    let (limits, seed) = (filter.limits(), filter.seed);
    let cases = (f64::from(suite.cases) * filter.scale).ceil() as u32;
    let tally = RefCell::new(Tally::default());
    let try_one = |recipe: &Recipe| -> Result<Verdict, String> {
        let case = (suite.build)(&mut Draw::new(recipe, limits));
        let verdict = check(&case, on, filter.repeats)?;
        let mut tally = tally.borrow_mut();
        match verdict {
            Verdict::Right { exact, used } => {
                tally.cases += 1;
                tally.exact += u32::from(exact);
                tally.error_budget_used = tally.error_budget_used.max(used);
            }
            Verdict::Mistrusted => tally.mistrusted += 1,
        }
        Ok(verdict)
    };
    let failed = |recipe: &Recipe, why: &str| failure(suite, recipe, why);
    for recipe in known.iter().chain(&suite.directed) {
        try_one(recipe).map_err(|why| failed(recipe, &why))?;
    }
    if cases == 0 {
        return Ok(tally.into_inner());
    }
    let outcome = generator(suite, cases, seed).run(&Recipe::strategy(), |recipe| match try_one(&recipe) {
        Ok(Verdict::Right { .. }) => Ok(()),
        Ok(Verdict::Mistrusted) => Err(TestCaseError::reject("proves little")),
        Err(why) => Err(TestCaseError::fail(why)),
    });
    match outcome {
        Ok(()) => Ok(tally.into_inner()),
        Err(TestError::Fail(why, recipe)) => Err(failed(&recipe, why.message())),
        Err(TestError::Abort(why)) => Err(format!("{}: {}", suite.name(), why.message())),
    }
}

/// Runs generated cases on two backends and compares all bytes of their outputs.
pub(super) fn same_bits(a: &Device, b: &Device, suite: &Suite, limits: Limits, cases: u32, seed: u64) -> Result<(), String> {
    let outcome = generator(suite, cases, seed).run(&Recipe::strategy(), |recipe| {
        let case = (suite.build)(&mut Draw::new(&recipe, limits));
        let (on_a, on_b) = (outputs(&case, a).map_err(TestCaseError::fail)?, outputs(&case, b).map_err(TestCaseError::fail)?);
        match on_a.iter().zip(&on_b).find(|(a, b)| a.bytes() != b.bytes()) {
            None => Ok(()),
            Some((differs, _)) => Err(TestCaseError::fail(format!("`{}` differs between the two backends", differs.arg))),
        }
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, recipe)) => Err(failure(suite, &recipe, why.message())),
        Err(TestError::Abort(why)) => Err(format!("{}: {}", suite.name(), why.message())),
    }
}
