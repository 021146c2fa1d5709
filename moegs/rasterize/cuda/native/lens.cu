// The camera into the GPU's memory: from the host's numbers, or from tensors that are there already.
#include "frame.h"

namespace {

__global__ void put_kernel(const __grid_constant__ Lens lens, Lens *there) { *there = lens; }

__global__ void make_kernel(const float *viewmat, const float *K, int width, int height, Lens *there) {
    for (int i = 0; i < 12; ++i) there->viewmat[i] = viewmat[i];
    for (int axis = 0; axis < 3; ++axis) {  // -R^T t, rounded as on the host
        double sum = 0;
        for (int row = 0; row < 3; ++row) sum = __dadd_rn(sum, __dmul_rn(viewmat[4 * row + axis], viewmat[4 * row + 3]));
        there->center[axis] = -(float)sum;
    }
    there->fx = K[0], there->fy = K[4], there->cx = K[2], there->cy = K[5];
    there->width = width, there->height = height;
}

}  // namespace

void put_lens(const Lens &lens, Lens *there, cudaStream_t stream) { put_kernel<<<1, 1, 0, stream>>>(lens, there); }

void make_lens(const float *viewmat, const float *K, int width, int height, Lens *there, cudaStream_t stream) {
    make_kernel<<<1, 1, 0, stream>>>(viewmat, K, width, height, there);
}
