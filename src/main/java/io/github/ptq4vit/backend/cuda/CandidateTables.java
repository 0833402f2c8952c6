package io.github.ptq4vit.backend.cuda;

import java.util.Arrays;

/**
 * Candidates as the kernels read them, see {@code Candidates} of {@code cuda-kernels/score.cuh}.
 *
 * @param most length of a list
 * @param lists address of the candidates to score, {@code [scales, most]}
 * @param counts address of how many those are, {@code [scales]}
 */
record CandidateTables(int most, long lists, long counts) {

    static CandidateTables upload(CudaDevice device, CudaScope scope, ScoreCandidates candidates) {
        int[][] different = candidates.different();
        int most = Arrays.stream(different).mapToInt(list -> list.length).max().orElseThrow();
        long lists = Tables.upload(device, scope, (long) different.length * most * Integer.BYTES,
                words -> Arrays.stream(different).map(list -> Arrays.copyOf(list, most)).flatMapToInt(Arrays::stream)
                        .forEach(words::putInt));
        long counts = Tables.upload(device, scope, (long) different.length * Integer.BYTES,
                words -> Arrays.stream(different).forEach(list -> words.putInt(list.length)));
        return new CandidateTables(most, lists, counts);
    }
}
