#!/bin/sh
# Tests and measures the kernels of this package on the machine's first GPU, and leaves results.tgz.
#
#     ./run.sh [PART...]
#
# Parts, all of them unless some are named, in this order: conformance, products, repeats, graphs, sanitizer, launches, bench, gpt, torch.
# Takes about ten minutes; SIZEWISE_CASES is a factor of the number of conformance's cases, 32 for 2,048 per op and more for the large
# families.
cd "$(dirname "$0")" || exit 1
here=$(pwd)
export SIZEWISE_CUDA_KERNELS="$here/kernels" SIZEWISE_CUDA=device
rm -rf results results.tgz
parts=" ${*:-conformance products repeats graphs sanitizer launches bench gpt torch} "
known=" conformance products repeats graphs sanitizer launches bench gpt torch "
for part in $parts; do
    case "$known" in *" $part "*) ;; *) echo "there is no part $part; parts are$known"; exit 64 ;; esac
done

wanted() {
    case "$parts" in *" $1 "*) echo "$2" ;; *) return 1 ;; esac
}

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

if wanted conformance "checking the kernels against the reference"; then
    SIZEWISE_CASES="$SIZEWISE_CASES" ./conformance > results/conformance.txt 2>&1 || failed=1
    tail -n 3 results/conformance.txt
fi

if wanted products "checking that all kernels for products give the same bits, and each kind of them against the reference"; then
    ./product_bits > results/product_bits.txt 2>&1 || failed=1
    tail -n 3 results/product_bits.txt
    for kind in small large hopper; do
        for op in matmul linear; do
            # Hopper's own are refused on other devices, which is no failure.
            SIZEWISE_CASES=8 SIZEWISE_CUDA_PRODUCTS=$kind ./conformance "$op/" > "results/$kind-$op.txt" 2>&1 ||
                grep -q "no device of compute capability 9.0" "results/$kind-$op.txt" || failed=1
            echo "$kind, $op: $(grep "^test result" "results/$kind-$op.txt" || echo "refused by this device")"
        done
    done
fi

if wanted repeats "repeating calls a thousand times, which must give the same bits"; then
    SIZEWISE_CASES=0.02 SIZEWISE_REPEATS=1000 ./conformance > results/repeats.txt 2>&1 || failed=1
    tail -n 3 results/repeats.txt
fi

if wanted graphs "checking launches that come as graphs"; then
    SIZEWISE_CASES=1 SIZEWISE_CUDA_GRAPHS=1 ./conformance > results/graphs.txt 2>&1 || failed=1
    tail -n 3 results/graphs.txt
fi

if wanted sanitizer "looking for accesses out of bounds and races"; then
    if command -v compute-sanitizer > /dev/null; then
        for tool in memcheck racecheck synccheck; do
            echo "compute-sanitizer, $tool"
            SIZEWISE_CASES=0.1 compute-sanitizer --tool "$tool" --error-exitcode 1 ./conformance --test-threads 1 > "results/$tool.txt" 2>&1 || failed=1
            tail -n 1 "results/$tool.txt"
        done
    else
        echo "sanitizer=not installed" >> results/about.txt
    fi
fi

if wanted launches "counting what launches cost"; then
    for graphs in on off; do
        said=$(SIZEWISE_CUDA_GRAPHS=$graphs ./launches 2>&1) || failed=1
        echo "graphs $graphs: $said" >> results/launches.txt
    done
    cat results/launches.txt
fi

if wanted bench "measuring kernels"; then
    ./sizewise-bench kernels --full --backend cuda --out results/runs > results/bench.txt 2>&1 || failed=1
    tail -n 3 results/bench.txt
fi

if wanted gpt "measuring a decoder of GPT-2's size"; then
    for dtype in bf16 f32; do
        ./gpt_speed --backend cuda --dtype "$dtype" >> results/gpt.txt 2>&1 || failed=1
    done
    tail -n 4 results/gpt.txt
fi

if wanted torch "measuring PyTorch on the same shapes"; then
    report=$(find results/runs -name report.json -type f 2> /dev/null | head -n 1)
    if [ -z "$report" ]; then
        echo "PyTorch is measured on the shapes of bench, which has not run: name both parts"
        failed=1
    elif python3 -c 'import torch' 2> /dev/null; then
        python3 torch_peers.py "$report" results/torch.json > results/torch.txt 2>&1 || failed=1
        tail -n 3 results/torch.txt
    else
        echo "torch=not installed" >> results/about.txt
    fi
fi

tar czf results.tgz results
echo "results.tgz: bring it back, then \`cargo xtask import-results results.tgz\`"
exit "$failed"
