package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Operand;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * Codes of a problem's operands that outlive one call: a search scores its candidates part by part, and the next search
 * meets the same candidates, or the same fixed operand, again.
 */
final class KeptCodes {
    /** Bytes of candidates' codes that are kept at most; {@link CpuScorer} takes no more candidates than fit at a time. */
    static final long MOST_BYTES = 48L << 20;

    private final CpuScope owner;
    private final Map<Place, Fixed> fixed = new ConcurrentHashMap<>();
    private final Map<Candidate, CpuBuffer> candidates = new HashMap<>();

    /** @param owner of all codes */
    KeptCodes(CpuScope owner) {
        this.owner = owner;
    }

    /** Which numbers of the fixed operand: those of one product of the batch, as a tile of so many rows wants them. */
    record Place(Operand operand, int batch, int firstRow, int rows) {
    }

    private record Fixed(CodeGrid grid, long[] addresses) {
    }

    /** A candidate's scale for one group of a single product's right operand. */
    record Candidate(int group, CodeGrid grid) {
    }

    /**
     * Addresses of the codes of a fixed operand, one a range of the grid.
     *
     * @param bytes of each
     * @param encode writes them, unless they are kept from before
     */
    long[] fixed(Place place, CodeGrid grid, long bytes, Consumer<long[]> encode) {
        return fixed.compute(place, (key, old) -> {
            if (old != null && old.grid.equals(grid)) {
                return old;
            }
            int ranges = grid.ranges().size();
            long[] addresses = old != null && old.addresses.length == ranges ? old.addresses
                    : IntStream.range(0, ranges).mapToLong(i -> owner.bytes(bytes).address()).toArray();
            encode.accept(addresses);
            return new Fixed(grid, addresses);
        }).addresses;
    }

    /**
     * Makes sure of the codes of candidates; until the next call {@link #candidate} tells where they are.
     *
     * @param bytes of each
     * @param encode writes those that are not kept from before
     */
    void prepare(Set<Candidate> wanted, long bytes, Workers workers, BiConsumer<Candidate, Long> encode) {
        Set<Candidate> all = new HashSet<>(candidates.keySet());
        all.addAll(wanted);
        if (all.size() * bytes > MOST_BYTES) {
            candidates.values().forEach(owner::release);
            candidates.clear();
        }
        List<Candidate> missing = wanted.stream().filter(c -> !candidates.containsKey(c)).toList();
        missing.forEach(c -> candidates.put(c, owner.bytes(bytes)));
        workers.run(missing.size(), i -> encode.accept(missing.get(i), candidate(missing.get(i))));
    }

    /** Address of the codes of a candidate of the last {@link #prepare}. */
    long candidate(Candidate candidate) {
        return candidates.get(candidate).address();
    }
}
