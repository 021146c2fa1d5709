"""Structural similarity and its gradient on one CPU thread, row by row.

A row of H W 3 is one line of 3 W numbers, in which the neighbour to the right of a channel is three places on: so the
inner loops are plain sums of shifted lines, of which the compiler makes vector instructions. Their indices are
unsigned for the same reason (a signed one brings a wrap-around check).
"""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from moegs import ssim as definition
from moegs.kernels import serial

RADIUS = definition.WINDOW // 2
CHANNELS = 3
WEIGHTS = np.array(definition.WEIGHTS, dtype=np.float32)
C1, C2 = np.float32(definition.C1), np.float32(definition.C2)
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
MOMENTS = 5
"""x, y, x x, y y and x y."""


def ssim(image: Float32[ndarray, "H W 3"], photo: Float32[ndarray, "H W 3"]) -> float:
    """The mean over all pixels and channels."""
    slopes = np.empty((3, 0, 0), dtype=np.float32)
    return _value(_lines(image), _lines(photo), slopes) / image.size


def ssim_and_gradient(
    image: Float32[ndarray, "H W 3"], photo: Float32[ndarray, "H W 3"]
) -> tuple[float, Float32[ndarray, "H W 3"]]:
    """The mean over all pixels and channels, and its derivative by `image`."""
    x, y = _lines(image), _lines(photo)
    slopes = np.empty((3, *x.shape), dtype=np.float32)
    gradient = np.empty_like(x)
    value = _value(x, y, slopes)
    _gradient(x, y, slopes, np.float32(1 / image.size), gradient)
    return value / image.size, gradient.reshape(image.shape)


def _lines(picture: Float32[ndarray, "H W 3"]) -> Float32[ndarray, "H L"]:
    return picture.reshape(picture.shape[0], -1)


@serial
def _add(line, weight, to):
    for place in range(to.size):
        i = np.uintp(place)
        to[i] += weight * line[i]


@serial
def _add_product(a, b, weight, to):
    for place in range(to.size):
        i = np.uintp(place)
        to[i] += weight * a[i] * b[i]


@serial
def _blur_across(padded, to):
    """`padded` has RADIUS pixels more than `to` at both ends."""
    to[:] = ZERO
    for k in range(2 * RADIUS + 1):
        _add(padded[k * CHANNELS : k * CHANNELS + to.size], WEIGHTS[k], to)


@serial
def _compare(moments, values, to_mean, to_square, to_product):
    """The similarity in one row, and its derivatives by the means of x, x x and x y."""
    for place in range(values.size):
        i = np.uintp(place)
        x, y = moments[0, i], moments[1, i]
        light = TWO * x * y + C1
        structure = TWO * (moments[4, i] - x * y) + C2
        inverse_light = ONE / (x * x + y * y + C1)
        variance = moments[2, i] - x * x  # by rounding below 0 for a bright flat picture: then it is 0
        inverse_structure = ONE / (max(variance, ZERO) + max(moments[3, i] - y * y, ZERO) + C2)
        inverse = inverse_light * inverse_structure
        value = light * structure * inverse
        values[i] = value
        by_variance = -value * inverse_structure if variance > ZERO else ZERO
        to_mean[i] = TWO * (y * (structure - light) * inverse - x * (value * inverse_light + by_variance))
        to_square[i] = by_variance
        to_product[i] = TWO * light * inverse


@serial
def _value(image, photo, slopes):
    """The sum of the similarity; its derivatives by three local means go to `slopes`, unless that is empty."""
    rows, length = image.shape
    margin = RADIUS * CHANNELS
    columns = np.zeros((MOMENTS, length + 2 * margin), dtype=np.float32)
    moments = np.empty((MOMENTS, length), dtype=np.float32)
    scratch = np.empty((4, length), dtype=np.float32)
    total = 0.0
    for row in range(rows):
        inner = columns[:, margin : margin + length]
        inner[:] = ZERO
        for near in range(max(0, row - RADIUS), min(rows, row + RADIUS + 1)):
            x, y, weight = image[near], photo[near], WEIGHTS[near - row + RADIUS]
            _add(x, weight, inner[0])
            _add(y, weight, inner[1])
            _add_product(x, x, weight, inner[2])
            _add_product(y, y, weight, inner[3])
            _add_product(x, y, weight, inner[4])
        for m in range(MOMENTS):
            _blur_across(columns[m], moments[m])
        _compare(moments, scratch[0], scratch[1], scratch[2], scratch[3])
        total += scratch[0].sum()
        if slopes.size:
            slopes[:, row] = scratch[1:]
    return total


@serial
def _gradient(image, photo, slopes, share, gradient):
    """The blur is its own adjoint: each slope reaches a pixel by the weight with which the pixel reached it."""
    rows, length = image.shape
    margin = RADIUS * CHANNELS
    column = np.zeros(length + 2 * margin, dtype=np.float32)
    inner = column[margin : margin + length]
    blurred = np.empty((3, length), dtype=np.float32)
    for row in range(rows):
        for m in range(3):
            inner[:] = ZERO
            for near in range(max(0, row - RADIUS), min(rows, row + RADIUS + 1)):
                _add(slopes[m, near], WEIGHTS[near - row + RADIUS], inner)
            _blur_across(column, blurred[m])
        for place in range(length):
            i = np.uintp(place)
            by_square, by_product = TWO * image[row, i] * blurred[1, i], photo[row, i] * blurred[2, i]
            gradient[row, i] = share * (blurred[0, i] + by_square + by_product)
