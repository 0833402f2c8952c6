#!/usr/bin/env bash
# Runs the tests and benchmarks of ptq4vit's CUDA backend on this machine's GPU and leaves one results file. Needs the NVIDIA
# driver, 525 or later, and cuBLAS 12 or 13 for the fast float32 products; nothing else. Where cuDNN 9 is, it is tested and
# compared as well. Steps are ordered by what they are worth, and each gets its share of the minutes. The results file grows line by
# line: a run that is cut off leaves what it had.
#
#   ./run.sh [OPTION...]
#
#   --minutes N            how long all of it may take (8)
#   --out FILE             results (gpu-results-DATE.md here)
#   --only STEP[,STEP...]  of device, smoke, contract-tests, gpu-tests, kernels, example, calibrations, racecheck, memcheck
#   --limit SECONDS        the most that any step may take, where that is less than its share
#   --cuda-libraries DIR   where alone libcuda.so.1 and cuBLAS are looked for; the emulated GPU's folder for a dry run
#   --small                small sizes, for a dry run
#   --model FILE           weights of ViT-Ti/16, or of another model, to calibrate there and on the CPU as a test; with --images
#   --images DIR           photographs to calibrate it on, four or more. Without both the bundle's own are taken, if it has any
#
# A step that fails does not stop the others; one whose time is over is stopped, which is no failure. Exit code: 0 if none failed,
# 1 if one did, 2 for wrong use.
set -euo pipefail
export LC_ALL=C
home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
date=$(date -u +%Y-%m-%d)
command_line="run.sh${*:+ $*}"
out=$PWD/gpu-results-$date.md
steps=(device smoke contract-tests gpu-tests kernels example calibrations racecheck memcheck)
# seconds of eight minutes
declare -A share=([device]=15 [smoke]=50 [contract-tests]=100 [gpu-tests]=60 [kernels]=90 [example]=15 [calibrations]=90 [racecheck]=30
    [memcheck]=30)
only=$(IFS=,; echo "${steps[*]}")
minutes=8
most=86400
libraries=
small=
model=
images=
usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
        --small) small=--small ;;
        --minutes | --out | --only | --limit | --cuda-libraries | --model | --images)
            [ $# -ge 2 ] || usage
            case $1 in
                --minutes) minutes=$2 ;;
                --out) out=$(realpath -m "$2") ;;
                --only) only=$2 ;;
                --limit) most=$2 ;;
                --cuda-libraries) libraries=$(realpath "$2") ;;
                --model) model=$(realpath "$2") ;;
                --images) images=$(realpath "$2") ;;
            esac
            shift
            ;;
        *) usage ;;
    esac
    shift
done
[[ $most =~ ^[1-9][0-9]*$ && $minutes =~ ^[1-9][0-9]*$ ]] || usage
[ -n "$model" ] && [ -n "$images" ] || [ -z "$model$images" ] || usage
for step in ${only//,/ }; do
    [[ " ${steps[*]} " == *" $step "* ]] || usage
done

cd "$home"
if [ -z "$model" ] && [ -d model ]; then
    model=$home/model/model.safetensors
    images=$home/model/images
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export JAVA_HOME=$home/jre
java=$JAVA_HOME/bin/java
options=(-Djava.awt.headless=true)
[ -z "$libraries" ] || options+=("-Dptq4vit.cuda.libraries=$libraries")
export PTQ4VIT_JAVA_OPTS="${options[*]}"
failures=0
stopped=0
: >"$work/summary"
: >"$work/body"
note() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }
summary() { printf '| %s | %s | %s |\n' "$1" "$2" "$3" >>"$work/summary"; }

# write_results STATE: the file as far as it is known: a head that says whether all is well, and what the steps told
write_results() {
    local verdict=passed
    [ "$failures" -eq 0 ] || verdict="FAILED ($failures)"
    [ "$stopped" -eq 0 ] || verdict="$verdict, $stopped stopped when their time was over"
    {
        if [ -n "$emulated" ]; then
            printf '# EMULATED GPU, %s: a dry run, its times mean nothing\n\n' "$date"
        else
            printf '# %s, %s\n\n' "${gpu:-no known GPU}" "$date"
        fi
        printf '**%s**: %s\n\n| step | result | seconds |\n|---|---|---|\n' "$verdict" "$1"
        cat "$work/summary"
        printf '\n| | |\n|---|---|\n'
        printf '| backend | %s |\n' "${name:-not available}"
        printf '| processor | %s, %s cores usable |\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
        printf '| load | %s |\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
        printf '| Java | %s |\n' "$java_version"
        printf '| commit | %s |\n' "$(cat COMMIT)"
        # shellcheck disable=SC2016
        printf '| command | `%s` |\n' "$command_line"
        cat "$work/body"
    } >"$out.tmp"
    mv "$out.tmp" "$out"
}

# limit STEP: seconds that it may take, of what is left for it and the steps after it; half a minute is worth it while there is time
limit() {
    local of all=0 seconds left=$((60 * minutes - SECONDS))
    for of in "${steps[@]}"; do
        [ "$of" != "$1" ] && [ "$all" -eq 0 ] || [[ ,$only, != *,$of,* ]] || all=$((all + share[$of]))
    done
    seconds=$((left * share[$1] / all))
    [ "$seconds" -ge 30 ] || seconds=$((left < 30 ? left : 30))
    echo $((seconds < most ? seconds : most))
}

# step NAME code|markdown|tests TITLE COMMAND...: how its output goes into the file
step() {
    local name=$1 kind=$2 title=$3 code=0 started=$SECONDS result=done seconds counts=
    shift 3
    [[ ,$only, == *,$name,* ]] || return 0
    seconds=$(limit "$name")
    if [ "$seconds" -lt 5 ]; then
        left_out "$name" "no time was left"
        return 0
    fi
    note "$name, at most $seconds s"
    write_results "$name runs"
    printf '\n## %s\n\n' "$title" >>"$out"
    # what it tells is in the file while it runs; which tests have started is not worth a line
    { timeout -k 5 "$seconds" "$@" 2>"$work/err" </dev/null || echo $? >"$work/code"; } | sed -u '/ :: STARTED$/d' \
        | tee "$work/out" >>"$out"
    if [ -f "$work/code" ]; then
        code=$(cat "$work/code")
        rm "$work/code"
    fi
    if [ "$kind" = tests ]; then
        counts=", $(grep -c ' :: SUCCESSFUL$' "$work/out" || true) tests passed, $(grep -c ' :: FAILED$' "$work/out" || true) failed"
    fi
    if { [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; } && ! grep -q ' :: FAILED$' "$work/out"; then
        stopped=$((stopped + 1))
        result="stopped after $seconds s, its share"
    elif [ "$code" -ne 0 ]; then
        failures=$((failures + 1))
        result="**failed**, exit code $code"
    fi
    note "$name: $result$counts"
    summary "$name" "$result$counts" "$((SECONDS - started))"
    {
        printf '\n## %s\n\n' "$title"
        case $kind in
            markdown) cat "$work/out" ;;
            tests) grep -v ' :: SUCCESSFUL$' "$work/out" >"$work/told" || true; code_block 100 "$work/told" ;;
            *) code_block 60 "$work/out" ;;
        esac
        if [ "$code" -ne 0 ]; then
            printf '\nThis step %s. The end of what it wrote to standard error:\n\n' "$result"
            code_block 40 "$work/err"
        fi
    } >>"$work/body"
    write_results "$name has ended"
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

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 || true)
java_version=$("$java" -version 2>&1 | sed -n 2p)
name=$(./ptq4vit devices 2>/dev/null | grep '^cuda' | tr -s ' ' || true)
emulated=
[[ $name != *emulated* ]] || emulated=yes

# only the CUDA backend: the others do not depend on the GPU
tests=("$java" -Xmx3g "${options[@]}" -Dptq4vit.tests.gpu=true -Dptq4vit.tests.backends=cuda
    "-Dptq4vit.tests.model=${model:-none}" "-Dptq4vit.tests.images=${images:-none}"
    -cp target/junit.jar:target/test-classes:target/ptq4vit.jar org.junit.platform.console.ConsoleLauncher execute
    --disable-banner --disable-ansi-colors --details=testfeed --fail-if-no-tests)
package=io.github.ptq4vit
smoke=("--select-class=$package.backend.EveryKernelTest")
contract=()
# in the order of their worth
for class in backend.ScoreContractTest backend.CudaScoreTest backend.QuantizedProductsContractTest backend.ReproducibleContractTest \
    backend.CodesContractTest backend.ProductsContractTest backend.SoftmaxContractTest backend.OperationsContractTest \
    backend.ScopeContractTest golden.FloatAgreementTest backend.cuda.KernelTimesTest backend.cuda.CudnnTest; do
    [ -n "$small" ] && [[ $class != *@(Scope|KernelTimes)* ]] || contract+=("--select-class=$package.$class")
done
sanitizer=$(command -v compute-sanitizer || true)
[ -n "$sanitizer" ] || [ ! -x /usr/local/cuda/bin/compute-sanitizer ] || sanitizer=/usr/local/cuda/bin/compute-sanitizer

step device code "Device" bash -euc device
step smoke tests "Every kernel once, beside what is right" "${tests[@]}" "${smoke[@]}"
step contract-tests tests "Contract of the backends and golden numbers, with the CUDA backend on this device" "${tests[@]}" "${contract[@]}"
if [ -n "$emulated" ]; then
    left_out gpu-tests "the device is emulated"
else
    step gpu-tests tests "Tests that only a real GPU can pass, with a real model if there is one" \
        "${tests[@]}" --scan-class-path=target/test-classes --include-tag=gpu
fi
benchmarks=("$java" -Xmx3g "${options[@]}" -cp benchmarks/benchmarks.jar:target/ptq4vit.jar)
step kernels markdown "Kernels, measured beside what was predicted" "${benchmarks[@]}" io.github.ptq4vit.benchmarks.GpuKernels \
    --predicted benchmarks/predicted-kernels.md ${small:+"$small"}
if [ -n "$small" ]; then
    step example code "The example model" ./ptq4vit calibrate --backend cuda --count 1 --preset base \
        --model examples/characters/model.safetensors --images examples/characters/calibration --out "$work/example"
else
    step example code "The example model" ./ptq4vit quickstart --backend cuda
fi
step calibrations markdown "Whole calibrations" "${benchmarks[@]}" io.github.ptq4vit.benchmarks.GpuCalibrations "$work/calibrations" \
    ${small:+"$small"}
if [ -n "$sanitizer" ]; then
    step racecheck tests "compute-sanitizer racecheck" \
        "$sanitizer" --tool racecheck --target-processes all --error-exitcode 9 "${tests[@]}" "${smoke[@]}"
    # without the cache of memory every array is an allocation of its own, whose ends are watched
    step memcheck tests "compute-sanitizer memcheck" env JAVA_TOOL_OPTIONS=-Dptq4vit.cuda.cache=false \
        "$sanitizer" --tool memcheck --target-processes all --error-exitcode 9 "${tests[@]}" "${smoke[@]}"
else
    left_out racecheck "there is no compute-sanitizer"
    left_out memcheck "there is no compute-sanitizer"
fi
write_results "all steps have ended, after $SECONDS s"
note "$failures steps failed, $stopped were stopped; results: $out"
[ "$failures" -eq 0 ]
