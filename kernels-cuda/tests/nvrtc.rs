//! Every kernel compiled for the architectures that matter, without a GPU, and what the compiler says of it.
//!
//! Takes NVRTC, which `cargo xtask test` fetches; without it one test fails and says how to get it.

use kernels_cuda::compile::{KernelUse, Target, compile, ensure_present, source_names, targets_of};
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::Command;

/// What the machine code of a source must hold, as far as its comments claim tensor cores and what feeds them.
const CLAIMS: &[(&str, &[&str])] = &[
    ("attention", &["HMMA.16816.F32.BF16", "HMMA.16816.F32 ", "LDSM"]),
    ("attention_backward", &["HMMA.16816.F32.BF16", "HMMA.16816.F32 ", "LDSM"]),
    ("hopper", &["HGMMA.64x256x16.F32.BF16", "HGMMA.64x256x16.F32 ", "HGMMA.64x128x16", "IGMMA.64x256x32.S8.S8", "UTMALDG.2D"]),
    ("linear", &["HMMA.16816.F32.BF16", "HMMA.16816.F32 ", "LDSM", "LDGSTS"]),
    ("linear_coded", &["HMMA.16816.F32.BF16", "HMMA.16816.F32 "]),
    ("linear_int8", &["IMMA.16832.S8.S8"]),
    ("linear_two_of_four", &["HMMA.SP.16832.F32.BF16", "HMMA.SP.16832.F32 ", "LDSM", "LDGSTS"]),
    ("matmul", &["HMMA.16816.F32.BF16", "HMMA.16816.F32 ", "IMMA.16832.S8.S8", "LDSM", "LDGSTS"]),
];

/// Kernels whose threads may move some bytes to memory: with heads of up to 256, 128 registers hold the sums of a row's part alone.
const SPILLING: [(&str, u32); 2] = [("attention_256_bf16", 288), ("attention_256_f16", 288)];

/// Whether a kernel moves more between registers and memory than it may.
fn spills(kernel: &KernelUse) -> bool {
    let allowed = SPILLING.iter().find(|(name, _)| *name == kernel.kernel).map_or(0, |&(_, bytes)| bytes);
    kernel.spill_bytes > allowed || kernel.stack_bytes > allowed
}

/// The claims of a source that its machine code does not keep, by NVIDIA's disassembler.
fn broken_claims(source: &str, cubin: &[u8]) -> Result<Vec<&'static str>, Failed> {
    let Some((_, claims)) = CLAIMS.iter().find(|(of, _)| *of == source) else { return Ok(Vec::new()) };
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), cubin)?;
    let output = Command::new("nvdisasm").arg(file.path()).output();
    let output = output.map_err(|error| format!("nvdisasm: {error}; `cargo xtask test` fetches it"))?;
    if !output.status.success() {
        return Err(format!("nvdisasm: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let code = String::from_utf8_lossy(&output.stdout);
    Ok(claims.iter().copied().filter(|claim| !code.contains(claim)).collect())
}

/// One source for one target: it compiles, no kernel moves registers to memory, and the instructions claimed are there.
fn check(source: &str, target: Target) -> Result<(), Failed> {
    let compiled = compile(source, None, target)?;
    if !compiled.cubin.starts_with(b"\x7fELF") {
        return Err("no machine code".into());
    }
    if compiled.kernels.is_empty() {
        return Err("no kernel, or a log that cannot be read".into());
    }
    match compiled.kernels.iter().find(|kernel| spills(kernel)) {
        Some(kernel) => Err(format!("{kernel:?}: what a thread computes with must stay in registers").into()),
        None => match broken_claims(source, &compiled.cubin)?.as_slice() {
            [] => Ok(()),
            missing => Err(format!("the machine code has no {missing:?}").into()),
        },
    }
}

/// What a section of an ELF file holds: machine code of a kernel is `.text.` and its name.
fn section<'a>(elf: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let number = |at: usize, size: usize| {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    };
    let (table, size, count, names) = (number(0x28, 8)?, number(0x3A, 2)?, number(0x3C, 2)?, number(0x3E, 2)?);
    let names = number(table + size * names + 0x18, 8)?;
    (0..count).map(|i| table + size * i).find_map(|header| {
        let name = elf.get(names + number(header, 4)?..)?.split(|&byte| byte == 0).next()?;
        let (at, length) = (number(header + 0x18, 8)?, number(header + 0x20, 8)?);
        if name == wanted.as_bytes() { elf.get(at..at.checked_add(length)?) } else { None }
    })
}

/// A kernel that is compiled alone, as at its first use, is the one of the whole source, whichever macros have made it: with the same
/// use of the device, and instruction by instruction.
fn check_alone(source: &str, kernel: &str) -> Result<(), Failed> {
    let (whole, alone) = (compile(source, None, Target::ALL[1])?, compile(source, Some(kernel), Target::ALL[1])?);
    let of_whole: Vec<KernelUse> = whole.kernels.into_iter().filter(|of| of.kernel == kernel).collect();
    if of_whole.is_empty() || alone.kernels != of_whole {
        return Err(format!("alone {:?}, in the whole {of_whole:?}", alone.kernels).into());
    }
    let code = |of: &[u8]| section(of, &format!(".text.{kernel}")).filter(|code| !code.is_empty()).map(<[u8]>::to_vec);
    match (code(&whole.cubin), code(&alone.cubin)) {
        (Some(whole), Some(alone)) if whole == alone => {}
        (whole, alone) => {
            return Err(
                format!("machine code of {:?} bytes, alone of {:?}", whole.map(|c| c.len()), alone.map(|c| c.len())).into()
            );
        }
    }
    match compile(source, Some("nobody"), Target::ALL[1]) {
        Err(why) if why.contains("there is no kernel nobody") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn main() {
    let trial = |source: &'static str| {
        targets_of(source).map(move |target| Trial::test(format!("{source}/{target}"), move || check(source, target)))
    };
    let trials = match ensure_present() {
        Ok(()) => {
            let alone = [("fill", "fill_4"), ("softmax", "softmax_warp_bf16"), ("layer_norm", "layer_norm_block_f16")];
            let alone = alone.map(|(source, kernel)| Trial::test(format!("{source}/alone"), move || check_alone(source, kernel)));
            source_names().flat_map(trial).chain(alone).collect()
        }
        Err(why) => vec![Trial::test("nvrtc", move || Err(why.into()))],
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
