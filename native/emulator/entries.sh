#!/bin/sh
# Reads a preprocessed .cu, whose entries are marked EMULATED_KERNEL, and writes a source that includes it ($1) and lists them.
set -eu
cat <<HEAD
#include "$1"
extern "C" __attribute__((visibility("default"))) const emulator::Entry* emulator_entries() {
    static const emulator::Entry entries[] = {
HEAD
tr '\n' ' ' | grep -oE 'EMULATED_KERNEL +void +[A-Za-z0-9_]+ *\(' \
    | sed -E 's/.*void +([A-Za-z0-9_]+).*/        emulator::Kernel<\1>::entry("\1"),/'
cat <<TAIL
        {nullptr, nullptr, 0, nullptr}};
    return entries;
}
extern "C" __attribute__((visibility("default"))) void* emulator_shared_anchor() {
    static thread_local char anchor;
    return &anchor;
}
TAIL
