// Approximations: the exact value, moved by a part of the error that the PTX ISA allows. Which part depends on the argument
// and on the setting "seed", so that nothing can rely on one device's answers.
#include "block.h"
#include "floats.h"
#include "numbers.h"

namespace emulator::ptx {

namespace {

// From -1 to 1.
double wobble(uint64_t seed, uint64_t bits) {
    uint64_t x = (bits + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 31) * 0x94d049bb133111ebu;
    x ^= x >> 29;
    return double(int64_t(x)) / 9223372036854775808.0;
}

double exponential(double a, double) { return std::exp2(a); }
double logarithm(double a, double) { return std::log2(a); }
double reciprocal(double a, double) { return 1 / a; }
double reciprocal_root(double a, double) { return 1 / std::sqrt(a); }
double root(double a, double) { return std::sqrt(a); }
double sine(double a, double) { return std::sin(a); }
double cosine(double a, double) { return std::cos(a); }
double hyperbolic_tangent(double a, double) { return std::tanh(a); }
double quotient(double a, double b) { return a / b; }

// Greatest error, relative to the value or absolute. PTX ISA, each instruction's "Precision".
struct Approximation {
    const char *opcode, *kind;
    double (*exact)(double, double);
    double relative, absolute;
    unsigned sources;
};

const Approximation KNOWN[] = {
        {"ex2", "approx", exponential, 0x1p-22, 0, 1},
        {"lg2", "approx", logarithm, 0, 0x1p-22, 1},
        {"rcp", "approx", reciprocal, 0x1p-23, 0, 1},
        {"rsqrt", "approx", reciprocal_root, 0x1p-22, 0, 1},
        {"sqrt", "approx", root, 0x1p-23, 0, 1},
        {"sin", "approx", sine, 0, 0x1p-20, 1},
        {"cos", "approx", cosine, 0, 0x1p-20, 1},
        {"tanh", "approx", hyperbolic_tangent, 0x1p-11, 0, 1},
        {"div", "approx", quotient, 0x1p-22, 0, 2},
        {"div", "full", quotient, 0x1p-22, 0, 2}};

void approximate(Warp& warp, const Operation& operation) {
    const Approximation& how = KNOWN[operation.number >> 1];
    bool ftz = operation.number & 1;
    auto *d = warp.row<float>(operation.at[0]), *first = warp.row<float>(operation.at[1]);
    auto* second = warp.row<float>(operation.at[how.sources]);
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (warp.is_active(lane)) {
            float a = ftz ? flush(first[lane]) : first[lane], b = ftz ? flush(second[lane]) : second[lane];
            double exact = how.exact(a, b), part = wobble(warp.block->launch().seed,
                    uint64_t(bits_as<uint32_t>(a)) << 32 | bits_as<uint32_t>(b));
            // what is exact stays so: 0, infinity, NaN, and powers of two of whole numbers
            bool moved = std::isfinite(exact) && exact != 0 && float(exact) != exact;
            float result = float(moved ? exact * (1 + part * how.relative) + part * how.absolute : exact);
            d[lane] = canonical(ftz ? flush(result) : result);
        }
    }
}

}  // namespace

bool add_approximation(Builder& builder, Modifiers& modifiers) {
    for (size_t i = 0; i < std::size(KNOWN); i++) {
        if (builder.instruction().opcode == KNOWN[i].opcode && modifiers.take(KNOWN[i].kind)) {
            bool ftz = modifiers.take("ftz");
            if (modifiers.type(builder.instruction()) != Type::f32) {
                builder.unknown();
            }
            Draft& draft = builder.simple(both(approximate), Pipe::special, Type::f32, KNOWN[i].sources);
            draft.operation.number = int64_t(i) << 1 | ftz;
            return true;
        }
    }
    return false;
}

}  // namespace emulator::ptx
