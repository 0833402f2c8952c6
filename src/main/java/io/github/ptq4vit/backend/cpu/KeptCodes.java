package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.CandidateGrids;
import io.github.ptq4vit.backend.CodeGrid;
import io.github.ptq4vit.backend.Operand;
import java.util.HashMap;
import java.util.LinkedHashSet;
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
    /** Bytes of candidates' codes that are kept at most; {@link CpuScoring} takes no more candidates than fit at a time. */
    static final long MOST_BYTES = 48L << 20;

    private final CpuScope owner;
    private final Slabs slabs;
    private final Map<Place, Fixed> fixed = new ConcurrentHashMap<>();
    private final Map<Candidate, CpuBuffer> candidates = new HashMap<>();

    /**
     * @param owner of the candidates' codes
     * @param slabs where those of fixed operands lie
     */
    KeptCodes(CpuScope owner, Slabs slabs) {
        this.owner = owner;
        this.slabs = slabs;
    }

    /** Which numbers of the fixed operand: those of one product of the batch, as a tile of so many rows wants them. */
    record Place(Operand operand, int batch, int firstRow, int rows) {
        // by hand, as in all keys that a tile is looked up by: the launcher's compiler makes slow code of a record's own
        @Override
        public boolean equals(Object other) {
            return other instanceof Place that && operand == that.operand && batch == that.batch && firstRow == that.firstRow
                    && rows == that.rows;
        }

        @Override
        public int hashCode() {
            return 31 * (31 * (31 * operand.ordinal() + batch) + firstRow) + rows;
        }
    }

    private record Fixed(List<CodeGrid> grids, long[] addresses) {
    }

    /** A candidate's scales for a part of a single product's right operand: one of its groups, or all of them. */
    record Candidate(int part, CandidateGrids grids) {
    }

    /**
     * Addresses of the codes of a fixed operand, one a range of the grids.
     *
     * @param grids of its groups, all of as many ranges
     * @param bytes of each
     * @param encode writes them, unless they are kept from before
     */
    long[] fixed(Place place, List<CodeGrid> grids, long bytes, Consumer<long[]> encode) {
        Fixed known = fixed.get(place);
        if (known == null || !known.grids.equals(grids)) {
            known = fixed.compute(place, (key, old) -> encoded(old, grids, bytes, encode));
        }
        return known.addresses;
    }

    private Fixed encoded(Fixed old, List<CodeGrid> grids, long bytes, Consumer<long[]> encode) {
        if (old != null && old.grids.equals(grids)) {
            return old;
        }
        int ranges = grids.get(0).ranges().size();
        long[] addresses = old != null && old.addresses.length == ranges ? old.addresses
                : IntStream.range(0, ranges).mapToLong(i -> slabs.allocate(bytes)).toArray();
        encode.accept(addresses);
        return new Fixed(grids, addresses);
    }

    /**
     * Addresses of the codes of candidates, valid until the next call.
     *
     * @param bytes of each
     * @param encode writes those that are not kept from before
     */
    long[] candidates(List<Candidate> wanted, long bytes, Workers workers, BiConsumer<Candidate, Long> encode) {
        Set<Candidate> missing = new LinkedHashSet<>(wanted);
        missing.removeAll(candidates.keySet());
        if ((candidates.size() + missing.size()) * bytes > MOST_BYTES) {
            candidates.values().forEach(owner::release);
            candidates.clear();
            missing.addAll(wanted);
        }
        missing.forEach(candidate -> candidates.put(candidate, owner.bytes(bytes)));
        List<Candidate> encoding = List.copyOf(missing);
        workers.run(encoding.size(), i -> encode.accept(encoding.get(i), candidates.get(encoding.get(i)).address()));
        return wanted.stream().mapToLong(candidate -> candidates.get(candidate).address()).toArray();
    }
}
