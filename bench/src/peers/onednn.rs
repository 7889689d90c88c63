//! Intel's oneDNN, where its user says it lies: matrix products whose right factor is in the layout that the library likes best.
//!
//! Its threads cannot be set: they are those of the processors that the process may run on.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use half::bf16;

use super::dense::{Operands, Right};
use super::dnnl::*;
use super::{Absent, Peer};

/// Names the library's file.
const VARIABLE: &str = "SIZEWISE_ONEDNN";

/// Values of oneDNN's enumerations and macros.
const CPU: dnnl_engine_kind_t = 1;
const ANY: dnnl_format_tag_t = 1;
const ROWS: dnnl_format_tag_t = 3;
const COLUMNS: dnnl_format_tag_t = 14;
const WEIGHTS_LAYOUT: dnnl_query_t = 131;
const IN_ORDER: u32 = 1;
const SRC: i32 = 1;
const DST: i32 = 17;
const WEIGHTS: i32 = 33;

/// What is multiplied, and what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// f32 · f32 = f32.
    F32,
    /// bf16 · bf16 = bf16, summed in f32.
    Bf16,
    /// u8 · i8 = i32, the instruction's own; ours are i8 · i8.
    Int8,
}

impl Product {
    /// Types of the left factor, the right one and the result.
    fn types(self) -> [dnnl_data_type_t; 3] {
        let [bf16, f32, i32, i8, u8] = [2, 3, 4, 5, 6];
        match self {
            Product::F32 => [f32; 3],
            Product::Bf16 => [bf16; 3],
            Product::Int8 => [u8, i8, i32],
        }
    }

    /// Values as bytes of the factors' types; those of 8 bits are between −1 and 1, and never negative.
    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Product::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Product::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
            Product::Int8 => values.iter().map(|&value| (value.abs() * 127.0) as u8).collect(),
        }
    }
}

/// The peer for `[M, K] · [K, N]`.
pub(super) fn peer(m: usize, n: usize, k: usize, right: Right, product: Product, threads: usize) -> Result<Peer, Absent> {
    let library = Library::open(threads)?;
    let multiply = Multiply::new(library, &Operands::new(m, n, k, right), product)?;
    Ok(Peer { name: format!("oneDNN {} packed", library.version), call: Box::new(move || multiply.run()), work: None })
}

/// The library, its engine and its queue.
struct Library {
    dnnl: Dnnl,
    engine: dnnl_engine_t,
    stream: dnnl_stream_t,
    version: String,
}

// SAFETY: oneDNN's objects are not bound to a thread, and the benchmark calls them from one thread at a time.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// `Ok` for status 0.
fn done(what: &str, status: dnnl_status_t) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(format!("oneDNN: {what} gave status {status}")) }
}

/// Calls a function of the library, which must be there.
macro_rules! call {
    ($library:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $library.dnnl.$function.as_ref().map_err(|error| format!("oneDNN: {error}"))?;
        // SAFETY: the function of that name and type in oneDNN's header; handles are of this library and alive, and what is pointed
        // to outlives the call.
        done(stringify!($function), unsafe { function($($argument),*) })?;
    }};
}

impl Library {
    fn open(threads: usize) -> Result<&'static Self, Absent> {
        static LIBRARY: OnceLock<Result<Library, Absent>> = OnceLock::new();
        let library = LIBRARY.get_or_init(Library::load).as_ref().map_err(Absent::clone)?;
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        if processors != threads {
            return Err(format!(
                "oneDNN: it takes a thread for each of the {processors} processors allowed, not {threads}; remedy: install taskset \
                 (util-linux), by which the benchmark allows itself fewer"
            ));
        }
        Ok(library)
    }

    fn load() -> Result<Self, Absent> {
        let Some(file) = std::env::var_os(VARIABLE) else {
            return Err(format!("oneDNN: not looked for; remedy: pip install onednn, then {VARIABLE}=…/libdnnl.so.3"));
        };
        // SAFETY: loading runs the library's initialisers, which oneDNN means to be run so.
        let dnnl = unsafe { Dnnl::new(&file) }.map_err(|error| format!("oneDNN: {error}"))?;
        let version = dnnl.dnnl_version.as_ref().map_err(|error| format!("oneDNN: {error}"))?;
        // SAFETY: the function of that name and type; what it points to is the library's own and never changes.
        let version = unsafe { &*version() };
        if version.major != 3 {
            return Err(format!("oneDNN: its version is {}, not 3", version.major));
        }
        let version = format!("{}.{}.{}", version.major, version.minor, version.patch);
        let mut library = Library { dnnl, engine: null_mut(), stream: null_mut(), version };
        let (mut engine, mut stream) = (null_mut(), null_mut());
        call!(library, dnnl_engine_create(&mut engine, CPU, 0));
        call!(library, dnnl_stream_create(&mut stream, engine, IN_ORDER));
        (library.engine, library.stream) = (engine, stream);
        Ok(library)
    }

    /// A matrix of `rows` and `columns`.
    fn layout(
        &self,
        [rows, columns]: [usize; 2],
        kind: dnnl_data_type_t,
        tag: dnnl_format_tag_t,
    ) -> Result<dnnl_memory_desc_t, String> {
        let mut sizes: dnnl_dims_t = [0; 12];
        (sizes[0], sizes[1]) = (rows as i64, columns as i64);
        let mut layout = null_mut();
        call!(self, dnnl_memory_desc_create_with_tag(&mut layout, 2, sizes.as_ptr(), kind, tag));
        Ok(layout)
    }

    /// Memory of the library's own, to be written to and read from by [`Library::mapped`].
    fn memory(&self, layout: const_dnnl_memory_desc_t) -> Result<dnnl_memory_t, String> {
        let mut memory = null_mut();
        // The address that stands for "allocate it" is the last there is.
        call!(self, dnnl_memory_create(&mut memory, layout, self.engine, null_mut::<c_void>().wrapping_byte_sub(1)));
        Ok(memory)
    }

    /// Gives `use_` the bytes of a memory, whose size is that of `len` bytes.
    fn mapped<T>(&self, memory: dnnl_memory_t, len: usize, use_: impl FnOnce(&mut [u8]) -> T) -> Result<T, String> {
        let mut start: *mut c_void = null_mut();
        call!(self, dnnl_memory_map_data(memory, &mut start));
        // SAFETY: the mapped memory holds a plain matrix of `len` bytes, ours alone until it is unmapped.
        let got = use_(unsafe { std::slice::from_raw_parts_mut(start.cast(), len) });
        call!(self, dnnl_memory_unmap_data(memory, start));
        Ok(got)
    }

    fn run(&self, primitive: dnnl_primitive_t, arguments: &[dnnl_exec_arg_t]) -> Result<(), String> {
        call!(self, dnnl_primitive_execute(primitive, self.stream, arguments.len() as i32, arguments.as_ptr()));
        call!(self, dnnl_stream_wait(self.stream));
        Ok(())
    }
}

/// A product with its operands.
struct Multiply {
    library: &'static Library,
    primitive: dnnl_primitive_t,
    arguments: [dnnl_exec_arg_t; 3],
}

impl Multiply {
    /// What it makes beside operands and primitive, a few hundred bytes, is left to the end of the process.
    fn new(library: &'static Library, x: &Operands, product: Product) -> Result<Self, String> {
        let [left, right, result] = product.types();
        let stored = if x.right == Right::Weight { COLUMNS } else { ROWS };
        let a = library.layout([x.m, x.k], left, ROWS)?;
        let (plain, packed) = (library.layout([x.k, x.n], right, stored)?, library.layout([x.k, x.n], right, ANY)?);
        let out = library.layout([x.m, x.n], result, ROWS)?;
        let (mut of_product, mut primitive) = (null_mut(), null_mut());
        let none = null();
        call!(library, dnnl_matmul_primitive_desc_create(&mut of_product, library.engine, a, packed, none, out, null()));
        call!(library, dnnl_primitive_create(&mut primitive, of_product));
        let query = library.dnnl.dnnl_primitive_desc_query_md.as_ref().map_err(|error| format!("oneDNN: {error}"))?;
        // SAFETY: the function of that name and type; what it returns lives as long as the description.
        let liked = unsafe { query(of_product, WEIGHTS_LAYOUT, 0) };

        let (a, out) = (library.memory(a)?, library.memory(out)?);
        let (plain_b, b) = (library.memory(plain)?, library.memory(liked)?);
        for (memory, values) in [(a, &x.a), (plain_b, &x.b)] {
            let bytes = product.bytes(values);
            library.mapped(memory, bytes.len(), |to| to.copy_from_slice(&bytes))?;
        }
        let (mut of_order, mut order) = (null_mut(), null_mut());
        let engine = library.engine;
        call!(library, dnnl_reorder_primitive_desc_create(&mut of_order, plain, engine, liked, engine, null()));
        call!(library, dnnl_primitive_create(&mut order, of_order));
        let argument = |arg, memory| dnnl_exec_arg_t { arg, memory };
        library.run(order, &[argument(SRC, plain_b), argument(DST, b)])?;
        call!(library, dnnl_memory_destroy(plain_b));
        Ok(Multiply { library, primitive, arguments: [argument(SRC, a), argument(WEIGHTS, b), argument(DST, out)] })
    }

    fn run(&self) -> Result<(), String> {
        self.library.run(self.primitive, &self.arguments)
    }
}

impl Drop for Multiply {
    fn drop(&mut self) {
        let dnnl = &self.library.dnnl;
        if let (Ok(destroy), Ok(destroy_memory)) = (&dnnl.dnnl_primitive_destroy, &dnnl.dnnl_memory_destroy) {
            // SAFETY: the functions of that name and type; primitive and memories are alive and used by nobody else.
            unsafe {
                destroy(self.primitive);
                self.arguments.iter().for_each(|argument| {
                    destroy_memory(argument.memory);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the library is there: a peer fed another layout would be timed on another product than ours.
    #[test]
    fn it_multiplies_the_operands_it_is_given() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let Ok(library) = Library::open(processors) else { return };
        for right in [Right::Matrix, Right::Weight] {
            let x = Operands::new(3, 50, 70, right);
            let multiply = Multiply::new(library, &x, Product::F32).unwrap();
            multiply.run().unwrap();
            let out = library.mapped(multiply.arguments[2].memory, 4 * x.m * x.n, |bytes| bytes.to_vec()).unwrap();
            let out: Vec<f32> =
                out.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
            for (index, got) in out.iter().enumerate() {
                let (row, column) = (index / x.n, index % x.n);
                let b = |k: usize| if right == Right::Matrix { x.b[k * x.n + column] } else { x.b[column * x.k + k] };
                let wanted: f64 = (0..x.k).map(|k| f64::from(x.a[row * x.k + k]) * f64::from(b(k))).sum();
                // γ₇₀ · Σ|a·b| with |a|, |b| ≤ 1.
                assert!((f64::from(*got) - wanted).abs() <= 70.0 * 70.0 * f64::from(f32::EPSILON), "{right:?} {index}");
            }
        }
    }
}
