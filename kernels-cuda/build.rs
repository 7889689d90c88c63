//! Under the feature `emulation`, compiles every kernel for the CPU.

fn main() {
    println!("cargo::rerun-if-changed=src");
    #[cfg(feature = "emulation")]
    emulate();
}

#[cfg(feature = "emulation")]
fn emulate() {
    let files = std::fs::read_dir("src").expect("the crate's own sources");
    let mut kernels: Vec<_> =
        files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    kernels.sort();
    let mut build = cc::Build::new();
    // `-x c++` ahead of the files, which end in `.cu`. Contraction as CUDA does it would need the compiler's guess; kernels that
    // want a fused multiply-add say so.
    build.cpp(true).std("c++17").opt_level(2).flags(["-x", "c++", "-march=native", "-ffp-contract=off", "-Wno-psabi"]);
    build
        .include("src/emulation")
        .include("src/cu")
        .files(["src/emulation/runtime.cpp", "src/emulation/planted.cu"])
        .files(kernels);
    // Kernels register themselves: no object may be left out because nobody names a symbol of it.
    build.link_lib_modifier("+whole-archive").compile("sizewise_emulation");
}
