//! Where `unsafe` may be written.

use super::Violation;
use super::source::SourceFile;

/// Folders and files that hold kernels, device memory or foreign interfaces, and the tests that replace the global
/// allocator to count allocations. Everything else is safe Rust.
const ROOMS: [&str; 7] = [
    "bench/src/peers/",
    "kernels-cpu/src/",
    "kernels-cuda/src/",
    "kernels-wgpu/src/pipeline_cache.rs",
    "kernels/src/conformance/guard.rs",
    "kernels-cpu/tests/no_alloc.rs",
    "model-zoo/tests/no_alloc.rs",
];

/// `unsafe` outside its rooms.
pub fn check(file: &SourceFile) -> Vec<Violation> {
    if ROOMS.iter().any(|room| file.path.starts_with(room)) {
        return Vec::new();
    }
    let message = "`unsafe` outside kernel, memory and foreign-interface modules";
    file.named("unsafe").map(|token| Violation::at(file, token.line, message)).collect()
}

/// How often `unsafe` is written.
pub fn count(file: &SourceFile) -> usize {
    file.named("unsafe").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_outside_its_rooms_is_found() {
        let text = "fn f() {\n    unsafe { g() }\n}";
        let found = check(&SourceFile::new("model-zoo/src/session.rs", text));
        assert_eq!(found.len(), 1);
        assert!(found[0].place.ends_with(":2"));
        assert!(check(&SourceFile::new("kernels-cpu/src/simd/avx2.rs", text)).is_empty());
        assert_eq!(count(&SourceFile::new("kernels-cpu/src/simd/avx2.rs", text)), 1);
    }
}
