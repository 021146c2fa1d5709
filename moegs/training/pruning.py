"""A mixture without the Gaussians that matter least: how many go, and how it learns to do without them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from moegs import config, evaluation, pruning
from moegs.checkpoint import Checkpoint
from moegs.data.scene import Scene
from moegs.mixture import Mixture
from moegs.pruning import Criterion, Scope
from moegs.schedules import Steps
from moegs.training.events import Scored, Told, Working
from moegs.training.joint import JointTrainee
from moegs.training.loop import OnEvent, Plan, compile_kernels, run
from moegs.training.routing import RouterTrainee, RouterTraining
from moegs.training.sampling import Shuffled
from moegs.training.validation import mean_psnr

NAME = "pruned"
"""Of the phase, in events and files."""
CUT = "cut"
"""Of the state that its fine-tuning starts from."""
HUNDREDTHS = 100
"""Steps of the ratio among which the largest within `max_drop` is looked for."""
FALL = 0.1
"""Of their start, what learning rates have fallen to when the fine-tuning ends."""

Masks = dict[str, Bool[Tensor, " _"]]


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """How many Gaussians go (exactly one of the first three says it), by which score, and what is learned afterwards.

    Scores and losses are measured on training cameras alone.
    """

    ratio: float | None = None
    """The share that goes, in [0, 1]; 0 only weighs them."""
    threshold: float | None = None
    """Those with a lower score go."""
    max_drop: float | None = None
    """The largest ratio, in hundredths, by which the PSNR falls no further than this before fine-tuning, dB."""
    criterion: Criterion = "contribution"
    """`gate-gradient`: how much the gate of its expert depends on a Gaussian, as published. `contribution`: how much it
    adds to the mixture's pictures."""
    scope: Scope = "mixture"
    """Whether the ratio is of all Gaussians together, or of each expert's alike. A threshold has no share."""
    weigh_every: int = 1
    """Each so many frames of every training camera give the scores."""
    check_every: int = 5
    """On each so many of them the loss that `max_drop` bounds is measured."""
    finetune: Steps = 0
    """Steps that the router learns afterwards."""
    finetune_experts: bool = False
    """Whether the experts then learn with it."""
    router_rate: float = 0.1
    """Of the router's learning rates at the start of its training: what the fine-tuning starts with ..."""
    expert_rate: float = 4.0
    """... and of the experts' at the end of theirs. Those of w, w_dir and the experts fall to a tenth of it."""

    def __post_init__(self) -> None:
        asked = [name for name in ("ratio", "threshold", "max_drop") if getattr(self, name) is not None]
        if len(asked) != 1:
            raise ValueError(f"pruning: got {', '.join(asked) or 'none'} of ratio, threshold and max_drop; give one")
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise ValueError(f"ratio: got {self.ratio:g}, expected the share of Gaussians that goes, in [0, 1]")
        if self.threshold is not None and self.scope == "expert":
            raise ValueError("scope: got expert with a threshold, which is the same for every expert; leave scope out")
        for name in ("threshold", "max_drop"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: got {getattr(self, name):g}, expected a number of 0 or more")
        if self.weigh_every < 1 or self.check_every < 1:
            raise ValueError(
                f"weigh_every, check_every: got {self.weigh_every} and {self.check_every}, expected at least 1 frame"
            )
        if self.finetune < 0:
            raise ValueError(f"finetune: got {self.finetune}, expected 0 or more steps")
        for name in ("router_rate", "expert_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: got {getattr(self, name):g}, expected a positive factor")
        if self.finetune_experts and not self.finetune:
            raise ValueError("finetune_experts: without finetune nothing learns; give its steps, or leave this out")


def check(mixture: Mixture, settings: Pruning, scene: Scene) -> None:
    """Raises ValueError where `mixture` cannot be pruned as `settings` ask for, with the photos of `scene`."""
    evaluation.check_data(mixture, scene)
    if not mixture.rig.train:
        raise ValueError("pruning: the checkpoint has no training camera to weigh Gaussians on")
    learns = mixture.router is not None and next(mixture.router.parameters(), None) is not None
    if settings.finetune and not learns and not settings.finetune_experts:
        raise ValueError("finetune: this mixture has no router that learns; leave it out, or add finetune_experts")
    check_criterion(mixture, settings.criterion)
    if settings.max_drop is not None:
        views(mixture, scene, settings.check_every)


def check_criterion(mixture: Mixture, criterion: Criterion) -> None:
    """Raises ValueError where the router of `mixture` gives its Gaussians no score by `criterion`."""
    if criterion == "gate-gradient" and (mixture.router is None or not len(mixture.router.feature_background)):
        raise ValueError(
            "criterion: there is no gate-gradient under this router, which writes nothing on Gaussians; take "
            "contribution"
        )


def weighed(mixture: Mixture, scene: Scene, every: int, on_event: OnEvent) -> dict[str, dict[str, Tensor]]:
    """The scores by all criteria, on each `every`th frame of the training cameras."""
    compile_kernels(NAME, mixture, on_event)
    return pruning.importance(mixture, views(mixture, scene, every), telling("Gaussians weighed in views", on_event))


def cut(whole: Checkpoint, scene: Scene, settings: Pruning, on_event: OnEvent, fresh: bool = False) -> Checkpoint:
    """`whole` without the Gaussians that go, and the scores of those that stay; what was done stands in its provenance.

    Scores that `whole` holds already are taken from there, unless `fresh`. What it holds of held-out cameras is left
    out. Raises ValueError as `check` does.
    """
    mixture = whole.mixture
    check(mixture, settings, scene)
    scores, stored = dict(whole.importance), not fresh and settings.criterion in whole.criteria
    if stored and settings.weigh_every > 1:
        told = f"its scores by {settings.criterion} are in the checkpoint already, so that weigh_every is not used"
        on_event(Told(f"{told}; --weigh-anew measures them again", warning=True))
    if not stored:
        scores = weighed(mixture, scene, settings.weigh_every, on_event)
    masks, found = chosen(mixture, scores[settings.criterion], scene, settings, on_event)
    left = pruning.pruned(mixture, masks)
    before, after = _counts(mixture), _counts(left)
    facts = {
        **found,
        "share": 1 - sum(after.values()) / max(sum(before.values()), 1),
        "gaussians": {"before": before, "after": after},
        "weighed": "stored" if stored else f"every {settings.weigh_every} frames of {len(mixture.rig.train)} cameras",
        "settings": config.dump(settings),
    }
    if "pruned" in whole.provenance:
        facts["earlier"] = whole.provenance["pruned"]
    kept = {
        criterion: {name: values.to(masks[name].device)[masks[name]] for name, values in each.items()}
        for criterion, each in scores.items()
    }
    return Checkpoint(left, {}, {**whole.provenance, "pruned": facts}, kept)


def finetuned(
    thin: Checkpoint, scene: Scene, settings: Pruning, training: RouterTraining, plan: Plan, on_event: OnEvent
) -> Checkpoint:
    """`thin` after `settings.finetune` steps, as `plan` has them; `training`: how its router was trained.

    Scores of Gaussians that learned are left out: they were those of others.
    """
    mixture, factor = thin.mixture, settings.router_rate
    rates = {name: factor * getattr(training, name) for name in ("rate_weights", "rate_temporal", "rate_network")}
    steps = {"steps": settings.finetune, "decay": FALL, "decay_steps": settings.finetune}
    training = replace(training, temperature=None, temperatures=(), **rates, **steps)
    if settings.finetune_experts:
        trainee = JointTrainee(NAME, training, settings.expert_rate, mixture, scene)
    else:
        trainee = RouterTrainee(NAME, training, mixture, scene)
    draws = Shuffled(scene.pairs(mixture.rig.train), expect=scene.expect)
    seconds = run(trainee, draws, plan, on_event)
    facts = thin.provenance["pruned"] | {"seconds": seconds}
    learned = mixture.twin()
    kept = {} if settings.finetune_experts else thin.importance
    origin = {**thin.provenance, "pruned": facts}
    return replace(thin, mixture=learned.requires_grad_(False), provenance=origin, importance=kept)


def scored(thin: Checkpoint, whole: Checkpoint, scene: Scene, on_event: OnEvent) -> Checkpoint:
    """`thin` with its scores on the held-out cameras, if there are any, beside the PSNR of `whole`."""
    if not thin.mixture.rig.test:
        return thin
    before = whole.psnr if whole.scores.get("split") == "test" else None
    if before is None:
        told = telling("pictures scored", on_event)
        before = evaluation.evaluate(whole.mixture, scene, on_picture=told).mixture.psnr
    found = evaluation.evaluate(thin.mixture, scene, on_picture=telling("pruned pictures scored", on_event))
    on_event(Scored(NAME, "test", found.mixture.psnr))
    psnrs = {"before": before, "after": found.mixture.psnr}
    facts = thin.provenance["pruned"] | {"test_psnr": psnrs}
    return replace(thin, scores=asdict(found), provenance={**thin.provenance, "pruned": facts})


def chosen(
    mixture: Mixture, scores: Mapping[str, Float[Tensor, " _"]], scene: Scene, settings: Pruning, on_event: OnEvent
) -> tuple[Masks, dict[str, Any]]:
    """Which rows stay, and what was found on the way."""
    if settings.threshold is not None:
        return pruning.kept_from(scores, settings.threshold), {}
    if settings.ratio is not None:
        return pruning.kept(scores, settings.ratio, settings.scope), {}
    assert settings.max_drop is not None
    pairs, done = views(mixture, scene, settings.check_every), 0

    def psnr(of: Mixture) -> float:
        nonlocal done
        done += 1
        return mean_psnr(of, scene, pairs, telling(f"pictures, trial {done}", on_event))

    whole = psnr(mixture)
    ratio, drop = largest(
        lambda ratio: whole - psnr(pruning.pruned(mixture, pruning.kept(scores, ratio, settings.scope))),
        settings.max_drop,
    )
    found = {"ratio": ratio, "train_psnr": {"before": whole, "after": whole - drop}, "checked": len(pairs)}
    return pruning.kept(scores, ratio, settings.scope), found


def largest(drop: Callable[[float], float], most: float) -> tuple[float, float]:
    """The largest ratio in hundredths whose `drop` is at most `most`, found by bisection, and its drop.

    Taken for granted is that a larger ratio drops more; ratio 0 drops nothing.
    """
    low, high, found = 0, HUNDREDTHS, 0.0
    while high - low > 1:
        middle = (low + high) // 2
        loss = drop(middle / HUNDREDTHS)
        if loss <= most:
            low, found = middle, loss
        else:
            high = middle
    return low / HUNDREDTHS, found


def views(mixture: Mixture, scene: Scene, every: int) -> list[tuple[int, int]]:
    """Each `every`th frame of the mixture's training cameras: never a camera that it holds out."""
    if every < 1:
        raise ValueError(f"every: got {every}, expected 1 or more frames")
    found = [pair for pair in scene.pairs(mixture.rig.train) if pair[1] % every == 0]
    if not found:
        raise ValueError(f"pruning: no training camera has a photo at any {every}th frame; take more frames")
    return sorted(found, key=lambda pair: pair[1])  # a mixture keeps its last instants


def telling(what: str, on_event: OnEvent) -> Callable[[int, int], None]:
    """Hears how many of `what` are done, and says so."""
    return lambda done, of: on_event(Working(NAME, what, done, of))


def _counts(mixture: Mixture) -> dict[str, int]:
    return {name: len(expert) for name, expert in zip(mixture.names, mixture.members, strict=True)}
