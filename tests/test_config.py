from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from moegs import config
from moegs.config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Ball:
    kind: Literal["ball"] = "ball"
    radius: float = 1.0
    color: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise ValueError(f"radius: got {self.radius}, expected a positive number")


@dataclass(frozen=True, kw_only=True)
class Box:
    kind: Literal["box"] = "box"
    sides: int = 6


@dataclass(frozen=True, kw_only=True)
class World:
    name: str
    folder: Path = Path(".")
    things: tuple[Ball | Box, ...] = ()
    limit: int | None = None
    rule: Literal["fast", "exact"] = "exact"


FULL = """
name: room
folder: data/room
things:
  - {kind: ball, radius: 1e-3, color: [1, 0, 0.5]}
  - {kind: box, sides: 4}
limit: 3
rule: fast
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "world.yaml"
    path.write_text(FULL)
    return path


def test_yaml_becomes_the_typed_dataclass(file: Path) -> None:
    expected = World(
        name="room", folder=Path("data/room"), things=(Ball(radius=1e-3, color=(1.0, 0.0, 0.5)), Box(sides=4)), limit=3,
        rule="fast",
    )  # fmt: skip
    assert config.load(World, file) == expected
    assert config.build(World, config.dump(expected), "again") == expected


def test_overrides_go_through_the_same_checks(file: Path) -> None:
    world = config.load(World, file, ["things[1].sides=8", "limit=null", "name=hall"])
    assert (world.things[1], world.limit, world.name) == (Box(sides=8), None, "hall")
    with pytest.raises(ConfigError, match=r"world.yaml.things\[1\].sides: got 'many', expected int"):
        config.load(World, file, ["things[1].sides=many"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nfoldr: x", r"world.yaml.foldr: unknown key, did you mean 'folder'\?"),
        ("folder: x", "world.yaml: missing key 'name'; add it"),
        ("name: 3", "world.yaml.name: got 3, expected str"),
        ("name: a\nlimit: 1.5", "world.yaml.limit: got 1.5, expected int"),
        ("name: a\nlimit: true", "world.yaml.limit: got True, expected int"),
        ("name: a\nrule: exat", r"world.yaml.rule: got 'exat', expected fast or exact, did you mean 'exact'\?"),
        ("name: a\nthings: 3", "world.yaml.things: got 3, expected a list"),
        (
            "name: a\nthings: [{kind: bal}]",
            r"world.yaml.things\[0\].kind: got 'bal', expected ball or box, did you mean",
        ),
        ("name: a\nthings: [{kind: [ball]}]", r"world.yaml.things\[0\].kind: got \['ball'\], expected ball or box"),
        ("name: a\nthings: [{kind: ball, radius: -1}]", r"things\[0\]: radius: got -1.0, expected a positive number"),
        ("name: a\nthings: [{kind: ball, color: [1, 2]}]", r"things\[0\].color: got 2 entries, expected 3"),
        ("- a\n- b", r"world.yaml: got \['a', 'b'\], expected a mapping with the keys of World"),
        ("name: [", "world.yaml: not YAML"),
        ("[" * 5000, "world.yaml: not YAML"),
        (f"name: a\nthings: [{{kind: ball, radius: 1{'0' * 400}}}]", "radius: got a number of 401 digits"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        config.load(World, file)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("override", ["name", "=3", "things[7].sides=3", "name.first=3", "limit.x.y=1", "limit=["])
def test_an_override_that_sets_nothing_is_refused(file: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        config.load(World, file, [override])


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml: does not exist; give a YAML file"):
        config.load(World, tmp_path / "nowhere.yaml")
