// What PTX does in warps and blocks, and the faults that are found there.
#include "ptx_program.h"
#include "ptx_tests.h"

namespace {

// out[lane] = what a body leaves in %r3; %r0 is the lane.
std::vector<uint32_t> run(const std::string& body, unsigned threads = 32, int line = __builtin_LINE()) {
    Memory out(threads * 4);
    int code = launch(program("\tmov.u32 %r0, %tid.x;\n\tld.param.u64 %l0, [f_0];\n\tmad.wide.u32 %l1, %r0, 4, %l0;\n" + body
            + "\n\tst.global.u32 [%l1], %r3;", 1), 1, threads, 256, out.address);
    check(code == 0, body + " answered " + std::to_string(code), line);
    return out.read<uint32_t>();
}

template <class F> void lanes_are(const std::string& body, F expected, int line = __builtin_LINE()) {
    std::vector<uint32_t> found = run(body, 32, line);
    for (uint32_t lane = 0; lane < 32; lane++) {
        check(found[lane] == uint32_t(expected(lane)), body + ": lane " + std::to_string(lane) + " has " + std::to_string(found[lane]),
                line);
    }
}

// A launch of a body that has to fail with words.
void fails(const std::string& body, int expected, const std::string& words, unsigned threads = 32, unsigned shared = 0,
        int line = __builtin_LINE()) {
    Memory memory(1024);
    std::vector<char> zeros(1024, 0);
    cuMemcpyHtoD_v2(memory.address, zeros.data(), zeros.size());
    int code = launch(program("\tmov.u32 %r0, %tid.x;\n\tld.param.u64 %l0, [f_0];\n" + body, 1), 1, threads, shared, memory.address);
    std::string said = emulator_last_words();
    check(code == expected && said.find(words) != std::string::npos, "answered " + std::to_string(code) + " and said \"" + said
            + "\", not " + std::to_string(expected) + " with \"" + words + "\"", line);
}

// c[16][8] = a[16][32] b[32][8] of one warp, fragments loaded here by the tables of the PTX ISA, not those of the emulator.
void matrix_product() {
    std::vector<int8_t> a(16 * 32), b(32 * 8);
    for (size_t i = 0; i < a.size(); i++) a[i] = int8_t(i * 37 % 256 - 128);
    for (size_t i = 0; i < b.size(); i++) b[i] = int8_t(i * 91 % 256 - 128);
    std::vector<uint32_t> fragments(32 * 6);
    for (unsigned lane = 0; lane < 32; lane++) {
        for (unsigned i = 0; i < 4; i++) {
            for (unsigned j = 0; j < 4; j++) {
                unsigned row = lane / 4 + (i % 2) * 8, k = lane % 4 * 4 + j + i / 2 * 16;
                fragments[6 * lane + i] |= uint32_t(uint8_t(a[row * 32 + k])) << 8 * j;
                if (i < 2) {
                    unsigned k_b = lane % 4 * 4 + j + i * 16;
                    fragments[6 * lane + 4 + i] |= uint32_t(uint8_t(b[k_b * 8 + lane / 4])) << 8 * j;
                }
            }
        }
    }
    Memory in(fragments), out(16 * 8 * 4);
    std::string body = "\tmov.u32 %r0, %tid.x;\n\tld.param.u64 %l0, [f_0];\n\tld.param.u64 %l1, [f_1];\n\tmad.wide.u32 %l2, %r0, 24, %l0;\n";
    for (int i = 0; i < 6; i++) {
        body += "\tld.global.u32 %r" + std::to_string(10 + i) + ", [%l2+" + std::to_string(4 * i) + "];\n";
    }
    // row lane / 4, columns 2 (lane % 4) and the next; 8 rows further down
    body += "\tmov.u32 %r20, 1000;\n\tmma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r21, %r22, %r23, %r24}, {%r10, %r11, %r12, %r13},"
            " {%r14, %r15}, {%r20, %r20, %r20, %r20};\n\tmad.wide.u32 %l3, %r0, 8, %l1;\n"
            "\tst.global.v2.u32 [%l3], {%r21, %r22};\n\tst.global.v2.u32 [%l3+256], {%r23, %r24};";
    check(launch(program(body, 2), 1, 32, 0, in.address, out.address) == 0, "a product runs");
    std::vector<int32_t> found = out.read<int32_t>();
    for (size_t row = 0; row < 16; row++) {
        for (size_t column = 0; column < 8; column++) {
            int32_t sum = 1000;
            for (size_t k = 0; k < 32; k++) {
                sum += a[row * 32 + k] * b[k * 8 + column];
            }
            check(found[row * 8 + column] == sum, "product at " + std::to_string(row) + ", " + std::to_string(column));
        }
    }
}

}  // namespace

void warps() {
    lanes_are("shfl.sync.bfly.b32 %r3|%p1, %r0, 3, 31, -1;", [](uint32_t lane) { return lane ^ 3; });
    lanes_are("shfl.sync.up.b32 %r3, %r0, 2, 0, -1;", [](uint32_t lane) { return lane < 2 ? lane : lane - 2; });
    lanes_are("shfl.sync.down.b32 %r3, %r0, 2, 31, -1;", [](uint32_t lane) { return lane > 29 ? lane : lane + 2; });
    // segments of 8 lanes
    lanes_are("shfl.sync.idx.b32 %r3, %r0, 1, 0x181f, -1;", [](uint32_t lane) { return lane / 8 * 8 + 1; });
    lanes_are("shfl.sync.down.b32 %r4|%p1, %r0, 5, 31, -1;\n selp.u32 %r3, 1, 0, %p1;", [](uint32_t lane) { return lane < 27; });
    lanes_are("and.b32 %r4, %r0, 1;\n setp.eq.u32 %p1, %r4, 0;\n vote.sync.ballot.b32 %r3, %p1, -1;", [](uint32_t) { return 0x55555555; });
    lanes_are("setp.lt.u32 %p1, %r0, 31;\n vote.sync.all.pred %p2, %p1, -1;\n vote.sync.any.pred %p3, %p1, -1;\n selp.u32 %r3, 1, 0, %p2;\n"
            "@%p3 add.u32 %r3, %r3, 2;", [](uint32_t) { return 2; });
    lanes_are("redux.sync.add.u32 %r3, %r0, -1;", [](uint32_t) { return 496; });
    lanes_are("sub.s32 %r4, %r0, 40;\n redux.sync.max.s32 %r3, %r4, -1;", [](uint32_t) { return -9; });
    for (long divided : {0, 1}) {
        emulator_set("divided", divided);
        // two halves with a mask each, one after the other or at once
        lanes_are("setp.lt.u32 %p1, %r0, 16;\n @%p1 bra A;\n shfl.sync.bfly.b32 %r3, %r0, 2, 31, 0xffff0000;\n bra B;\n"
                "A: shfl.sync.bfly.b32 %r3, %r0, 1, 31, 0x0000ffff;\nB:", [](uint32_t lane) { return lane < 16 ? lane ^ 1 : lane ^ 2; });
        // lanes that come later by different ways
        lanes_are("mov.u32 %r4, 0;\nL: add.u32 %r4, %r4, 1;\n setp.lt.u32 %p1, %r4, %r0;\n @%p1 bra L;\n shfl.sync.idx.b32 %r3, %r4, 31, 31, -1;",
                [](uint32_t) { return 31; });
        lanes_are("setp.lt.u32 %p1, %r0, 9;\n @%p1 bra A;\nA: activemask.b32 %r3;",
                [&](uint32_t lane) { return !divided ? ~0u : lane < 9 ? 0x1ff : ~0x1ffu; });
    }
    emulator_restore_settings();
    matrix_product();
}

void memory_of_blocks() {
    // static and dynamic shared memory, by shared and by generic addresses
    std::string shared = "\t.shared .align 4 .b8 fixed[256];\n";
    Memory out(64 * 4), counter(std::vector<uint32_t>{5, 0});
    std::string body = "\tmov.u32 %r0, %tid.x;\n\tld.param.u64 %l0, [f_0];\n\tmad.wide.u32 %l1, %r0, 4, %l0;\n"
            "\tmov.u32 %r1, fixed;\n\tmad.lo.u32 %r2, %r0, 4, %r1;\n\tst.shared.u32 [%r2], %r0;\n"
            "\tmov.u64 %l2, dynamic;\n\tcvta.shared.u64 %l3, %l2;\n\tmad.wide.u32 %l4, %r0, 4, %l3;\n\tshl.b32 %r4, %r0, 8;\n"
            "\tst.u32 [%l4], %r4;\n\tbar.sync 0;\n\txor.b32 %r5, %r0, 33;\n\tmad.lo.u32 %r6, %r5, 4, %r1;\n\tld.shared.u32 %r7, [%r6];\n"
            "\tmad.wide.u32 %l5, %r5, 4, %l3;\n\tld.u32 %r8, [%l5];\n\tor.b32 %r9, %r7, %r8;\n\tst.global.u32 [%l1], %r9;";
    check(launch(program(body, 1, shared), 1, 64, 256, out.address) == 0, "shared memory runs");
    std::vector<uint32_t> found = out.read<uint32_t>();
    for (uint32_t i = 0; i < 64; i++) {
        check(found[i] == ((i ^ 33) | (i ^ 33) << 8), "shared memory of thread " + std::to_string(i));
    }
    lanes_are("ld.param.u32 %r3, [f_0];\n mov.b64 %l5, f_0;\n ld.param.u32 %r4, [%l5+4];\n mov.b64 %l6, {%r3, %r4};\n"
            "setp.eq.s64 %p1, %l6, %l0;\n selp.u32 %r3, 1, 0, %p1;", [](uint32_t) { return 1; });
    std::string local = "\t.local .align 8 .b8 depot[16];\n";
    body = "\tmov.u32 %r0, %tid.x;\n\tld.param.u64 %l0, [f_0];\n\tmad.wide.u32 %l1, %r0, 4, %l0;\n\tmov.u64 %l2, depot;\n"
            "\tst.local.u32 [%l2+8], %r0;\n\tcvta.local.u64 %l3, %l2;\n\tld.s8 %r3, [%l3+8];\n\tst.global.u32 [%l1], %r3;";
    check(launch(program(body, 1, local), 1, 64, 0, out.address) == 0 && out.read<uint32_t>()[63] == 63, "local memory");
    body = "\tld.param.u64 %l0, [f_0];\n\tatom.global.add.u32 %r1, [%l0], 1;\n\tred.global.max.u32 [%l0+4], %r1;";
    check(launch(program(body, 1), 7, 50, 0, counter.address) == 0 && counter.read<uint32_t>() == std::vector<uint32_t>({355, 354}),
            "atomic operations");
    // a barrier of half the block, and votes at one
    std::vector<uint32_t> votes = run("setp.ge.u32 %p1, %r0, 64;\n @%p1 bra A;\n bar.sync 1, 64;\nA: setp.lt.u32 %p2, %r0, 100;\n"
            "bar.red.popc.u32 %r3, 0, %p2;\n bar.red.and.pred %p3, 0, %p2;\n @%p3 add.u32 %r3, %r3, 1000;", 128);
    check(votes == std::vector<uint32_t>(128, 100), "barriers with counts and votes");
    std::vector<unsigned char> bytes(32 * 16);
    for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<unsigned char>(i * 7);
    Memory in(bytes), copied(bytes.size());
    // of the second half of the lanes only 5 bytes are read
    body = "\tmov.u32 %r0, %tid.x;\n\tld.param.u64 %l0, [f_0];\n\tld.param.u64 %l1, [f_1];\n\tmad.wide.u32 %l2, %r0, 16, %l0;\n"
            "\tmad.wide.u32 %l3, %r0, 16, %l1;\n\tmov.u32 %r1, dynamic;\n\tmad.lo.u32 %r2, %r0, 16, %r1;\n\tsetp.lt.u32 %p1, %r0, 16;\n"
            "\tselp.u32 %r3, 16, 5, %p1;\n\tcp.async.cg.shared.global [%r2], [%l2], 16, %r3;\n\tcp.async.commit_group;\n"
            "\tcp.async.commit_group;\n\tcp.async.wait_group 1;\n\tld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r2];\n"
            "\tst.global.v4.u32 [%l3], {%r4, %r5, %r6, %r7};";
    check(launch(program(body, 2), 1, 32, 512, in.address, copied.address) == 0, "asynchronous copies run");
    for (size_t i = 0; i < bytes.size(); i++) {
        bytes[i] = i < 256 || i % 16 < 5 ? bytes[i] : 0;
    }
    check(copied.read<unsigned char>() == bytes, "asynchronous copies");
    body.replace(body.find("wait_group 1"), 12, "wait_group 2");
    check(launch(program(body, 2), 1, 32, 512, in.address, copied.address) == 0 && copied.read<unsigned char>()[0] == 0xff,
            "bytes come no sooner than they are waited for");
}

void faults() {
    fails("mad.wide.u32 %l1, %r0, 4, %l0;\n st.global.u32 [%l1+1000], %r0;", 700, "thread (6, 0, 0): writes 4 bytes");
    fails("mad.wide.u32 %l1, %r0, 4, %l0;\n st.global.u32 [%l1+1000], %r0;", 700, "0 bytes after its end (line ");
    fails("setp.eq.u32 %p1, %r0, 20;\n @%p1 ld.global.u32 %r3, [%l0+-4];", 700, "thread (20, 0, 0): reads 4 bytes");
    fails("ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%l0+4];", 716, "which is not a multiple of 16");
    fails("shl.b32 %r1, %r0, 2;\n st.shared.u32 [%r1], %r0;", 700, "byte 64 of 64 bytes of dynamic shared memory", 32, 64);
    fails("mov.u32 %r1, dynamic;\n shl.b32 %r1, %r0, 2;\n st.shared.v2.u32 [%r1], {%r0, %r0};", 716, "multiple of 8", 32, 512);
    fails("setp.lt.u32 %p1, %r0, 40;\n @%p1 bra A;\n ret;\nA: bar.sync 0;", 719, "40 wait at the barrier", 96);
    fails("setp.lt.u32 %p1, %r0, 32;\n @%p1 bra A;\n bar.sync 0;\n ret;\nA: bar.sync 0;", 719, "32 wait at the barrier of line", 64);
    fails("setp.lt.u32 %p1, %r0, 7;\n @%p1 bra A;\n bar.sync 0;\n ret;\nA: shfl.sync.bfly.b32 %r3, %r0, 1, 31, -1;", 719,
            "wait for their warp in line");
    fails("shfl.sync.bfly.b32 %r3, %r0, 1, 31, 0xff;", 719, "lacks the lane that names it");
    fails("trap;", 710, "trap");
    const std::string product = "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r3, %r4, %r5, %r6}, {%r0, %r0, %r0, %r0}, {%r0, %r0},"
            " {%r0, %r0, %r0, %r0};";
    fails("setp.lt.u32 %p1, %r0, 7;\n @%p1 bra A;\n" + product + "\nA:", 719, "comes divided");
    fails("setp.lt.u32 %p1, %r0, 7;\n @%p1 ret;\n" + product, 719, "comes divided");
    std::string met = "setp.lt.u32 %p1, %r0, 7;\n @%p1 bra A;\n mov.u32 %r1, 5;\nA:\n";
    run(met + product);
    emulator_set("divided", 1);
    fails(met + product, 719, "here are lanes 0x0000007f");
    run(met + "bar.warp.sync -1;\n" + product);
    emulator_restore_settings();
    emulator_set("guard", 1);
    std::string exchange = "mov.u32 %r1, dynamic;\n mad.lo.u32 %r2, %r0, 4, %r1;\n st.shared.u32 [%r2], %r0;\n";
    fails(exchange + "xor.b32 %r3, %r2, 128;\n ld.shared.u32 %r4, [%r3];", 719, "race in shared memory: it writes, and another thread read", 64, 256);
    fails(exchange + "xor.b32 %r3, %r2, 4;\n ld.shared.u32 %r4, [%r3];", 719, "another thread wrote, byte 4 of the dynamic", 32, 256);
    fails(exchange + "bar.sync 0;\n xor.b32 %r3, %r2, 128;\n ld.shared.u32 %r4, [%r3];\n st.shared.u32 [%r2], %r4;", 719,
            "it reads, and another thread wrote, byte 0 of the dynamic", 64, 256);
    run(exchange + "bar.warp.sync -1;\n xor.b32 %r4, %r2, 4;\n ld.shared.u32 %r3, [%r4];");
    emulator_restore_settings();
    fails("add.rn.bf16 %s1, %s2, %s3;", 218, "unknown instruction: add.rn.bf16 %s1, %s2, %s3");
    fails("frobnicate.u32 %r1, %r2;", 218, "entry f: unknown instruction: frobnicate.u32");
    fails("add.u32 %r1, %r2, %l3;", 218, "unknown instruction: add.u32 %r1, %r2, %l3");
    fails("add.u32 %r1, %r2, %r99;", 218, "unknown instruction: add.u32 %r1, %r2, %r99");
}
