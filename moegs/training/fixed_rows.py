"""What trains a whole mixture: parameters move, rows stay what they are."""

from collections.abc import Mapping
from typing import Any

from moegs.data.scene import Scene
from moegs.mixture import Mixture
from moegs.training.loop import Trainee


class MixtureTrainee(Trainee):
    """A mixture in which no row comes or goes, so that nothing is to be done between its steps."""

    def __init__(self, name: str, mixture: Mixture, scene: Scene) -> None:
        self.name, self.mixture, self.scene = name, mixture, scene
        self.extent = scene.rig.extent

    def after_backward(self) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])

    @property
    def gaussians(self) -> int:
        return sum(len(expert) for expert in self.mixture.members)
