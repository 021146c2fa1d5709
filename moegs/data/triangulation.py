"""Points triangulated from the photos of one instant, with the cameras as they are: COLMAP's features and matching."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
import torch

from moegs.data import point_files
from moegs.data.config import DataConfig
from moegs.data.scene import OnPrepared, Scene
from moegs.data.stores import folder_of, locked
from moegs.files import replacing
from moegs.gaussians import Points

INSTALL = "pip install 'moegs[colmap]'"
PEAK, EDGE = 0.004, 30.0
"""Thresholds of SIFT, looser than COLMAP's own for more points: those of Ex4DGS (Lee et al. 2024) on N3V."""
FORMAT = "1"
"""To be raised when other points come out than before, so that old files are not used."""


class NothingFoundError(ValueError):
    """No points could be triangulated, told in one line."""


def triangulate(scene: Scene, config: DataConfig, on_prepared: OnPrepared) -> Points:
    """Points seen by two or more training cameras at the first frame or at several, each with its frame's time.

    They are kept in the cache folder, so that they are computed once for all experts, processes and later runs.
    Raises NothingFoundError when nothing matches at any frame, or no frame has photos of two training cameras.
    """
    timeline = scene.rig.timeline
    both = {frame: _cameras_at(scene, frame) for frame in range(timeline.frames)}
    frames = [frame for frame, cameras in both.items() if len(cameras) > 1]
    if not frames:
        raise NothingFoundError("no frame has photos of two training cameras, between which points could be found")
    frames = frames[:1] if config.points_at == "first" else frames[:: config.points_step]
    parts = []
    for done, frame in enumerate(frames, start=1):
        means, colors = _kept(scene, both[frame], frame, folder_of(config))
        parts.append(Points(means, colors, torch.full((len(means),), timeline.t(frame))))
        on_prepared("triangulated frames", done, len(frames))
    found = [torch.cat([getattr(part, name) for part in parts]) for name in ("means", "colors", "times")]
    if len(found[0]) < 2:
        raise NothingFoundError("triangulation: nothing matches between the training cameras; give a file of points")
    return Points(*found)


def _cameras_at(scene: Scene, frame: int) -> list[int]:
    return [number for number in scene.rig.train if frame in scene.frames(number)]


def _kept(scene: Scene, cameras: Sequence[int], frame: int, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions and colours at `frame`, from the file that another process or run made of the same photos."""
    key = hashlib.sha256(f"{FORMAT} {import_module('pycolmap').__version__} {PEAK} {EDGE}".encode())
    for number in cameras:
        camera = scene.rig.cameras[number]
        for values in (camera.viewmat, camera.K, scene.photos.at(number, frame)):
            key.update(values.numpy().tobytes())
    path = folder / f"points-{key.hexdigest()[:16]}.npz"
    with locked(path):
        if not path.exists():
            xyz, rgb = _run(scene, cameras, frame)
            with replacing(path) as temporary:
                np.savez(temporary, xyz=xyz, rgb=rgb)
    return point_files.read(path)


def _run(scene: Scene, cameras: Sequence[int], frame: int) -> tuple[np.ndarray, np.ndarray]:
    pycolmap = import_module("pycolmap")
    pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
    with TemporaryDirectory() as place:
        folder = Path(place)
        named = {f"{number:05}.png": number for number in cameras}
        _write_photos(folder / "photos", named, scene, frame)
        _match(pycolmap, folder, named, scene)
        known = _known_cameras(pycolmap, folder / "matches.db", named, scene)
        (folder / "points").mkdir()
        options = pycolmap.IncrementalPipelineOptions()
        options.triangulation.ignore_two_view_tracks = False
        result = pycolmap.triangulate_points(
            known, folder / "matches.db", folder / "photos", folder / "points", options=options
        )
    found = list(result.points3D.values())
    xyz = np.array([point.xyz for point in found], dtype=np.float64).reshape(-1, 3)
    return xyz, np.array([point.color for point in found], dtype=np.uint8).reshape(-1, 3)


def _write_photos(folder: Path, named: Mapping[str, int], scene: Scene, frame: int) -> None:
    from PIL import Image

    folder.mkdir()
    for name, number in named.items():
        Image.fromarray(scene.photos.at(number, frame).numpy()).save(folder / name)


def _match(pycolmap: ModuleType, folder: Path, named: Mapping[str, int], scene: Scene) -> None:
    """Features of each photo and their matches between all pairs, verified with the true intrinsics."""
    options = pycolmap.FeatureExtractionOptions()
    options.sift.peak_threshold, options.sift.edge_threshold = PEAK, EDGE
    reader = pycolmap.ImageReaderOptions(camera_model="PINHOLE")
    pycolmap.extract_features(
        folder / "matches.db",
        folder / "photos",
        image_names=list(named),
        camera_mode=pycolmap.CameraMode.PER_IMAGE,
        reader_options=reader,
        extraction_options=options,
        device=pycolmap.Device.cpu,
    )
    with pycolmap.Database.open(folder / "matches.db") as database:
        for image in database.read_all_images():
            camera = database.read_camera(image.camera_id)
            K = scene.rig.cameras[named[image.name]].K.double()
            camera.params = [float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])]
            camera.has_prior_focal_length = True
            database.update_camera(camera)
    pycolmap.match_exhaustive(folder / "matches.db", device=pycolmap.Device.cpu)


def _known_cameras(pycolmap: ModuleType, database_file: Path, named: Mapping[str, int], scene: Scene) -> object:
    """A reconstruction that has the cameras where the rig has them, and no points yet."""
    known = pycolmap.Reconstruction()
    with pycolmap.Database.open(database_file) as database:
        for camera in database.read_all_cameras():
            known.add_camera_with_trivial_rig(camera)
        for image in database.read_all_images():
            viewmat = scene.rig.cameras[named[image.name]].viewmat.double().numpy()
            known.add_image_with_trivial_frame(image, pycolmap.Rigid3d(viewmat[:3]))
    return known
