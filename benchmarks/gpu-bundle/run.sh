#!/usr/bin/env bash
# Runs the tests and benchmarks of ptq4vit's CUDA backend on this machine's GPU and leaves one results file. Needs the NVIDIA
# driver, 525 or later, and cuBLAS 12 or 13 for the fast float32 products; nothing else. Where cuDNN 9 is, it is tested and
# compared as well. Takes up to an hour.
#
#   ./run.sh [OPTION...]
#
#   --out FILE             results (gpu-results-DATE.md here)
#   --only STEP[,STEP...]  of device, gpu-tests, contract-tests, memcheck, racecheck, example, kernels, calibrations
#   --limit SECONDS        the most that any step may take, where that is less than its own limit
#   --cuda-libraries DIR   where alone libcuda.so.1 and cuBLAS are looked for; the emulated GPU's folder for a dry run
#   --small                small sizes, for a dry run
#   --model FILE           weights of ViT-Ti/16, or of another model, to calibrate there and on the CPU as a test; with --images
#   --images DIR           photographs to calibrate it on, four or more
#
# A step that fails does not stop the others. Exit code: 0 if none failed, 1 if one did, 2 for wrong use.
set -euo pipefail
export LC_ALL=C
home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
date=$(date -u +%Y-%m-%d)
command_line="run.sh${*:+ $*}"
out=$PWD/gpu-results-$date.md
only=device,gpu-tests,contract-tests,memcheck,racecheck,example,kernels,calibrations
steps=$only
most=86400
libraries=
small=
real_model=()
usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
        --small) small=--small ;;
        --out | --only | --limit | --cuda-libraries | --model | --images)
            [ $# -ge 2 ] || usage
            case $1 in
                --out) out=$(realpath -m "$2") ;;
                --only) only=$2 ;;
                --limit) most=$2 ;;
                --cuda-libraries) libraries=$(realpath "$2") ;;
                --model) real_model+=("-Dptq4vit.tests.model=$(realpath "$2")") ;;
                --images) real_model+=("-Dptq4vit.tests.images=$(realpath "$2")") ;;
            esac
            shift
            ;;
        *) usage ;;
    esac
    shift
done
[[ $most =~ ^[1-9][0-9]*$ ]] || usage
[ "${#real_model[@]}" -eq 0 ] || [ "${#real_model[@]}" -eq 2 ] || usage
for step in ${only//,/ }; do
    [[ ,$steps, == *,$step,* ]] || usage
done

cd "$home"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export JAVA_HOME=$home/jre
java=$JAVA_HOME/bin/java
options=(-Djava.awt.headless=true)
[ -z "$libraries" ] || options+=("-Dptq4vit.cuda.libraries=$libraries")
export PTQ4VIT_JAVA_OPTS="${options[*]}"
failures=0
note() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }
summary() { printf '| %s | %s | %s |\n' "$1" "$2" "$3" >>"$work/summary"; }

# step NAME LIMIT code|markdown TITLE COMMAND...: how its output goes into the file
step() {
    local name=$1 limit=$2 kind=$3 title=$4 code=0 started=$SECONDS result=done
    shift 4
    [[ ,$only, == *,$name,* ]] || return 0
    [ "$limit" -lt "$most" ] || limit=$most
    note "$name, at most $limit s"
    timeout -k 10 "$limit" "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    if [ "$code" -ne 0 ]; then
        failures=$((failures + 1))
        result="**failed**, exit code $code"
        { [ "$code" -ne 124 ] && [ "$code" -ne 137 ]; } || result="**failed**, stopped after $limit s"
        note "$name: $result"
    fi
    summary "$name" "$result" "$((SECONDS - started))"
    {
        printf '\n## %s\n\n' "$title"
        if [ "$kind" = markdown ]; then
            cat "$work/out"
        else
            code_block 60 "$work/out"
        fi
        if [ "$code" -ne 0 ]; then
            printf '\nThis step %s. The end of what it wrote to standard error:\n\n' "$result"
            code_block 40 "$work/err"
        fi
    } >>"$work/body"
}
# code_block LINES FILE: the last lines
code_block() {
    # shellcheck disable=SC2016
    printf '```\n%s\n```\n' "$(tail -n "$1" "$2")"
}
# left_out NAME REASON
left_out() {
    [[ ,$only, == *,$1,* ]] || return 0
    note "$1: left out, $2"
    summary "$1" "left out: $2" ""
}

device() {
    ./ptq4vit devices
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --format=csv \
            --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit,persistence_mode
    else
        echo "there is no nvidia-smi"
    fi
    ./ptq4vit devices --json | grep -q '"name":"cuda","available":true' || { echo "there is no usable GPU" >&2; exit 1; }
}
export -f device

name=$(./ptq4vit devices 2>/dev/null | grep '^cuda' | tr -s ' ' || true)
emulated=
[[ $name != *emulated* ]] || emulated=yes
: >"$work/summary"
: >"$work/body"

tests=("$java" -Xmx3g "${options[@]}" "${real_model[@]}" -Dptq4vit.tests.gpu=true
    -cp target/junit.jar:target/test-classes:target/ptq4vit.jar org.junit.platform.console.ConsoleLauncher execute
    --disable-banner --disable-ansi-colors --details=summary --fail-if-no-tests --scan-class-path=target/test-classes)
contract='.*(ContractTest|FloatAgreementTest|TransfersTest|KernelTimesTest|CudnnTest)'
checked='.*(ContractTest|TransfersTest)'
raced='.*(Score|Operations|Softmax|QuantizedProducts)ContractTest'
if [ -n "$small" ]; then
    contract='.*(ScopeContractTest|KernelTimesTest)'
    checked='.*ScopeContractTest'
    raced=$checked
fi
sanitizer=$(command -v compute-sanitizer || true)
[ -n "$sanitizer" ] || [ ! -x /usr/local/cuda/bin/compute-sanitizer ] || sanitizer=/usr/local/cuda/bin/compute-sanitizer

step device 60 code "Device" bash -euc device
if [ -n "$emulated" ]; then
    left_out gpu-tests "the device is emulated"
else
    step gpu-tests 900 code "Tests that only a real GPU can pass" "${tests[@]}" --include-tag=gpu
fi
step contract-tests 900 code "Contract of the backends, golden numbers, transfers, with the CUDA backend on this device" \
    "${tests[@]}" --include-classname="$contract"
if [ -n "$sanitizer" ]; then
    # without the cache of memory every array is an allocation of its own, whose ends are watched
    step memcheck 900 code "compute-sanitizer memcheck" env JAVA_TOOL_OPTIONS=-Dptq4vit.cuda.cache=false \
        "$sanitizer" --tool memcheck --target-processes all --error-exitcode 9 "${tests[@]}" --include-classname="$checked"
    step racecheck 900 code "compute-sanitizer racecheck" \
        "$sanitizer" --tool racecheck --target-processes all --error-exitcode 9 "${tests[@]}" --include-classname="$raced"
else
    left_out memcheck "there is no compute-sanitizer"
    left_out racecheck "there is no compute-sanitizer"
fi
if [ -n "$small" ]; then
    step example 300 code "The example model" ./ptq4vit calibrate --backend cuda --count 1 --preset base \
        --model examples/characters/model.safetensors --images examples/characters/calibration --out "$work/example"
else
    step example 300 code "The example model" ./ptq4vit quickstart --backend cuda
fi
benchmarks=("$java" -Xmx3g "${options[@]}" -cp benchmarks/benchmarks.jar:target/ptq4vit.jar)
step kernels 600 markdown "Kernels" "${benchmarks[@]}" io.github.ptq4vit.benchmarks.GpuKernels ${small:+"$small"}
step calibrations 1800 markdown "Whole calibrations" "${benchmarks[@]}" io.github.ptq4vit.benchmarks.GpuCalibrations \
    "$work/calibrations" ${small:+"$small"}

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 || true)
{
    if [ -n "$emulated" ]; then
        printf '# EMULATED GPU, %s: a dry run, its times mean nothing\n\n' "$date"
    else
        printf '# %s, %s\n\n' "${gpu:-no known GPU}" "$date"
    fi
    printf '| | |\n|---|---|\n'
    printf '| backend | %s |\n' "${name:-not available}"
    printf '| processor | %s, %s cores usable |\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
    printf '| load after the last step | %s |\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
    printf '| Java | %s |\n' "$("$java" -version 2>&1 | sed -n 2p)"
    printf '| commit | %s |\n' "$(cat COMMIT)"
    # shellcheck disable=SC2016
    printf '| command | `%s` |\n\n' "$command_line"
    printf '| step | result | seconds |\n|---|---|---|\n'
    cat "$work/summary"
    cat "$work/body"
} >"$out.tmp"
mv "$out.tmp" "$out"
note "$failures steps failed; results: $out"
[ "$failures" -eq 0 ]
