//! Names that a layer must not know (laws 1 and 10).

use super::Violation;
use super::source::{Part, SourceFile};

/// Where the rule holds, the paths that may not be named there, and why.
struct Layer {
    below: &'static [&'static str],
    names: &'static [&'static str],
    why: &'static str,
}

const LAYERS: [Layer; 2] = [
    Layer {
        below: &["model-zoo/src/"],
        names: &["kernels_cpu", "kernels_wgpu", "kernels_cuda"],
        why: "the zoo never names a concrete backend",
    },
    Layer {
        below: &["model-zoo/src/large/", "model-zoo/src/small/"],
        names: &["QuantScheme", "Weight::Dense", "Weight::Quant", "Weight::Blocks", "Weight::Sparse"],
        why: "a model does not know how its weights are stored",
    },
];

/// File and name that may meet all the same: what is sparse there is the data, an operand that `Linear` takes as a weight.
const EXCEPTIONS: [(&str, &str); 1] = [("model-zoo/src/small/softmax_loss.rs", "Weight::Sparse")];

/// Names out of place in product code; tests may compare against anything.
pub fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    for layer in LAYERS.iter().filter(|l| l.below.iter().any(|b| file.path.starts_with(b))) {
        for name in layer.names.iter().filter(|name| !EXCEPTIONS.contains(&(&file.path, name))) {
            let tokens: Vec<&str> = name.split_inclusive("::").flat_map(path_tokens).collect();
            for place in file.tokens.windows(tokens.len()) {
                if place[0].part == Part::Product && place.iter().map(|t| &*t.text).eq(tokens.iter().copied()) {
                    found.push(Violation::at(file, place[0].line, format!("`{name}`: {}", layer.why)));
                }
            }
        }
    }
    found
}

/// `Weight::` as its tokens `Weight : :`, a last segment as itself.
fn path_tokens(segment: &str) -> Vec<&str> {
    match segment.strip_suffix("::") {
        Some(name) => vec![name, ":", ":"],
        None => vec![segment],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(path: &str, text: &str) -> usize {
        check(&SourceFile::new(path, text)).len()
    }

    #[test]
    fn a_backend_named_in_the_zoo_is_found() {
        let text = "use kernels_cpu::CpuBackend;";
        assert_eq!(violations("model-zoo/src/session.rs", text), 1);
        assert_eq!(violations("bench/src/backends.rs", text), 0);
        assert_eq!(violations("model-zoo/tests/gpt.rs", text), 0);
        assert_eq!(violations("model-zoo/src/session.rs", "#[cfg(test)] mod tests { use kernels_cpu::CpuBackend; }"), 0);
    }

    #[test]
    fn a_model_that_looks_into_its_weights_is_found() {
        let text = "fn f(w: &Weight) { match w { Weight::Dense { .. } => {}, Weight::Quant(q) => g(q) } }";
        assert_eq!(violations("model-zoo/src/large/gpt.rs", text), 2);
        assert_eq!(violations("model-zoo/src/large/gpt.rs", "fn f() { Weight::dense(1, 1, v) }"), 0);
        assert_eq!(violations("model-zoo/src/small/softmax_loss.rs", "fn f() { Weight::Sparse(z); Weight::Quant(q) }"), 1);
        assert_eq!(violations("model-zoo/src/shrink/quantize.rs", text), 0);
    }
}
