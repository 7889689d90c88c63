//! Which crate may depend on which (law 1).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Violation;
use crate::cargo;

/// Crate, what it may depend on, and what only its tests may depend on besides. A crate that is not here is a
/// violation. Every crate may name itself in its dev-dependencies, to turn on features for its tests.
const ARROWS: [(&str, &[&str], &[&str]); 7] = [
    ("kernels", &[], &[]),
    ("kernels-cpu", &["kernels"], &[]),
    ("kernels-wgpu", &["kernels"], &[]),
    ("kernels-cuda", &["kernels"], &[]),
    ("model-zoo", &["kernels"], &["kernels-cpu"]),
    ("bench", &["kernels", "kernels-cpu", "kernels-wgpu", "kernels-cuda", "model-zoo"], &[]),
    ("xtask", &[], &[]),
];

/// `cargo metadata` of the workspace, without foreign packages.
pub fn workspace_metadata() -> Result<Value> {
    let output = cargo::cargo_in_root()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Normal, build and dev dependencies among our crates, against the table.
pub fn check(metadata: &Value) -> Result<Vec<Violation>> {
    let arrows: BTreeMap<&str, _> = ARROWS.iter().map(|(name, uses, tests)| (*name, (*uses, *tests))).collect();
    let packages = list(metadata, "packages")?;
    let names = packages.iter().map(|p| text(p, "name")).collect::<Result<Vec<_>>>()?;
    let mut found = Vec::new();
    for (package, name) in packages.iter().zip(&names) {
        let place = format!("{name}/Cargo.toml");
        let Some((uses, tests)) = arrows.get(name) else {
            found.push(Violation::new(place, format!("crate {name} is not in the table of arrows")));
            continue;
        };
        for dependency in list(package, "dependencies")? {
            let target = text(dependency, "name")?;
            let for_tests = dependency["kind"] == "dev";
            let ours = names.contains(&target);
            let allowed = uses.contains(&target) || (for_tests && (target == *name || tests.contains(&target)));
            if ours && !allowed {
                let kind = if for_tests { "dev-" } else { "" };
                found.push(Violation::new(&*place, format!("{name} must have no {kind}dependency on {target}")));
            }
        }
    }
    Ok(found)
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata has no list `{key}`"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata has no text `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Violations of a workspace of all our crates in which `from` depends on `to`.
    fn with_edge(from: &str, to: &str, kind: Value) -> Vec<String> {
        let package = |name: &str| {
            let edge = json!({ "name": to, "kind": kind });
            json!({ "name": name, "dependencies": if name == from { vec![edge] } else { vec![] } })
        };
        let mut packages: Vec<Value> = ARROWS.iter().map(|(name, ..)| package(name)).collect();
        if ARROWS.iter().all(|(name, ..)| *name != from) {
            packages.push(package(from));
        }
        let found = check(&json!({ "packages": packages })).expect("well-formed metadata");
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_is_accepted() {
        for (from, uses, tests) in ARROWS {
            uses.iter().for_each(|to| assert!(with_edge(from, to, Value::Null).is_empty(), "{from} -> {to}"));
            tests.iter().for_each(|to| assert!(with_edge(from, to, json!("dev")).is_empty(), "{from} -> {to}"));
        }
        assert!(with_edge("kernels", "serde", Value::Null).is_empty());
        assert!(with_edge("kernels", "kernels", json!("dev")).is_empty());
    }

    #[test]
    fn any_other_edge_is_found_whatever_its_kind() {
        for kind in [Value::Null, json!("dev"), json!("build")] {
            assert_eq!(with_edge("kernels-wgpu", "kernels-cpu", kind.clone()).len(), 1);
            assert_eq!(with_edge("kernels", "kernels-cpu", kind.clone()).len(), 1);
            assert_eq!(with_edge("xtask", "bench", kind).len(), 1);
        }
        for kind in [Value::Null, json!("build")] {
            assert_eq!(
                with_edge("model-zoo", "kernels-cpu", kind),
                ["model-zoo/Cargo.toml: model-zoo must have no dependency on kernels-cpu"]
            );
        }
    }

    #[test]
    fn a_new_crate_needs_its_row() {
        assert_eq!(with_edge("helpers", "serde", Value::Null).len(), 1);
    }
}
