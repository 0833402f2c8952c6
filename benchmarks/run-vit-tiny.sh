#!/usr/bin/env bash
# Whole runs on a real model: calibration times, memory, accuracy. Writes a dated table.
#
#   benchmarks/run-vit-tiny.sh MODEL CALIB_DIR VAL_DIR LABELS [OUT.md]
#
# Environment: RUNS (3) calibrations of each kind, of which the median counts; EVAL_OPTIONS for evaluate, such as
# "--resize none" for validation images that were resized before; SEARCHES ("ptq4vit:8 ptq4vit:6 base:8") to compare the
# progressive with the exhaustive search on, empty for none; COUNTS ("32 128") of images. The machine should have nothing else to do.
set -euo pipefail
export LC_ALL=C

if [ $# -lt 4 ] || [ $# -gt 5 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=$(realpath "$1") calib=$(realpath "$2") val=$(realpath "$3") labels=$(realpath "$4")
date=$(date -u +%Y-%m-%d)
out=$(realpath -m "${5:-$home/benchmarks/results/$date-$(basename "$(dirname "$model")").md}")
runs=${RUNS:-3}
searches=${SEARCHES-ptq4vit:8 ptq4vit:6 base:8}
read -r -a counts <<<"${COUNTS:-32 128}"
main=${counts[0]}
read -r -a eval_options <<<"${EVAL_OPTIONS:-}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
report=$work/report.md
tool=$home/ptq4vit

say() { printf '%s\n' "$*" >>"$report"; }
note() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }
# number NAME FILE: a number of a flat JSON object
number() { sed -n "s/.*\"$1\":\([-+0-9.eE]*\).*/\1/p" "$2"; }
of() { awk -v v="$1" -v f="$2" -v d="${3:-1}" 'BEGIN { printf f, v / d }'; }
percent() { of "$1" '%.2f' 0.01; }
# median NAME FILE...: of that number in these files
median() {
    local name=$1
    shift
    for file in "$@"; do number "$name" "$file"; done | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
# calibrate LABEL SEARCH PRESET BITS COUNT RUN: also keeps how long the whole command took
calibrate() {
    local start=$EPOCHREALTIME
    note "calibrate $1: $3, $4 bits, $5 images, $2, run $6"
    "$tool" calibrate --model "$model" --images "$calib" --preset "$3" --w-bits "$4" --a-bits "$4" --count "$5" \
        --search "$2" --timings --json --force --out "$work/$1" >"$work/$1.$6.json" 2>>"$work/log" \
        || { tail -n 5 "$work/log" >&2; exit 1; }
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "{\"whole\":%.2f}\n", b - a }' >"$work/$1.$6.whole"
}
# evaluate LABEL ARGUMENT...
evaluate() {
    local label=$1
    shift
    note "evaluate $label"
    "$tool" evaluate --images "$val" --labels "$labels" ${eval_options[@]+"${eval_options[@]}"} --json "$@" \
        >"$work/eval-$label.json" 2>>"$work/log" || { tail -n 5 "$work/log" >&2; exit 1; }
}

device=$("$tool" devices | sed -n 1p)
commit=$(git -C "$home" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
say "# $(basename "$(dirname "$model")"), $date"
say
say "| | |"
say "|---|---|"
say "| processor | $(lscpu | sed -n 's/^Model name: *//p' | head -n 1), $(nproc) cores usable |"
say "| instructions | $(grep -o -w -E 'avx2|avx512f|avx512_vnni|avx_vnni|amx_int8' /proc/cpuinfo | sort -u | tr '\n' ' ') |"
say "| load before the first run | $(cut -d' ' -f1-3 /proc/loadavg) |"
say "| backend | $(tr -s ' ' <<<"$device") |"
say "| Java | $(java -version 2>&1 | sed -n 2p) |"
say "| commit | $commit |"
say "| command | \`${EVAL_OPTIONS:+EVAL_OPTIONS=\"$EVAL_OPTIONS\" }benchmarks/run-vit-tiny.sh MODEL CALIB_DIR VAL_DIR LABELS\` |"
say
say "## Calibration"
say
say "W8A8, preset \`ptq4vit\`, medians of $runs runs, wall-clock seconds: of the whole command, and of the calibration itself (images loaded, Java started)."
say
say "| images | search | whole command | calibration | of it searching | all calibrations | peak memory (GB) |"
say "|---|---|---|---|---|---|---|"
for count in "${counts[@]}"; do
    for search in exhaustive progressive; do
        repeat=$runs
        [ "$count" = "$main" ] || repeat=1
        for run in $(seq "$repeat"); do
            calibrate "$search-$count" "$search" ptq4vit 8 "$count" "$run"
        done
        files=("$work/$search-$count".*.json)
        all=$(for file in "${files[@]}"; do of "$(number seconds "$file")" '%.1f '; done)
        say "| $count | $search | $(of "$(median whole "$work/$search-$count".*.whole)" %.1f) | $(of "$(median seconds "${files[@]}")" %.1f) | $(of "$(median search_seconds "${files[@]}")" %.1f) | ${all% } | $(of "$(median peak_memory_bytes "${files[@]}")" %.2f 1e9) |"
    done
done
say
for count in "${counts[@]}"; do
    if cmp -s "$work/exhaustive-$count/model.safetensors" "$work/progressive-$count/model.safetensors"; then
        say "With $count images both searches wrote the same \`model.safetensors\`, byte for byte."
    else
        say "With $count images the two searches wrote DIFFERENT \`model.safetensors\`."
    fi
done
for search in exhaustive progressive; do
    say
    say "### Where the time goes: $search, $main images, first run"
    say
    say "| stage | seconds | share |"
    say "|---|---|---|"
    total=$(number seconds "$work/$search-$main.1.json")
    sed -n 's/.*"timings":{\([^}]*\)}.*/\1/p' "$work/$search-$main.1.json" | tr ',' '\n' | tr -d '"' \
        | awk -F: -v t="$total" '{ printf "| %s | %.2f | %.1f %% |\n", $1, $2, 100 * $2 / t }' >>"$report"
done

evaluate float --model "$model"
say
say "## Accuracy"
say
say "$(number images "$work/eval-float.json") images, calibrated on $main, compared with float32 image by image; one image is $(of 100 %.2f "$(number images "$work/eval-float.json")") points."
say
say "| model | top-1 % | to float (points) | top-5 % | agreement % | only float right % | only quantised right % | images a second |"
say "|---|---|---|---|---|---|---|---|"
say "| float32 | $(percent "$(number top1 "$work/eval-float.json")") | | $(percent "$(number top5 "$work/eval-float.json")") | | | | $(of "$(number images_per_second "$work/eval-float.json")" %.1f) |"
for bits in 8 6; do
    for preset in base ptq4vit; do
        label=$preset-w${bits}a$bits
        calibrate "$label" progressive "$preset" "$bits" "$main" 1
        evaluate "$label" --model "$work/$label" --against "$model"
        file=$work/eval-$label.json
        points=$(awk -v a="$(number top1 "$file")" -v b="$(number float_top1 "$file")" 'BEGIN { printf "%+.2f", 100 * (a - b) }')
        say "| $preset W${bits}A$bits | $(percent "$(number top1 "$file")") | $points | $(percent "$(number top5 "$file")") | $(percent "$(number agreement "$file")") | $(percent "$(number only_float_right "$file")") | $(percent "$(number only_quantized_right "$file")") | $(of "$(number images_per_second "$file")" %.1f) |"
    done
done
say
say "The float32 forward pass of 32 images takes $(of 32 %.3f "$(number images_per_second "$work/eval-float.json")") s while images are being decoded; \`ForwardBenchmark\` measures it alone."

if [ -n "$searches" ]; then
    jar=$home/benchmarks/target/benchmarks.jar
    if [ -f "$jar" ]; then
        note "compare searches: $searches"
        say
        say "## Progressive against exhaustive search, and what the threads do, $main images"
        say
        # shellcheck disable=SC2086
        java -Xmx2g -cp "$jar" io.github.ptq4vit.benchmarks.SearchComparison "$model" "$calib" "$main" $searches \
            2>>"$work/log" | sed 's/^/* /' >>"$report"
    else
        note "no $jar, so the searches are not compared; see benchmarks/README.md"
    fi
fi
mkdir -p "$(dirname "$out")"
cp "$report" "$out.tmp"
mv "$out.tmp" "$out"
note "written to $out"
