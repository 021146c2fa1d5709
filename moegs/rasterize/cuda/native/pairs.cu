// Which splats each tile holds, nearest first: one sort of all splats by depth, then a stable sort of pairs by tile.
//
// Two sorts of 32-bit keys move a third of the bytes of one sort of 64-bit keys (tile, depth) over all pairs.
#include <algorithm>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "reach.cuh"

namespace {

constexpr int THREADS = 256;

int blocks(int count) { return (count + THREADS - 1) / THREADS; }

int bits(int count) {
    int found = 0;
    while ((1 << found) < count) ++found;
    return found > 0 ? found : 1;
}

__global__ void number(int *rows, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) rows[i] = i;
}

__global__ void gather(const int *tiles, const int *order, int *ends, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) ends[i] = tiles[order[i]];
}

__global__ void emit(Splats splats, Grid grid, const int *order, const int *ends, int count, int pairs, uint32_t *tiles, int *rows) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    int row = order[i];
    if (!splats.tiles[row]) return;
    int place = ends[i] - splats.tiles[row];
    for_each_tile(ellipse(splats.reach[row], splats.conics[row]), splats.experts[row], grid, [&](int tile) {
        if (place >= 0 && place < pairs) tiles[place] = tile, rows[place] = row;  // below 0: too many to count
        ++place;
    });
}

// starts[tile]: the first pair of that tile or of one after it.
__global__ void find_starts(const uint32_t *tiles, int pairs, int *starts, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i > pairs) return;
    int before = i ? (int)tiles[i - 1] : -1, here = i < pairs ? (int)tiles[i] : count;
    for (int tile = before + 1; tile <= here; ++tile) starts[tile] = i;
}

}  // namespace

size_t scratch_bytes(int splats, int pairs) {
    size_t by_depth = 0, sum = 0, by_tile = 0;
    cub::DeviceRadixSort::SortPairs(nullptr, by_depth, (uint32_t *)nullptr, (uint32_t *)nullptr, (int *)nullptr, (int *)nullptr, splats);
    cub::DeviceScan::InclusiveSum(nullptr, sum, (int *)nullptr, (int *)nullptr, splats);
    cub::DeviceRadixSort::SortPairs(nullptr, by_tile, (uint32_t *)nullptr, (uint32_t *)nullptr, (int *)nullptr, (int *)nullptr, pairs);
    return std::max({by_depth, sum, by_tile});
}

void order_by_depth(const Splats &splats, int count, uint32_t *keys, int *unordered, int *order, int *ends,
                    void *scratch, size_t bytes, cudaStream_t stream) {
    if (!count) return;
    number<<<blocks(count), THREADS, 0, stream>>>(unordered, count);
    cub::DeviceRadixSort::SortPairs(scratch, bytes, splats.keys, keys, unordered, order, count, 0, 32, stream);
    gather<<<blocks(count), THREADS, 0, stream>>>(splats.tiles, order, ends, count);
    cub::DeviceScan::InclusiveSum(scratch, bytes, ends, ends, count, stream);
}

void list_by_tile(const Splats &splats, const Grid &grid, int count, const int *order, const int *ends, int pairs,
                  uint32_t *tiles, uint32_t *sorted_tiles, int *unsorted_rows, int *rows, int *starts,
                  void *scratch, size_t bytes, cudaStream_t stream) {
    int total = grid.experts * grid.rows * grid.columns;
    if (pairs) {
        if (count) emit<<<blocks(count), THREADS, 0, stream>>>(splats, grid, order, ends, count, pairs, tiles, unsorted_rows);
        cub::DeviceRadixSort::SortPairs(scratch, bytes, tiles, sorted_tiles, unsorted_rows, rows, pairs, 0, bits(total + 1), stream);
    }
    find_starts<<<blocks(pairs + 1), THREADS, 0, stream>>>(sorted_tiles, pairs, starts, total);
}
