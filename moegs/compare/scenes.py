"""Whether two checkpoints show one scene at one time, so that they can be compared at all."""

from moegs.data.scene import Rig

SAME_PLACE = 1e-3
"""Two cameras are one where their axes and focal lengths differ by less, and their places by less in scene extents."""


def check(a: Rig, b: Rig, names: tuple[str, str]) -> None:
    """Raises ValueError in one line, which calls them `names`, where two rigs do not show one scene at one time."""
    reason = _difference(a, b)
    if reason is not None:
        raise ValueError(f"'{names[0]}' and '{names[1]}': {reason}; compare mixtures of one data set")


def _difference(a: Rig, b: Rig) -> str | None:
    if a.timeline != b.timeline:
        spans = [f"{rig.timeline.frames} frames at {rig.timeline.fps:g} frames/s" for rig in (a, b)]
        if spans[0] == spans[1]:
            return "frames at other times"
        return f"different timelines, {spans[0]} and {spans[1]}"
    if a.names != b.names:
        strange = sorted(set(a.names) ^ set(b.names))
        return f"different cameras, '{strange[0]}' in one alone" if strange else "cameras in another order"
    for name, one, other in zip(a.names, a.cameras, b.cameras, strict=True):
        turn = float((one.viewmat[:3, :3] - other.viewmat[:3, :3]).abs().max())
        step = float((one.center - other.center).norm()) / max(a.extent, 1e-6)
        if turn > SAME_PLACE or step > SAME_PLACE:
            return f"different scenes, camera '{name}' stands elsewhere"
        zoom = float(one.K[1, 1]) / one.height / (float(other.K[1, 1]) / other.height)
        if abs(zoom - 1) > SAME_PLACE:
            return f"different cameras, '{name}' has another lens"
    return None
