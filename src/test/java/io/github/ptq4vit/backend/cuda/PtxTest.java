package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import jcuda.nvptxcompiler.JNvPTXCompiler;
import jcuda.nvptxcompiler.nvPTXCompilerHandle;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The committed PTX is that of the committed sources, holds what the launches ask for, and assembles for every device. */
class PtxTest {
    private static final Path SOURCES = Path.of("cuda-kernels");
    private static final Path PTX = Path.of("src/main/resources/kernels");
    private static final Pattern ENTRY_NAME = Pattern.compile("\\.entry\\s+(\\w+)");
    private static final Pattern ENTRY = Pattern.compile("\\.entry\\s+(\\w+)\\s*\\(([^)]*)\\)");

    private static final Pattern PROPERTIES = Pattern.compile("Function properties for '?(\\w+)");
    private static final Pattern SPILLS = Pattern.compile("(\\d+) bytes spill stores");

    @BeforeAll
    static void loadTheAssembler() {
        try (JcudaNatives natives = new JcudaNatives()) {
            natives.extract("JNvPTXCompiler", UnaryOperator.identity());
            natives.initialise("jcuda.nvptxcompiler.JNvPTXCompiler");
        }
    }

    @Test
    void sourcesAndPtxAreThoseThatWereCompiledTogether() throws IOException {
        Map<String, String> recorded = Files.readAllLines(PTX.resolve("kernels.sha256")).stream()
                .filter(line -> !line.startsWith("#")).map(line -> line.split(" +"))
                .collect(Collectors.toMap(parts -> parts[1], parts -> parts[0]));
        Map<String, String> present = new TreeMap<>();
        addHashes(SOURCES, "{Makefile,*.cu,*.cuh}", present);
        addHashes(PTX, "*.ptx", present);
        assertEquals(new TreeMap<>(recorded), present,
                "cuda-kernels and the PTX disagree: run make -C cuda-kernels (needs nvcc) and commit what it writes");
    }

    @Test
    void theCompilerIsRecorded() throws IOException {
        String first = Files.readAllLines(PTX.resolve("kernels.sha256")).get(0);
        assertTrue(first.matches("# compiled by release \\d+\\.\\d+, V[\\d.]+"), first);
    }

    @ParameterizedTest
    @ValueSource(ints = {75, 80})
    void everyKernelIsAnEntryWithAsManyParametersAndNoOtherIs(int target) throws IOException {
        Map<String, Integer> entries = new TreeMap<>();
        Matcher matcher = ENTRY.matcher(ptx(target));
        while (matcher.find()) {
            entries.put(matcher.group(1), (int) matcher.group(2).lines().filter(line -> line.contains(".param")).count());
        }
        Map<String, Integer> kernels = Arrays.stream(Kernel.values())
                .collect(Collectors.toMap(Kernel::entry, Kernel::parameters, (a, b) -> a, TreeMap::new));
        assertEquals(kernels, entries);
    }

    @ParameterizedTest
    @CsvSource({"75, 6.3", "80, 7.0"})
    void theVersionIsWhatTheOldestDriversRead(int target, String version) throws IOException {
        List<String> head = ptx(target).lines().limit(3).toList();
        assertEquals(List.of(".version " + version, ".target sm_" + target, ".address_size 64"), head);
    }

    @ParameterizedTest
    @ValueSource(ints = {75, 80})
    void nothingTellsWhereItWasCompiled(int target) throws IOException {
        assertEquals(List.of(), ptx(target).lines().filter(line -> line.contains("/")).toList());
    }

    /** What is reproducible rests on it; an operation without a rounding mode may be fused with another by the driver. */
    @ParameterizedTest
    @ValueSource(ints = {75, 80})
    void onlyGelusGradientRoundsAsTheDeviceLikes(int target) throws IOException {
        Pattern free = Pattern.compile("\\.(approx|full|ftz)\\.|\\b(add|sub|mul|mad)\\.f(32|64)");
        Set<String> entries = new TreeSet<>();
        String entry = "";
        for (String line : ptx(target).lines().toList()) {
            Matcher matcher = ENTRY_NAME.matcher(line);
            entry = matcher.find() ? matcher.group(1) : entry;
            if (free.matcher(line).find()) {
                entries.add(entry);
            }
        }
        assertEquals(Set.of(Kernel.GELU_BACKWARD_F32.entry()), entries);
    }

    /** And keeps everything in registers, but for two or three of two kernels on 9.0, as CUDA 12.0 assembles them. */
    @ParameterizedTest
    @CsvSource({"75, 75", "75, 80", "75, 86", "75, 89", "75, 90", "80, 80", "80, 86", "80, 89", "80, 90"})
    void itAssemblesFor(int target, int device) throws IOException {
        String told = assembled(ptx(target), device);
        Map<String, Integer> spills = new TreeMap<>();
        String entry = "";
        for (String line : told.lines().toList()) {
            Matcher named = PROPERTIES.matcher(line);
            entry = named.find() ? named.group(1) : entry;
            Matcher spilled = SPILLS.matcher(line);
            if (spilled.find() && Integer.parseInt(spilled.group(1)) > 0) {
                spills.put(entry, Integer.parseInt(spilled.group(1)));
            }
        }
        assertFalse(entry.isEmpty(), told);
        Map<String, Integer> known = target == 80 && device == 90 ? Map.of(Kernel.LAYERNORM_BACKWARD_F32.entry(), 8,
                Kernel.SCORE_TILE128_S8.entry(), 12) : Map.of();
        spills.entrySet().removeIf(spill -> spill.getValue() <= known.getOrDefault(spill.getKey(), 0));
        boolean used = target == (device >= CudaDevice.TENSOR_CORE_KERNELS ? 80 : 75);
        assertEquals(Map.of(), used ? spills : Map.of(), "bytes spilled");
    }

    @Test
    void theAssemblerFindsAnInstructionThatTheTargetLacks() {
        String code = """
                .version 6.3
                .target sm_75
                .address_size 64
                .visible .entry f() {
                    .reg .b32 %r<15>;
                    mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1, %r2, %r3, %r4}, {%r5, %r6, %r7, %r8},
                        {%r9, %r10}, {%r11, %r12, %r13, %r14};
                    ret;
                }
                """;
        assertTrue(assembled(code, 75).contains("sm_80"), assembled(code, 75));
    }

    private static String ptx(int target) throws IOException {
        return Files.readString(PTX.resolve("ptq4vit-sm" + target + ".ptx"));
    }

    private static void addHashes(Path folder, String pattern, Map<String, String> hashes) throws IOException {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, pattern)) {
            for (Path file : files) {
                byte[] hash = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
                hashes.put(file.getFileName().toString(), HexFormat.of().formatHex(hash));
            }
        } catch (GeneralSecurityException e) {
            throw new AssertionError(e);
        }
    }

    /** What the assembler of CUDA 12.0 says: of each entry, or its errors. */
    private static String assembled(String ptx, int device) {
        byte[] text = (ptx + '\0').getBytes(StandardCharsets.UTF_8);
        nvPTXCompilerHandle compiler = new nvPTXCompilerHandle();
        assertEquals(0, JNvPTXCompiler.nvPTXCompilerCreate(compiler, text.length, text));
        try {
            String[] options = {"--gpu-name=sm_" + device, "--verbose"};
            boolean succeeds = JNvPTXCompiler.nvPTXCompilerCompile(compiler, options.length, options) == 0;
            long[] length = new long[1];
            byte[] log;
            if (succeeds) {
                JNvPTXCompiler.nvPTXCompilerGetInfoLogSize(compiler, length);
                log = new byte[(int) length[0] + 1];
                JNvPTXCompiler.nvPTXCompilerGetInfoLog(compiler, log);
            } else {
                JNvPTXCompiler.nvPTXCompilerGetErrorLogSize(compiler, length);
                log = new byte[(int) length[0] + 1];
                JNvPTXCompiler.nvPTXCompilerGetErrorLog(compiler, log);
            }
            return new String(log, StandardCharsets.UTF_8).replace("\0", "");
        } finally {
            JNvPTXCompiler.nvPTXCompilerDestroy(compiler);
        }
    }
}
