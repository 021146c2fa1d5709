"""Experts and router together: the picture of the mixture learns to be the photo, and all parameters move a little."""

from dataclasses import replace

from moegs.data.scene import Scene
from moegs.experts.base import Rate
from moegs.losses import photometric
from moegs.mixture import Mixture, blend
from moegs.rasterize import rasterize
from moegs.router import Seen, gates
from moegs.training.fixed_rows import MixtureTrainee
from moegs.training.loop import Attempt, make_optimizer
from moegs.training.routing import RouterTraining


class JointTrainee(MixtureTrainee):
    """Experts and router at once; no schedule of its experts goes on, and no regulariser."""

    def __init__(self, name: str, config: RouterTraining, factor: float, mixture: Mixture, scene: Scene) -> None:
        """`config`: of the router. The experts' rates are where they ended, times `factor`, and fall as the config's
        `decay` says, within its `steps`: rewound, so that there is something to fall from (Renda et al. 2020).
        """
        assert mixture.router is None or mixture.router.blends, "only under routers that blend pictures is it weighed"
        super().__init__(name, mixture, scene)
        self.config = config
        self.module = mixture.requires_grad_(True)
        self.rates = _rates(config, factor, mixture)
        self.optimizer = make_optimizer(self.module, self.rates, "adam")  # radam is still warming up after 1000 steps
        self.cameras = [camera.to(mixture.device) for camera in mixture.rig.cameras]
        self.views = {camera: view for view, camera in enumerate(mixture.rig.train)}

    def attempt(self, step: int, camera: int, frame: int) -> Attempt:
        mixture, t, place = self.mixture, self.mixture.rig.timeline.t(frame), self.cameras[camera]
        layers = mixture.layers([expert.at(t, self.views[camera]) for expert in mixture.members], t)
        result = rasterize(layers, place)
        picture = result.images[0]
        if mixture.router is not None:
            verdict = mixture.router.judge(Seen(layers, result.images, result.features, place, t))
            picture, _, _ = blend(gates(verdict.logits, mixture.temperature), result)
        photo = self.scene.photo(camera, frame, mixture.device)
        return Attempt(photometric(picture, photo, self.config.ssim_weight), picture, photo)

    def shown(self) -> Mixture:
        return self.mixture.twin()


def _rates(config: RouterTraining, factor: float, mixture: Mixture) -> list[Rate]:
    """Of every parameter of the mixture, named as in it."""
    rates = [] if mixture.router is None else [_within("router.", rate) for rate in config.rates(mixture.router)]
    for number, expert in enumerate(mixture.members):
        for rate in expert.rates():
            start = factor * rate.at(expert.step, extent=1.0)
            falls = {"end": config.decay * start, "steps": config.steps} if start else {}
            named = _within(f"experts.{number}.", rate).parameters
            rates.append(Rate(named, start, **falls, times_extent=rate.times_extent))
    return rates


def _within(part: str, rate: Rate) -> Rate:
    return replace(rate, parameters=tuple(part + name for name in rate.parameters))
