// From the tiles' sums to a loss per candidate and group, in float64 and in order; and the codes of all candidates.
#include "score.cuh"

namespace score {

// Rows of numbers of which codes are made: `rows` rows from `row` on of product `batch`, coded by grid `grid` of a candidate.
struct Rows {
    int batch;
    int row;
    int rows;
    int grid;
    long long target;  // first row in the codes
};

struct CodeShape {
    long long k;
    long long padded;
    long long ranges;
    long long rows;  // of a candidate's codes in one range
    long long grids;  // of a candidate
    long long scales;  // that candidates are listed for: as many as grids, or more with one grid for all of them
    long long most;  // candidates there is room for in lists
    long long entries;  // of the table of rows
    long long batch_stride;
    long long row_stride;
    long long k_stride;
};

}  // namespace score

// losses[candidate, group] = sum over slots and inner of partial[candidate, slot, group, inner].
// Launch: x groups, y candidates; 128 threads.
KERNEL __launch_bounds__(128) score_sum_f64(const double* partial, double* losses, long long slots, long long groups,
                                            long long inner) {
    long long candidate = blockIdx.y;
    long long group = blockIdx.x;
    const double* own = partial + (candidate * slots * groups + group) * inner;
    double sum = 0;
    for (long long i = threadIdx.x; i < slots * inner; i += blockDim.x) {
        sum += own[i / inner * groups * inner + i % inner];
    }
    sum = block_sum<128>(sum);
    if (threadIdx.x == 0) {
        losses[candidate * groups + group] = sum;
    }
}

// codes[candidate, range, target row, 0..padded) of the numbers of each entry of a table of rows, for every candidate that is
// listed for the entry's scale; zeros beyond k. Launch: x padded / 64, y rows / 64, z entries or fewer; 256 threads. Each thread keeps
// its 16 numbers while the candidates pass; the codes of a tile of 64 x 64 are exchanged in shared memory, so that reading
// follows the source's contiguous axis and writing follows k.
KERNEL __launch_bounds__(256, 3) score_quantize_s8(score::CodeShape p, const float* x, signed char* codes,
        const score::Rows* table, const CodeGrid* grids, const int* lists, const int* counts) {
    __shared__ unsigned tile[2][64][17];  // words of four codes; 17: the rows of a column lie in different banks
    constexpr int OWN = 64 * 64 / 256;
    int first_row = 64 * (int) blockIdx.y;
    int first_k = 64 * (int) blockIdx.x;
    bool along_rows = p.k_stride != 1;
    for (long long number = blockIdx.z; number < p.entries; number += gridDim.z) {
        score::Rows entry = table[number];
        int rows = entry.rows - first_row;
        if (rows <= 0) {
            continue;
        }
        const float* source = x + entry.batch * p.batch_stride + (entry.row + first_row) * p.row_stride + first_k * p.k_stride;
        float numbers[OWN];
        UNROLLED
        for (int i = 0; i < OWN; i++) {
            int at = i * 256 + (int) threadIdx.x;
            int r = along_rows ? at & 63 : at >> 6;
            int c = along_rows ? at >> 6 : at & 63;
            // NaN has code 0
            numbers[i] = r < rows && first_k + c < p.k ? source[r * p.row_stride + c * p.k_stride] : nanf("");
        }
        int scale = p.scales == 1 ? 0 : entry.grid;
        for (int index = 0; index < counts[scale]; index++) {
            long long candidate = lists[scale * p.most + index];
            Coder coder(grids, candidate * p.grids + (p.grids == 1 ? 0 : entry.grid));
            UNROLLED
            for (int i = 0; i < OWN; i++) {
                int at = i * 256 + (int) threadIdx.x;
                int r = along_rows ? at & 63 : at >> 6;
                int c = along_rows ? at >> 6 : at & 63;
                coder.each(p.ranges, numbers[i], [&](int range, int code) {
                    reinterpret_cast<signed char*>(tile[range][r])[c] = (signed char) code;
                });
            }
            __syncthreads();
            for (int range = 0; range < p.ranges; range++) {
                signed char* target
                        = codes + ((candidate * p.ranges + range) * p.rows + entry.target + first_row) * p.padded + first_k;
                for (int i = threadIdx.x; i < 64 * 16; i += 256) {
                    int r = i >> 4;
                    int word = i & 15;
                    if (r < rows) {
                        *reinterpret_cast<unsigned*>(target + r * p.padded + 4 * word) = tile[range][r][word];
                    }
                }
            }
            __syncthreads();
        }
    }
}
