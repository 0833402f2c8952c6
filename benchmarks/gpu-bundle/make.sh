#!/usr/bin/env bash
# Bundles all that tests and benchmarks on a GPU need, for a Linux machine with a driver and neither Java nor network:
#
#   benchmarks/gpu-bundle/make.sh [--with-model FILE --images DIR] [--fast] [OUT.tar.xz]
#
#   --with-model FILE  takes a float16 copy of this model's weights along
#   --images DIR       and 64 of these photographs
#   --fast             packs in a hurry, to whatever size: for a rehearsal
#
# There: tar -xf OUT.tar.xz && gpu-bundle/run.sh
#
# Wants Maven, xz and a JDK 17 or later: JAVA_HOME, else that of the javac on the PATH. The other machine's glibc must
# not be older than the one that JDK is made for: a JDK made for old systems, such as Eclipse Temurin, suits the most.
set -euo pipefail
usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=
model=
images=
# what a person may carry, of which a model may take the rest
most_bytes=$((38 << 20))
most_bytes_with_model=$((64 << 20))
images_taken=64
level=-9e
while [ $# -gt 0 ]; do
    case $1 in
        --fast) level=-0 ;;
        --with-model | --images)
            [ $# -ge 2 ] || usage
            [ "$1" = --images ] && images=$(realpath "$2") || model=$(realpath "$2")
            shift
            ;;
        -*) usage ;;
        *) [ -z "$out" ] || usage; out=$1 ;;
    esac
    shift
done
[ -n "$model" ] && [ -n "$images" ] || [ -z "$model$images" ] || usage
out=$(realpath -m "${out:-$home/benchmarks/target/gpu-bundle.tar.xz}")
jdk=${JAVA_HOME:-$(dirname "$(dirname "$(realpath "$(command -v javac)")")")}
for tool in jlink jar; do
    if [ ! -x "$jdk/bin/$tool" ]; then
        echo "make.sh: there is no bin/$tool in $jdk; set JAVA_HOME to a JDK 17 or later" >&2
        exit 1
    fi
done
note() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }

cd "$home"
note "build"
mvn -q -B -ntp install -DskipTests -Pcudnn
mvn -q -B -ntp -f benchmarks/pom.xml package

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/gpu-bundle
# laid out like the project, so that its launcher works there
mkdir -p "$bundle/target" "$bundle/benchmarks" "$bundle/examples"
cp ptq4vit LICENSE NOTICE "$bundle/"
cp benchmarks/gpu-bundle/run.sh "$bundle/"
cp -r examples/characters "$bundle/examples/"
cp target/ptq4vit.jar "$bundle/target/"
cp -r target/lib target/test-classes "$bundle/target/"
# what no test on a GPU reads
rm -rf "$bundle"/target/test-classes/{image,models} "$bundle"/examples/characters/*.py
cp benchmarks/target/benchmarks.jar "$bundle/benchmarks/"
predicted=(benchmarks/results/*-predicted-kernels.md)
cp "${predicted[-1]}" "$bundle/benchmarks/predicted-kernels.md"
git describe --always --dirty --abbrev=12 >"$bundle/COMMIT" 2>/dev/null || echo unknown >"$bundle/COMMIT"

if [ -n "$model" ]; then
    note "model"
    mkdir -p "$bundle/model/images"
    "$jdk/bin/java" -cp benchmarks/target/benchmarks.jar io.github.ptq4vit.benchmarks.HalfModel "$model" "$bundle/model/model.safetensors"
    find -L "$images" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) | sort | head -n "$images_taken" >"$work/taken"
    xargs -d '\n' cp -t "$bundle/model/images" <"$work/taken"
    most_bytes=$most_bytes_with_model
fi

note "test launcher"
junit=$(sed -n '/<artifactId>junit-jupiter<\/artifactId>/{n;s/.*<version>5\.\(.*\)<\/version>.*/1.\1/p}' pom.xml)
mvn -q -B -ntp dependency:copy -Dartifact="org.junit.platform:junit-platform-console-standalone:$junit" \
    -DoutputDirectory="$work/junit" >&2
mv "$work"/junit/*.jar "$bundle/target/junit.jar"

note "repack the libraries"
# left out are JCuda's compilers, JNA's other systems and oneDNN's headers; xz packs what is not packed already far better
for library in "$bundle"/target/*.jar "$bundle"/target/lib/*.jar "$bundle"/benchmarks/*.jar; do
    rm -rf "$work/jar"
    mkdir "$work/jar"
    (
        cd "$work/jar"
        "$jdk/bin/jar" xf "$library"
        rm -rf lib/libJNvPTXCompiler* lib/libJNvrtc* org/bytedeco/*/linux-x86_64/include
        find . -path '*/jna/*jnidispatch*' ! -path '*/linux-x86-64/*' -delete
    )
    "$jdk/bin/jar" cf0M "$library" -C "$work/jar" .
done

note "Java runtime"
# images are read by java.desktop; JNA and JavaCPP want jdk.unsupported; jackson names java.sql
modules=java.base,java.desktop,java.logging,java.management,java.sql,jdk.unsupported
"$jdk/bin/jlink" --add-modules "$modules" --strip-debug --no-header-files --no-man-pages --output "$bundle/jre"
# what a distribution's JDK takes from its system to read images; the runtime's own folder is searched for it
for library in "$bundle"/jre/lib/lib{zip,javajpeg,lcms}.so; do
    ldd "$library" | awk '$1 ~ /^lib(z|jpeg|lcms2)\.so/ && $3 ~ /^\// { print $3 }' | xargs -r cp -L -t "$bundle/jre/lib"
done
# no screen and no sound there
rm -f "$bundle"/jre/lib/lib{awt_xawt,jawt,splashscreen,jsound,fontmanager,freetype}.so
"$bundle/jre/bin/java" -version 2>&1 | head -n 2 >&2

note "pack"
mkdir -p "$(dirname "$out")"
# one dictionary for all of it
tar -C "$work" -c gpu-bundle | xz -T1 "$level" >"$out.tmp"
bytes=$(stat -c %s "$out.tmp")
if [ "$level" = -9e ] && [ "$bytes" -gt "$most_bytes" ]; then
    echo "make.sh: the bundle has $bytes bytes, more than the $most_bytes that are aimed at; the largest parts:" >&2
    du -a "$bundle" | sort -rn | sed -n 1,15p >&2
fi
mv "$out.tmp" "$out"
note "$out, $((bytes >> 20)) MiB: tar -xf it and start gpu-bundle/run.sh"
