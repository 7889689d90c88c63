//! OpenBLAS of the system, opened when the benchmark runs, so that the program builds where there is none.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use super::Absent;
use super::cblas::{CBLAS_ORDER, CBLAS_TRANSPOSE, Cblas, blasint};
use super::dense::{Operands, Right};

/// Names of the library, the most specific first.
const LIBRARIES: [&str; 4] = ["libopenblas.so.0", "libopenblas.so", "libopenblas.dylib", "libopenblas.dll"];

/// The library, once opened.
pub(super) struct OpenBlas {
    cblas: Cblas,
}

impl OpenBlas {
    /// The library, told to use so many threads.
    pub(super) fn open(threads: usize) -> Result<&'static Self, Absent> {
        static LIBRARY: OnceLock<Result<OpenBlas, Absent>> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| {
            // SAFETY: loading runs the library's initialisers, which OpenBLAS means to be run so.
            let open = |name: &&str| unsafe { Cblas::new(name) }.ok();
            let cblas = LIBRARIES.iter().find_map(open);
            let missing = || format!("OpenBLAS: no {} on this system; remedy: apt-get install libopenblas0", LIBRARIES[0]);
            cblas.map(|cblas| OpenBlas { cblas }).ok_or_else(missing)
        });
        let openblas = library.as_ref().map_err(Absent::clone)?;
        match &openblas.cblas.openblas_set_num_threads {
            // SAFETY: the function of that name and type in OpenBLAS's cblas.h; it accepts any number.
            Ok(set) => unsafe { set(threads as i32) },
            Err(error) => return Err(format!("OpenBLAS: {error}")),
        }
        Ok(openblas)
    }

    /// Name, version and the processor it chose its kernels for.
    pub(super) fn name(&self) -> String {
        let text = |function: &Result<unsafe extern "C" fn() -> *mut c_char, libloading::Error>| match function {
            // SAFETY: both functions asked return a string of the library that lives as long as it does.
            Ok(function) => unsafe { CStr::from_ptr(function()) }.to_string_lossy().into_owned(),
            Err(_) => String::new(),
        };
        let config = text(&self.cblas.openblas_get_config);
        let version = config.split_whitespace().nth(1).unwrap_or("of unknown version");
        format!("OpenBLAS {version} {}", text(&self.cblas.openblas_get_corename)).trim_end().into()
    }

    /// `out = a · b`.
    pub(super) fn sgemm(&self, x: &Operands, out: &mut [f32]) -> Result<(), String> {
        let sgemm = self.cblas.cblas_sgemm.as_ref().map_err(|error| format!("OpenBLAS: {error}"))?;
        if x.a.len() != x.m * x.k || x.b.len() != x.k * x.n || out.len() != x.m * x.n {
            return Err("operands and shape disagree".into());
        }
        let size = |size: usize| blasint::try_from(size).map_err(|_| "larger than a BLAS can count".to_string());
        let (m, n, k) = (size(x.m)?, size(x.n)?, size(x.k)?);
        let (transposed, ldb) = match x.right {
            Right::Matrix => (CBLAS_TRANSPOSE::CblasNoTrans, n),
            Right::Weight => (CBLAS_TRANSPOSE::CblasTrans, k),
        };
        let (order, plain) = (CBLAS_ORDER::CblasRowMajor, CBLAS_TRANSPOSE::CblasNoTrans);
        let (a, b, out) = (x.a.as_ptr(), x.b.as_ptr(), out.as_mut_ptr());
        // SAFETY: row-major matrices of m·k, k·n and m·n elements, as checked above, without gaps between rows.
        unsafe { sgemm(order, plain, transposed, m, n, k, 1.0, a, k, b, ldb, 0.0, out, n) };
        Ok(())
    }
}
