//! Under the feature `emulation`, compiles every kernel for the CPU, and a driver library that runs them there.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "emulation")]
    emulation::build();
}

#[cfg(feature = "emulation")]
mod emulation {
    use std::path::{Path, PathBuf};

    pub fn build() {
        let files = std::fs::read_dir("src").expect("the crate's own sources");
        let mut kernels: Vec<_> =
            files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
        kernels.sort();
        // The list of sources, as a new one stands there too.
        for path in kernels.iter().map(PathBuf::as_path).chain(["src/cu", "src/emulation", "src/source.rs"].map(Path::new)) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
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
        stand_in(&build);
    }

    /// `libcuda.so` of the tests: a library of its own, with kernels of its own, as they load it where the driver's would be.
    fn stand_in(build: &cc::Build) {
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where"));
        let folder = out.join("stand-in");
        std::fs::create_dir_all(&folder).expect("a folder in what cargo has made");
        let mut link = build.get_compiler().to_command();
        link.args(["-shared", "-Wl,-Bsymbolic", "src/emulation/stand_in.cpp", "-x", "none", "-Wl,--whole-archive"]);
        link.arg(out.join("libsizewise_emulation.a")).args(["-Wl,--no-whole-archive", "-o"]).arg(folder.join("libcuda.so"));
        let status = link.status().expect("the compiler that has just run");
        assert!(status.success(), "{link:?}: {status}");
        println!("cargo::rustc-env=SIZEWISE_CUDA_STAND_IN={}", folder.display());
    }
}
