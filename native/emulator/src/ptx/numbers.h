// What floating-point instructions make of NaN and of numbers too small to be normal.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulator::ptx {

template <class To, class From> To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

// float32 instructions answer one NaN, whatever they got. x86 would keep a payload or answer another one.
inline float canonical(float x) {
    return x != x ? bits_as<float>(0x7fffffffu) : x;
}

// float64 instructions keep payloads, as x86 does.
inline double canonical(double x) {
    return x;
}

// .ftz
inline float flush(float x) {
    return std::fabs(x) < FLT_MIN ? std::copysign(0.0f, x) : x;
}

// .sat: NaN becomes zero.
inline float saturate(float x) {
    return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f;
}

}  // namespace emulator::ptx
