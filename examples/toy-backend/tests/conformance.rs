//! All that a backend does to be proven.

fn main() {
    kernels::conformance::main(|| Ok(Box::new(toy_backend::Toy::new())))
}
