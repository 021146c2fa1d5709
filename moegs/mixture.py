"""Mixture: several experts and a router to one picture. The architecture on one page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs.cameras import Camera
from moegs.data.scene import Rig
from moegs.experts.base import Expert
from moegs.fingerprints import Fingerprint, tensors_of
from moegs.gaussians import Gaussians
from moegs.instants import Instants, members
from moegs.rasterize import Layer, RenderResult, rasterize, splat
from moegs.router import MuteRule, Router, Seen, Verdict, gates
from moegs.router.gating import Gate, over_pixels

if TYPE_CHECKING:
    from moegs.rasterize.cuda.graphs import Graphs


@dataclass(frozen=True)
class MixtureRender:
    """A mixture from one camera at one time, and what each of its experts and its router had to say."""

    picture: Float[Tensor, "H W 3"]
    """The sum of gate x image over the experts, not clamped."""
    alpha: Float[Tensor, "H W 1"]
    """The sum of gate x alpha."""
    depth: Float[Tensor, "H W 1"]
    """The sum of gate x alpha x depth over the sum of gate x alpha, world units; 0 where nothing is hit."""
    gates: Float[Tensor, "E H W"]
    """Each expert's share, 1 in sum (less under the mute rule `keep`)."""
    logits: Float[Tensor, "E H W"]
    """What the softmax was taken of, before division by the temperature; minus infinity where tile gating skipped."""
    images: Float[Tensor, "E H W 3"]
    """Each expert's own picture, not clamped."""
    alphas: Float[Tensor, "E H W 1"]
    depths: Float[Tensor, "E H W 1"]
    distance: float
    """From the camera to the middle of the scene, world units."""
    radii: Int[Tensor, "M 2"]
    """Extent along the image axes, pixels, of what was rasterized, in no order to be relied on; 0 for what is not
    drawn, of which there may be more rows than there are Gaussians."""
    pairs: Int[Tensor, ""]
    """How many (Gaussian, tile) pairs were composited."""

    @property
    def drawn(self) -> int:
        """How many Gaussians reach the picture; waits for the GPU."""
        return int((self.radii > 0).all(1).sum())


class Mixture(nn.Module):
    """Frozen experts under a router; one expert alone needs none."""

    def __init__(self, names: Sequence[str], experts: Sequence[Expert], router: Router | None, rig: Rig) -> None:
        super().__init__()
        if len(names) != len(experts) or len(set(names)) != len(names) or not names:
            raise ValueError(f"mixture: got {len(experts)} experts named {list(names)}; give each a name of its own")
        if router is None and len(experts) > 1:
            raise ValueError(f"mixture: {len(experts)} experts need a router")
        self.names = tuple(names)
        self.experts = nn.ModuleList(experts)
        self.router = router
        self.rig = rig
        self.instants = Instants(self.experts)
        """So that neither moving the camera at one time nor looping through all frames evaluates a network twice."""
        self.graphs: Graphs[MixtureRender] | None = None
        """Where frames on a GPU are recorded and played again; None: they are asked for launch by launch."""
        self._written: _Written | None = None

    @property
    def temperature(self) -> float:
        """The router's own temperature."""
        return 1.0 if self.router is None else self.router.config.temperature

    @property
    def members(self) -> list[Expert]:
        """The experts, in the order of their names."""
        return members(self.experts)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(self.parameters()).device

    def alone(self, number: int) -> "Mixture":
        """Expert `number` without the others, and so without a router."""
        return sole(self.names[number], self.members[number], self.rig)

    def twin(self) -> "Mixture":
        """The same experts and router, with instants of its own."""
        return Mixture(self.names, self.members, self.router, self.rig)

    def at(self, t: float) -> list[Gaussians]:
        """Every expert's Gaussians at time `t`, without gradients; the last instants are kept."""
        return self.instants.at(t)

    def render(
        self,
        camera: Camera,
        t: float,
        *,
        active: Sequence[bool] | None = None,
        mute_rule: MuteRule = "renormalize",
        temperature: float | None = None,
        skip_below: float = 0.0,
    ) -> MixtureRender:
        """The mixture from `camera` at time `t`; gradients reach the router alone.

        `active`: which experts are live, all when None. `temperature`: the router's own when None. `skip_below`: tile
        gating: an expert is not drawn in a tile where its gate is estimated below this, and its picture there is its
        background; 0 is exact. It changes nothing under a router that needs more than its splatted channels.
        Raises ValueError when `t` is not in [0, 1], `active` does not fit the experts, the temperature is not positive,
        or `skip_below` is not in [0, 1).
        """
        if not 0 <= t <= 1:
            raise ValueError(f"t: got {t}, expected a time in [0, 1]")
        if not 0 <= skip_below < 1:
            raise ValueError(f"skip_below: got {skip_below}, expected a share of the gate in [0, 1)")
        if active is not None and len(active) != len(self.names):
            raise ValueError(f"active: got {len(active)} switches for {len(self.names)} experts; give one each")
        how = _How(
            None if active is None else tuple(active),
            mute_rule,
            self.temperature if temperature is None else temperature,
            skip_below,
        )
        layers = self._layers(t)
        if self.graphs is not None and self._can_be_recorded(layers, how):
            key = (how, *(tensor.data_ptr() for tensor in self._router_tensors()))
            found = self.graphs.play(lambda layers, camera: self._drawn(layers, camera, t, how), layers, camera, key)
        else:
            found = self._drawn(layers, camera, t, how)
        if active is not None and not any(active):
            found = replace(found, picture=self.rig.background.to(found.picture).expand_as(found.picture))
        return replace(found, distance=float((camera.center - self.rig.target.to(camera.center)).norm()))

    def _drawn(self, layers: Sequence[Layer], camera: Camera, t: float, how: "_How") -> MixtureRender:
        """What the GPU has to do for a frame; the distance is yet to be filled in, which a recording would keep."""
        live = None if how.everyone else torch.tensor(how.active, dtype=torch.bool, device=self.device)
        choose = None
        if how.skip_below and self.router is not None and self.router.sees_features_alone:
            choose = Gate(self.router, camera, how.temperature, live, how.mute_rule, how.skip_below)
        result = rasterize(layers, camera, choose=choose)
        verdict = Verdict(torch.zeros_like(result.alphas[..., 0]))
        if self.router is not None:
            verdict = self.router.judge(Seen(layers, result.images, result.features, camera, t, live))
        logits = verdict.logits
        if result.tiles is not None:
            logits = logits.masked_fill(over_pixels(~result.tiles, camera.width, camera.height), -torch.inf)
        gate = gates(logits, how.temperature, live, how.mute_rule)
        picture, alpha, depth = blend(gate, result)
        if verdict.joint is not None:
            picture, alpha, depth = verdict.joint.images[0], verdict.joint.alphas[0], verdict.joint.depths[0]
        return MixtureRender(
            picture, alpha, depth, gate, logits, result.images, result.alphas, result.depths,
            distance=0.0,
            radii=result.radii,
            pairs=result.pairs,
        )  # fmt: skip

    def _can_be_recorded(self, layers: Sequence[Layer], how: "_How") -> bool:
        """Whether the launches of a frame are the same at any time and from any camera, and nothing learns."""
        judges_by_layers = self.router is None or self.router.sees_features_alone
        on_gpu = layers[0].gaussians.means.is_cuda
        return on_gpu and how.everyone and judges_by_layers and not torch.is_grad_enabled()

    def over(
        self, images: Float[Tensor, "E H W 3"] | None, camera: Camera, t: float, temperature: float
    ) -> Float[Tensor, "H W 3"]:
        """The picture that `render` gives, over `images` of the experts that are there already; what is splatted is the
        router's channels alone. A router that does not blend pictures needs no `images`.
        """
        assert self.router is not None, "one expert alone has no router"
        layers = self._layers(t)
        verdict = self.router.judge(Seen(layers, images, splat(layers, camera), camera, t))
        if verdict.joint is not None:
            return verdict.joint.images[0]
        assert images is not None, "this router blends pictures"
        return (gates(verdict.logits, temperature)[..., None] * images).sum(0)

    def experts_alone(self, camera: Camera, t: float) -> Float[Tensor, "E H W 3"]:
        """Each expert's own picture, not clamped, without asking the router."""
        layers = [replace(layer, features=None, feature_background=None) for layer in self._layers(t)]
        return rasterize(layers, camera).images

    def _layers(self, t: float) -> list[Layer]:
        parts = self.at(t)
        if torch.is_grad_enabled():  # the router may be learning
            return self.layers(parts, t)
        written = self._written
        if written is None or not written.fits(parts, self._router_tensors()):
            written = self._written = _Written(parts, Fingerprint(self._router_tensors()), self.layers(parts, t))
        return written.layers

    def _router_tensors(self) -> list[Tensor]:
        return [] if self.router is None else tensors_of(self.router)

    def layers(self, parts: Sequence[Gaussians], t: float) -> list[Layer]:
        """What is rasterized: each expert's Gaussians `parts` at time `t`, with what the router wrote on them."""
        layers = []
        for number, (expert, gaussians) in enumerate(zip(self.members, parts, strict=True)):
            router = self.router
            layers.append(
                Layer(
                    gaussians,
                    features=None if router is None else router.features(number, gaussians, t),
                    lowpass=expert.lowpass,
                    near=expert.near,
                    far=expert.far,
                    background=expert.background,
                    feature_background=None if router is None else router.feature_background,
                )
            )
        return layers


def sole(name: str, expert: Expert, rig: Rig) -> Mixture:
    """One expert as a mixture: it needs no router."""
    return Mixture([name], [expert], None, rig)


@dataclass(frozen=True)
class _How:
    """What decides a frame beside the Gaussians, the router and the camera."""

    active: tuple[bool, ...] | None
    mute_rule: MuteRule
    temperature: float
    skip_below: float

    @property
    def everyone(self) -> bool:
        """Whether all experts are live."""
        return self.active is None or all(self.active)


@dataclass(frozen=True)
class _Written:
    """The layers of one instant, with what the router wrote on them."""

    parts: list[Gaussians]
    router: Fingerprint
    layers: list[Layer]

    def fits(self, parts: list[Gaussians], router: Sequence[Tensor]) -> bool:
        """Whether they are those of this very instant, and the router has not changed."""
        return parts is self.parts and self.router.fits(router)


def blend(
    gate: Float[Tensor, "E H W"], result: RenderResult
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W 1"], Float[Tensor, "H W 1"]]:
    """Picture, alpha and depth of the mixture: the sums of gate x image, gate x alpha, and the mean depth over both."""
    if gate.is_cuda and not (torch.is_grad_enabled() and (gate.requires_grad or result.images.requires_grad)):
        from moegs.rasterize.cuda.pictures import blend as fused

        return fused(gate, result)
    share = gate[..., None]
    alpha = (share * result.alphas).sum(0)
    depth = (share * result.alphas * result.depths).sum(0) / alpha.clamp_min(torch.finfo(alpha.dtype).tiny)
    return (share * result.images).sum(0), alpha, depth
