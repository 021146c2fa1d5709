"""Ratios of medians of one run: what can be told of a machine that is never quiet."""

from collections.abc import Mapping, Sequence


def ratios(
    median: Mapping[str, float], pairs: Mapping[str, int], names: Sequence[str], others: Sequence[str]
) -> dict[str, float | None]:
    """Those of the whole mixture first, then of each of its experts `names`, then of each other checkpoint.

    `median`: milliseconds of every contender. None where there is nothing to compare.
    A mixture's frame that is put over its slowest member's has all that makes
    it faster; the member's instant is kept too, and it is neither pruned nor gated.
    """

    def over(above: str, below: str) -> float | None:
        return median[above] / median[below] if above in median and below in median else None

    def total(word: str) -> float:
        return sum((time for name, time in median.items() if name.startswith(f"{word}:")), start=0.0)

    alone = [f"member:{name}" for name in names if f"member:{name}" in median]
    slowest = max(alone, key=lambda name: median[name], default="none")
    fastest = _there(median, "frame")
    found = {
        "one_pass_over_separate": over("pass:one", "pass:separate"),
        "gated_over_separate": over("pass:gated", "pass:separate"),
        "tight_pairs_over_3sigma": pairs["tight_pixels"] / pairs["square_pixels"] if pairs["square_pixels"] else None,
        "culled_over_unculled": total("culled") / total("unculled") if total("unculled") else None,
        "cached_over_live": over("frame:exact", "frame:culled"),
        "frame_over_slowest_member": over(fastest, slowest),
        "exact_frame_over_slowest_member": over("frame:exact", slowest),
        "one_pass_frame_over_separate_frame": over("frame:one-pass", "frame:separate"),
        "all_over_one_pass_frame": over(fastest, "frame:one-pass"),
        "graph_over_exact_frame": over("frame:graph", "frame:exact"),
        "graph_gated_over_graph_frame": over("frame:graph-gated", "frame:graph"),
        "half_over_exact_frame": over("frame:half", "frame:exact"),
        "compiled_over_live_frame": over("frame:compiled", "frame:culled"),
        "tight_tiles_over_3sigma": pairs["tight_tiles"] / pairs["square_tiles"] if pairs["square_tiles"] else None,
    }
    for name in names:
        found[f"cached_over_live:{name}"] = over(f"member:{name}", f"member-live:{name}")
        found[f"culled_over_unculled:{name}"] = over(f"culled:{name}", f"unculled:{name}")
    for name in others:
        theirs = _there(median, f"against:{name}")
        found[f"frame_over_slowest_member:{name}"] = over(theirs, slowest)
        found[f"frame_over_frame:{name}"] = over(theirs, fastest)
    return found


def _there(median: Mapping[str, float], what: str) -> str:
    """The frame with all options, or where there is no gating with all others."""
    return f"{what}:all" if f"{what}:all" in median else f"{what}:exact"
