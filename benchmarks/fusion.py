"""What a fused PLY loses: the picture of a mixture against that of its fused Gaussians, as other viewers draw them.

    python benchmarks/fusion.py [CKPT] [--frame 12] [--scale 4]

Prints PSNR against the mixture's picture from the first held-out camera, at its own size and `scale` times as large:
for the fused Gaussians drawn with 0.3 px of blur, without compensation and with it, and for each expert alone.
"""

from pathlib import Path
from typing import Annotated

import torch
import tyro
from tyro.conf import Positional, arg

from moegs import checkpoint, demo, fusion, metrics
from moegs.gaussians import LowPass
from moegs.rasterize import Layer, rasterize


@torch.no_grad()
def main(
    path: Positional[Annotated[Path | None, arg(metavar="[CKPT]")]] = None, /, frame: int = 12, scale: int = 4
) -> None:
    """Draws CKPT, or the bundled demo, at `frame`, and compares."""
    mixture = checkpoint.load(demo.path() if path is None else path).mixture
    rig = mixture.rig
    t = rig.timeline.t(frame)
    fused = fusion.fused(mixture, t, fusion.asked(rig))
    own = rig.cameras[(rig.test or rig.train)[0]]
    for size in (1, scale):
        camera = own.resized(size * own.width, size * own.height)
        whole = mixture.render(camera, t)
        print(f"{camera.width}x{camera.height}, dB against the mixture")
        for words, lowpass in {"plain": LowPass(0.3), "compensated": LowPass(0.3, compensated=True)}.items():
            picture = rasterize([Layer(fused, lowpass=lowpass, background=rig.background)], camera).images[0]
            print(f"  fused, 0.3 px, {words}: {float(metrics.psnr(picture, whole.picture)):.2f}")
        for name, image in zip(mixture.names, whole.images, strict=True):
            print(f"  {name} alone: {float(metrics.psnr(image, whole.picture)):.2f}")


if __name__ == "__main__":
    tyro.cli(main)
