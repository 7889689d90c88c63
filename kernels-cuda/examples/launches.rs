//! What launches cost the host: `cargo run --release -p kernels-cuda --example launches`.
//!
//! Steps of as many small kernels as decoding a token takes, a quarter of them with other parameters than in the step before. Run it
//! once more with `SIZEWISE_CUDA_GRAPHS=off` to compare.

use kernels::ops::{Download, Fill};
use kernels::{DType, Error, Memory, Op, Result};
use kernels_cuda::CudaBackend;
use std::process::ExitCode;
use std::time::Instant;

const KERNELS: u32 = 96;
const STEPS: u32 = 200;

fn measure() -> Result<String> {
    let on = CudaBackend::new(None)?;
    let mut out = on.alloc(DType::F32, 64)?;
    let mut step = |number: u32| -> Result<f64> {
        let start = Instant::now();
        for place in 0..KERNELS {
            let value = if place % 4 == 0 { number } else { place };
            let from = place as usize % 64;
            Fill { out: out.view_mut([64])?.narrow(0, from, 64 - from)?, value: value.into() }.run(&on)?;
        }
        let queued = start.elapsed().as_secs_f64();
        on.sync()?;
        let mut host = [0f32; 64];
        Download::new(out.view([64])?, &mut host).run(&on)?;
        // What the last launch that reached each place was given.
        let given = |place: u32| {
            (0..KERNELS).rev().find(|launch| launch % 64 <= place).map_or(0, |at| if at % 4 == 0 { number } else { at })
        };
        match (0..64).find(|&place| host[place as usize] != given(place) as f32) {
            None => Ok(queued),
            Some(place) => Err(Error::Fault {
                backend: "cuda",
                op: "fill",
                what: format!("step {number} left {} at {place}", host[place as usize]),
            }),
        }
    };
    // Kernels are loaded and graphs are made.
    for number in 0..3 {
        step(number)?;
    }
    let start = Instant::now();
    let queued = (0..STEPS).map(step).sum::<Result<f64>>()?;
    let (all, count) = (start.elapsed().as_secs_f64(), f64::from(KERNELS * STEPS));
    Ok(format!(
        "{:.2} us a kernel to queue, {:.2} until it has run; {:?}",
        1e6 * queued / count,
        1e6 * all / count,
        on.launch_counts()
    ))
}

fn main() -> ExitCode {
    match measure() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why @ Error::Unavailable { .. }) => {
            eprintln!("{why}");
            ExitCode::from(69)
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
