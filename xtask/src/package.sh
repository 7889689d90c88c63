#!/bin/sh
# Tests and measures the kernels of this package on the machine's first GPU. Leaves results.tgz. Takes about five minutes, or as long as
# SIZEWISE_CASES (a factor of the number of cases, 32 for 2,048 per op and more for the large families) makes it.
cd "$(dirname "$0")" || exit 1
here=$(pwd)
export SIZEWISE_CUDA_KERNELS="$here/kernels" SIZEWISE_CUDA=device
rm -rf results results.tgz

# Without a device that takes the kernels nothing below would say more.
if ! said=$(SIZEWISE_CASES=0.01 ./conformance fill/f32 2>&1); then
    echo "$said" | grep -m 1 -A 1 "is not available" || echo "$said"
    exit 1
fi
mkdir results
failed=0

{
    cat about.txt
    echo "date=$(date -u +%Y-%m-%d)"
    echo "cases=${SIZEWISE_CASES:=32}"
    if command -v nvidia-smi > /dev/null; then
        nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1 | sed 's/^\(.*\), \(.*\)$/device=\1\ndriver=\2/'
    fi
    echo "host=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
} > results/about.txt
cat results/about.txt

echo "checking the kernels against the reference"
SIZEWISE_CASES="$SIZEWISE_CASES" ./conformance > results/conformance.txt 2>&1 || failed=1
tail -n 3 results/conformance.txt

echo "repeating calls a thousand times, which must give the same bits"
SIZEWISE_CASES=0.02 SIZEWISE_REPEATS=1000 ./conformance > results/repeats.txt 2>&1 || failed=1
tail -n 3 results/repeats.txt

echo "checking launches that come as graphs"
SIZEWISE_CASES=1 SIZEWISE_CUDA_GRAPHS=1 ./conformance > results/graphs.txt 2>&1 || failed=1
tail -n 3 results/graphs.txt

if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck synccheck; do
        echo "compute-sanitizer, $tool"
        SIZEWISE_CASES=0.1 compute-sanitizer --tool "$tool" --error-exitcode 1 ./conformance --test-threads 1 > "results/$tool.txt" 2>&1 || failed=1
        tail -n 1 "results/$tool.txt"
    done
else
    echo "sanitizer=not installed" >> results/about.txt
fi

echo "counting what launches cost"
for graphs in on off; do
    said=$(SIZEWISE_CUDA_GRAPHS=$graphs ./launches 2>&1) || failed=1
    echo "graphs $graphs: $said" >> results/launches.txt
done
cat results/launches.txt

echo "measuring"
./sizewise-bench kernels --full --backend cuda --out results/runs > results/bench.txt 2>&1 || failed=1
tail -n 3 results/bench.txt

for dtype in bf16 f32; do
    ./gpt_speed --backend cuda --dtype "$dtype" >> results/gpt.txt 2>&1 || failed=1
done
tail -n 4 results/gpt.txt

if python3 -c 'import torch' 2> /dev/null; then
    echo "measuring PyTorch on the same shapes"
    report=$(find results/runs -name report.json -type f | head -n 1)
    python3 torch_peers.py "$report" results/torch.json > results/torch.txt 2>&1 || failed=1
    tail -n 3 results/torch.txt
else
    echo "torch=not installed" >> results/about.txt
fi

tar czf results.tgz results
echo "results.tgz: bring it back, then \`cargo xtask import-results results.tgz\`"
exit "$failed"
