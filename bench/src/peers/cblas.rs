//! The functions of OpenBLAS that are measured, as bindgen 0.73 writes them from the `cblas.h` of OpenBLAS 0.3.21:
//!
//! ```text
//! bindgen cblas.h --dynamic-loading Cblas --no-layout-tests --disable-header-comment --rust-target 1.85 --rust-edition 2024
//!     --allowlist-function 'cblas_sgemm|openblas_set_num_threads|openblas_get_config|openblas_get_corename'
//!     --rustified-enum 'CBLAS_(ORDER|TRANSPOSE)'
//! ```

pub type blasint = ::std::os::raw::c_int;
#[repr(u32)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub enum CBLAS_ORDER {
    CblasRowMajor = 101,
    CblasColMajor = 102,
}
#[repr(u32)]
#[derive(Debug, Copy, Clone, Hash, PartialEq, Eq)]
pub enum CBLAS_TRANSPOSE {
    CblasNoTrans = 111,
    CblasTrans = 112,
    CblasConjTrans = 113,
    CblasConjNoTrans = 114,
}
pub struct Cblas {
    __library: ::libloading::Library,
    pub openblas_set_num_threads: Result<unsafe extern "C" fn(num_threads: ::std::os::raw::c_int), ::libloading::Error>,
    pub openblas_get_config: Result<unsafe extern "C" fn() -> *mut ::std::os::raw::c_char, ::libloading::Error>,
    pub openblas_get_corename: Result<unsafe extern "C" fn() -> *mut ::std::os::raw::c_char, ::libloading::Error>,
    pub cblas_sgemm: Result<
        unsafe extern "C" fn(
            Order: CBLAS_ORDER,
            TransA: CBLAS_TRANSPOSE,
            TransB: CBLAS_TRANSPOSE,
            M: blasint,
            N: blasint,
            K: blasint,
            alpha: f32,
            A: *const f32,
            lda: blasint,
            B: *const f32,
            ldb: blasint,
            beta: f32,
            C: *mut f32,
            ldc: blasint,
        ),
        ::libloading::Error,
    >,
}
impl Cblas {
    pub unsafe fn new<P>(path: P) -> Result<Self, ::libloading::Error>
    where
        P: AsRef<::std::ffi::OsStr>,
    {
        let path = path.as_ref();
        let library = ::libloading::Library::new(path)?;
        Self::from_library(library)
    }
    pub unsafe fn from_library<L>(library: L) -> Result<Self, ::libloading::Error>
    where
        L: Into<::libloading::Library>,
    {
        let __library = library.into();
        let openblas_set_num_threads = __library.get(b"openblas_set_num_threads\0").map(|sym| *sym);
        let openblas_get_config = __library.get(b"openblas_get_config\0").map(|sym| *sym);
        let openblas_get_corename = __library.get(b"openblas_get_corename\0").map(|sym| *sym);
        let cblas_sgemm = __library.get(b"cblas_sgemm\0").map(|sym| *sym);
        Ok(Cblas { __library, openblas_set_num_threads, openblas_get_config, openblas_get_corename, cblas_sgemm })
    }
    pub unsafe fn openblas_set_num_threads(&self, num_threads: ::std::os::raw::c_int) {
        (self.openblas_set_num_threads.as_ref().expect("Expected function, got error."))(num_threads)
    }
    pub unsafe fn openblas_get_config(&self) -> *mut ::std::os::raw::c_char {
        (self.openblas_get_config.as_ref().expect("Expected function, got error."))()
    }
    pub unsafe fn openblas_get_corename(&self) -> *mut ::std::os::raw::c_char {
        (self.openblas_get_corename.as_ref().expect("Expected function, got error."))()
    }
    pub unsafe fn cblas_sgemm(
        &self,
        Order: CBLAS_ORDER,
        TransA: CBLAS_TRANSPOSE,
        TransB: CBLAS_TRANSPOSE,
        M: blasint,
        N: blasint,
        K: blasint,
        alpha: f32,
        A: *const f32,
        lda: blasint,
        B: *const f32,
        ldb: blasint,
        beta: f32,
        C: *mut f32,
        ldc: blasint,
    ) {
        (self.cblas_sgemm.as_ref().expect("Expected function, got error."))(
            Order, TransA, TransB, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc,
        )
    }
}
