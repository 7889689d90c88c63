//! An invented report with everything a real one may hold, for tests only. None of its figures was measured.

use std::collections::BTreeMap;

use crate::report::{
    Family, KernelRow, Latency, Limits, Machine, Metric, ModelRow, PeerCell, PeerRun, Quality, READING, Report, Task, TaskKind,
    Verdict,
};
use crate::stats::wilson;

/// Three tasks, four kernel families, all four verdicts, learning and batch curves. Not yet concluded.
pub fn report() -> Report {
    let machine = Machine {
        cpu: "Invented CPU 9000 @ 2.60GHz".into(),
        isa: ["avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vnni", "avx512bf16"].map(String::from).into(),
        cores: 2,
        memory_bytes: Some(8_200_000_000),
        gpu: None,
        driver: None,
        os: "Debian GNU/Linux 12 (bookworm) (x86_64)".into(),
        rustc: "rustc 1.95.0 (59807616e 2026-04-14)".into(),
        commit: Some("0123456789ab".into()),
        dirty: Some(false),
        seed: 42,
        threads: 2,
    };
    let mut report = Report::new("cargo xtask bench --quick", "2026-11-24T03:08:27Z", machine);
    report.wall_s = 108.4;
    report.interrupted = false;
    let limits = Limits {
        peak_f32_gflop_per_s: Some(148.0),
        peak_bf16_gflop_per_s: Some(291.0),
        peak_int8_gflop_per_s: Some(566.0),
        bandwidth_gb_per_s: Some(27.4),
        bandwidth_small_pages_gb_per_s: Some(21.9),
    };
    report.limits = BTreeMap::from([("cpu".to_string(), limits)]);
    report.tasks = tasks();
    report.kernels = kernels();
    report.models = digits();
    report.models.extend(snippets());
    report.models.extend(language_models());
    report.peers = Some(peers(&report));
    report
}

fn tasks() -> Vec<Task> {
    let crates = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
    vec![
        Task {
            name: "digits".into(),
            kind: TaskKind::ClassifyRows,
            source: "Optical Recognition of Handwritten Digits, UCI Machine Learning Repository".into(),
            attribution: "E. Alpaydin and C. Kaynak (1998), CC BY 4.0, doi:10.24432/C50P49".into(),
            crates: Vec::new(),
            digest: "blake3:5f1f0ea4c8e9d1b2".into(),
            train: 1437,
            test: 360,
            classes: Some(10),
            majority: Some(0.11),
        },
        Task {
            name: "rust-snippets".into(),
            kind: TaskKind::ClassifyText,
            source: "source files of the crates this workspace is built from".into(),
            attribution: "each crate under its own licence".into(),
            crates: crates(&["serde 1.0.228", "syn 2.0.111", "rayon 1.12.0", "proptest 1.12.0", "time 0.3.55"]),
            digest: "blake3:91c7aa00de31f0c4".into(),
            train: 6120,
            test: 1544,
            classes: Some(5),
            majority: Some(0.11),
        },
        Task {
            name: "rust-lm".into(),
            kind: TaskKind::LanguageModel,
            source: "source files of the crates this workspace is built from".into(),
            attribution: "each crate under its own licence".into(),
            crates: crates(&["serde 1.0.228", "syn 2.0.111", "rayon 1.12.0", "proptest 1.12.0", "time 0.3.55"]),
            digest: "blake3:0b64e2f7a1c35d90".into(),
            train: 3_411_200,
            test: 402_117,
            classes: None,
            majority: None,
        },
    ]
}

/// What the fixture says of one model.
struct Sketch {
    family: Family,
    model: &'static str,
    variant: &'static str,
    params: u64,
    nonzero: f64,
    bits: f64,
    train_s: f64,
    p50_ms: f64,
    spread: f64,
}

impl Sketch {
    fn row(&self, task: &str, quality: Quality) -> ModelRow {
        let mut row = ModelRow::new(task, self.family, self.model, self.variant, "cpu");
        row.params = Some(self.params);
        row.nonzero_params = Some((self.params as f64 * self.nonzero) as u64);
        row.file_bytes = Some((self.params as f64 * self.bits / 8.0) as u64 + 1800);
        row.peak_memory_bytes = Some(64_000_000 + self.params * 9);
        row.train_s = Some(self.train_s);
        row.quality = Some(quality);
        row.latency_ms = Some(Latency {
            p10: self.p50_ms * (1.0 - self.spread / 2.0),
            p50: self.p50_ms,
            p90: self.p50_ms * (1.0 + self.spread),
            p50_low: Some(self.p50_ms * (1.0 - self.spread / 4.0)),
            p50_high: Some(self.p50_ms * (1.0 + self.spread / 2.0)),
            p99: (self.p50_ms < 5.0).then_some(self.p50_ms * (1.0 + 3.0 * self.spread)),
            samples: if self.p50_ms < 5.0 { 400 } else { 31 },
            calls_per_sample: (0.2 / self.p50_ms).ceil().max(1.0) as u64,
        });
        row.rows_or_tokens_per_s = Some(1e3 / self.p50_ms);
        if self.variant != "f32" {
            row.made_from = Some(format!("{task}/{}/f32/cpu", self.model));
        }
        (row.verdict, row.reason) = (Verdict::Valid, String::new());
        row
    }
}

/// The figures: share of parameters not zero, bits each, training seconds, median milliseconds, relative spread.
fn sketch(family: Family, model: &'static str, variant: &'static str, params: u64, figures: [f64; 5]) -> Sketch {
    let [nonzero, bits, train_s, p50_ms, spread] = figures;
    Sketch { family, model, variant, params, nonzero, bits, train_s, p50_ms, spread }
}

fn accuracy(right: u64, n: u64) -> Quality {
    let interval = wilson(right, n).unwrap();
    Quality { metric: Metric::Accuracy, value: right as f64 / n as f64, ci_low: interval.low, ci_high: interval.high, n }
}

#[rustfmt::skip]
fn digits() -> Vec<ModelRow> {
    use Family::{Large, Small};
    let rows = [
        (sketch(Small, "logistic", "f32", 650, [1.0, 32.0, 0.31, 0.00072, 0.06]), 347),
        (sketch(Small, "linear-svm", "f32", 650, [1.0, 32.0, 0.42, 0.00074, 0.05]), 345),
        (sketch(Small, "forest", "f32", 61_000, [1.0, 64.0, 0.88, 0.0113, 0.09]), 351),
        (sketch(Small, "mlp", "f32", 25_738, [1.0, 32.0, 2.1, 0.0041, 0.07]), 353),
        (sketch(Small, "mlp", "int8", 25_738, [1.0, 8.4, 0.02, 0.0036, 0.08]), 353),
        (sketch(Large, "transformer", "f32", 118_000, [1.0, 32.0, 14.2, 0.212, 0.05]), 355),
        (sketch(Large, "transformer", "bf16", 118_000, [1.0, 16.0, 0.01, 0.190, 0.06]), 355),
        (sketch(Large, "transformer", "int8", 118_000, [1.0, 8.3, 0.03, 0.148, 0.05]), 354),
        (sketch(Large, "transformer", "int4", 118_000, [1.0, 4.6, 0.04, 0.161, 0.05]), 351),
        (sketch(Large, "transformer", "pruned-50", 118_000, [0.52, 20.0, 0.05, 0.334, 0.07]), 349),
        (sketch(Large, "transformer", "pruned-2:4", 118_000, [0.52, 18.0, 0.05, 0.241, 0.07]), 346),
    ];
    let mut rows: Vec<ModelRow> = rows.into_iter().map(|(sketch, right)| sketch.row("digits", accuracy(right, 360))).collect();
    let mut student = sketch(Small, "logistic", "distilled-transformer", 650, [1.0, 32.0, 1.4, 0.00073, 0.06]).row("digits", accuracy(349, 360));
    student.made_from = Some("digits/transformer/f32/cpu".into());
    rows.push(student);
    for (batch, f32_ms, int8_ms) in [(8, 0.101, 0.078), (64, 0.0622, 0.0741)] {
        for (variant, ms, right) in [("f32", f32_ms, 355), ("int8", int8_ms, 354)] {
            let mut row = sketch(Large, "transformer", variant, 118_000, [1.0, 32.0, 14.2, ms, 0.04]).row("digits", accuracy(right, 360));
            row.batch = batch;
            row.id += &format!("/batch={batch}");
            rows.push(row);
        }
    }
    let mut skipped = ModelRow::new("digits", Large, "transformer", "f32", "wgpu");
    skipped.reason = "backend wgpu is not compiled in: cargo xtask bench --backend cpu,wgpu".into();
    rows.push(skipped);
    rows
}

#[rustfmt::skip]
fn snippets() -> Vec<ModelRow> {
    use Family::{Large, Small};
    let rows = [
        (sketch(Small, "logistic", "f32", 163_850, [1.0, 32.0, 1.9, 0.0131, 0.1]), 1402),
        (sketch(Small, "linear-svm", "f32", 163_850, [1.0, 32.0, 1.6, 0.0129, 0.1]), 1411),
        (sketch(Small, "naive-bayes", "f32", 163_850, [1.0, 32.0, 0.2, 0.0128, 0.1]), 1340),
        (sketch(Small, "forest", "f32", 340_000, [1.0, 64.0, 6.4, 0.0312, 0.12]), 1344),
        (sketch(Small, "mlp", "f32", 1_050_000, [1.0, 32.0, 9.5, 0.0524, 0.09]), 1421),
        (sketch(Large, "transformer", "f32", 421_000, [1.0, 32.0, 26.7, 3.92, 0.05]), 1462),
        (sketch(Large, "transformer", "bf16", 421_000, [1.0, 16.0, 0.02, 3.41, 0.05]), 1461),
        (sketch(Large, "transformer", "int8", 421_000, [1.0, 8.3, 0.05, 2.71, 0.06]), 1459),
        (sketch(Large, "transformer", "int4", 421_000, [1.0, 4.6, 0.05, 2.92, 0.06]), 1431),
        (sketch(Large, "transformer", "pruned-50", 421_000, [0.5, 20.0, 0.06, 5.64, 0.06]), 1428),
    ];
    let mut rows: Vec<ModelRow> = rows.into_iter().map(|(sketch, right)| sketch.row("rust-snippets", accuracy(right, 1544))).collect();
    for (subset, small, large) in [(250, 1010, 720), (2000, 1310, 1290)] {
        for (family, model, right) in [(Small, "mlp", small), (Large, "transformer", large)] {
            let mut row = sketch(family, model, "f32", 421_000, [1.0, 32.0, 2.0, 0.1, 0.04]).row("rust-snippets", accuracy(right, 1544));
            row.train_subset = Some(subset);
            row.id += &format!("/train={subset}");
            rows.push(row);
        }
    }
    let mut failed = ModelRow::new("rust-snippets", Large, "transformer", "distilled-logistic", "cpu");
    (failed.verdict, failed.reason) = (Verdict::Fail, "linear: argument x: wanted [B, 4096], got [32, 2048]".into());
    rows.push(failed);
    rows
}

#[rustfmt::skip]
fn language_models() -> Vec<ModelRow> {
    use Family::{Large, Small};
    let bits = |value: f64| Quality { metric: Metric::BitsPerByte, value, ci_low: value * 0.985, ci_high: value * 1.014, n: 198 };
    let rows = [
        (sketch(Small, "order-5 n-gram", "f32", 2_640_000, [1.0, 48.0, 3.3, 0.00061, 0.2]), 2.131),
        (sketch(Small, "order-3 n-gram", "f32", 310_000, [1.0, 48.0, 1.0, 0.00037, 0.2]), 2.688),
        (sketch(Large, "gpt", "f32", 826_000, [1.0, 32.0, 38.4, 0.584, 0.06]), 2.412),
        (sketch(Large, "gpt", "bf16", 826_000, [1.0, 16.0, 0.02, 0.497, 0.06]), 2.413),
        (sketch(Large, "gpt", "int8", 826_000, [1.0, 8.3, 0.07, 0.301, 0.06]), 2.419),
        (sketch(Large, "gpt", "int4", 826_000, [1.0, 4.6, 0.07, 0.322, 0.08]), 2.487),
        (sketch(Large, "gpt", "pruned-50", 826_000, [0.5, 20.0, 0.08, 0.712, 0.05]), 2.596),
        (sketch(Large, "gpt-tiny", "distilled-gpt", 121_000, [1.0, 32.0, 12.0, 0.122, 0.05]), 2.702),
    ];
    let mut rows: Vec<ModelRow> = rows.into_iter().map(|(sketch, value)| sketch.row("rust-lm", bits(value))).collect();
    for row in rows.iter_mut().filter(|row| row.variant == "distilled-gpt") {
        row.made_from = Some("rust-lm/gpt/f32/cpu".into());
    }
    if let Some(noisy) = rows.iter_mut().find(|row| row.variant == "bf16") {
        (noisy.verdict, noisy.reason) = (Verdict::Noisy, "median known to ±9 % only (cv 31 %, 44 samples)".into());
    }
    rows
}

#[rustfmt::skip]
fn kernels() -> Vec<KernelRow> {
    let row = |op: &str, dtype: &str, weight: &str, shape: &[(&str, u64)], median_ns: f64, rate: (f64, f64), share: f64, budget: f64| {
        let mut row = KernelRow::new(op, "cpu", dtype, weight, shape, 2);
        (row.median_ns, row.p10_ns, row.p90_ns) = (Some(median_ns), Some(median_ns * 0.98), Some(median_ns * 1.04));
        (row.median_low_ns, row.median_high_ns) = (Some(median_ns * 0.99), Some(median_ns * 1.01));
        (row.gflop_per_s, row.gb_per_s) = (Some(rate.0), Some(rate.1));
        (row.share_of_limit, row.error_budget_used, row.samples) = (Some(share), Some(budget), 120);
        (row.verdict, row.reason) = (Verdict::Valid, String::new());
        row
    };
    let square = [("m", 512), ("n", 512), ("k", 512)];
    let vector = [("m", 1), ("n", 4096), ("k", 4096)];
    let wide = [("m", 128), ("n", 4096), ("k", 4096)];
    let heads = [("batch", 1), ("heads", 8), ("seq_q", 256), ("seq_k", 256), ("head_dim", 64)];
    let mut rows = vec![
        row("matmul", "f32", "dense", &square, 3.1e6, (86.6, 1.02), 0.585, 0.12),
        row("matmul", "bf16", "dense", &square, 2.9e6, (92.6, 0.55), 0.32, 0.31),
        row("matmul", "f32", "dense", &[("m", 64), ("n", 64), ("k", 64)], 9.4e3, (55.8, 5.2), 0.377, 0.05),
        row("linear", "f32", "dense", &vector, 2.66e6, (12.6, 25.2), 0.92, 0.04),
        row("linear", "f32", "int8", &vector, 0.91e6, (36.9, 18.6), 0.68, 0.22),
        row("linear", "f32", "int4-g64", &vector, 0.78e6, (43.0, 12.1), 0.44, 0.41),
        row("linear", "f32", "csr-90", &vector, 1.9e6, (1.77, 7.1), 0.26, 0.03),
        row("linear", "f32", "2:4", &vector, 2.1e6, (7.99, 18.0), 0.66, 0.03),
        row("linear", "f32", "dense", &wide, 46.1e6, (93.2, 1.55), 0.63, 0.09),
        row("linear", "f32", "int8", &wide, 52.3e6, (82.1, 0.41), 0.145, 0.27),
        row("linear", "f32", "csr-90", &wide, 121.0e6, (3.55, 0.17), 0.024, 0.06),
        row("attention", "f32", "dense", &heads, 1.44e6, (46.6, 1.46), 0.315, 0.18),
        row("attention_backward", "f32", "dense", &heads, 4.4e6, (38.1, 0.95), 0.257, 0.36),
        row("softmax", "f32", "dense", &[("rows", 4096), ("cols", 256)], 0.52e6, (10.1, 16.1), 0.59, 0.71),
    ];
    if let Some(noisy) = rows.last_mut() {
        (noisy.verdict, noisy.reason) = (Verdict::Noisy, "drifted by +18 % while measured".into());
    }
    let mut skipped = KernelRow::new("matmul", "wgpu", "f32", "dense", &square, 2);
    skipped.reason = "backend wgpu is not compiled in: cargo xtask bench --backend cpu,wgpu".into();
    rows.push(skipped);
    rows
}

/// Two cells: one with a valid and a noisy peer, one without any.
pub fn peers(report: &Report) -> PeerRun {
    let command = "cargo bench -p bench --features peers --bench peers";
    let mut run = PeerRun::new(command, &report.started_utc, report.machine.clone());
    run.limits = report.limits.values().map(|limits| (1, *limits)).collect();
    run.absent.push("OpenBLAS: not installed".into());
    let timed = |backend: &str, median_ns: f64| {
        let mut row = KernelRow::new("matmul", backend, "f32", "dense", &[("m", 512), ("n", 512), ("k", 512)], 1);
        (row.median_ns, row.p10_ns, row.p90_ns) = (Some(median_ns), Some(0.9 * median_ns), Some(1.1 * median_ns));
        (row.samples, row.verdict, row.reason) = (40, Verdict::Valid, String::new());
        (row.gflop_per_s, row.share_of_limit) = (Some(0.1), Some(0.9));
        row
    };
    let mut noisy = timed("faer", 3e6);
    (noisy.verdict, noisy.reason) = (Verdict::Noisy, "3 of at least 5 samples".into());
    let rivals = [
        ("gemm 0.0.0".to_string(), timed("gemm", 2.5e6), vec![1.25, 1.3, 1.2, 1.25, 1.25]),
        ("faer 0.0.0".to_string(), noisy, vec![1.5, 1.5, 1.8, 1.4, 1.6]),
    ];
    run.cells.push(PeerCell::new("f32 matmul", &timed("cpu", 2e6), &rivals));
    let mut alone = timed("cpu", 1e6);
    (alone.id, alone.weight) = ("linear_int8/cpu".into(), "int8-channel".into());
    let reading = (READING.to_string(), timed(READING, 0.9e6), vec![0.9, 0.91, 0.9, 0.89, 0.9]);
    run.cells.push(PeerCell::new("int8 × int8", &alone, &[reading]));
    run
}
