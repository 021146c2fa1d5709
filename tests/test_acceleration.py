"""What makes frames faster says what it needs."""

import pytest
from mixtures import mixture

from moegs.acceleration import Acceleration, networks


@pytest.mark.parametrize(("asked", "flag"), [("cuda_graph", "--cuda-graph"), ("half", "--half")])
def test_what_needs_a_gpu_says_so(asked: str, flag: str) -> None:
    with pytest.raises(ValueError, match=rf"^{flag}: the mixture is on the CPU; it needs --device cuda$"):
        Acceleration(**{asked: True}).apply(mixture(("hex", "poly"), count=5, size=(16, 16)))


def test_networks_are_all_linear_layers_of_an_expert_and_nothing_with_a_row_per_gaussian() -> None:
    made = mixture(("hex", "emb", "poly", "key"), count=5, size=(16, 16))
    found = [
        {id(parameter) for network in networks(expert) for parameter in network.parameters()} for expert in made.members
    ]
    assert [bool(each) for each in found] == [True, True, False, False]
    for expert, inside in zip(made.members, found, strict=True):
        names = {name for name, parameter in expert.named_parameters() if id(parameter) in inside}
        assert names == {name for name, _ in expert.named_parameters() if ".weight" in name or ".bias" in name}
