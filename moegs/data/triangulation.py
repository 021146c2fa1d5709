"""Points triangulated from the photos of one instant, with the cameras as they are: COLMAP's features and matching."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
import torch

from moegs.data.scene import Photos, Rig
from moegs.gaussians import Points

INSTALL = "pip install 'moegs[colmap]'"
PEAK, EDGE = 0.004, 30.0
"""Thresholds of SIFT, looser than COLMAP's own for more points: those of Ex4DGS (Lee et al. 2024) on N3V."""


def triangulate(rig: Rig, photos: Photos, frame: int) -> Points:
    """Points seen by two or more training cameras at `frame`, with its time.

    Raises ValueError when pycolmap is not installed, or nothing matches.
    """
    try:
        pycolmap = import_module("pycolmap")
    except ImportError:
        raise ValueError(f"triangulation: needs pycolmap; {INSTALL}") from None

    pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
    with TemporaryDirectory() as place:
        folder = Path(place)
        named = {f"{rig.names[number]}.png": number for number in rig.train}
        _write_photos(folder / "photos", named, photos, frame)
        _match(pycolmap, folder, named, rig)
        known = _known_cameras(pycolmap, folder / "matches.db", named, rig)
        (folder / "points").mkdir()
        options = pycolmap.IncrementalPipelineOptions()
        options.triangulation.ignore_two_view_tracks = False
        result = pycolmap.triangulate_points(
            known, folder / "matches.db", folder / "photos", folder / "points", options=options
        )
    found = list(result.points3D.values())
    if not found:
        raise ValueError(f"triangulation: nothing matches between the training cameras at frame {frame}; give a file")
    means = torch.tensor(np.array([point.xyz for point in found]), dtype=torch.float32)
    colors = torch.tensor(np.array([point.color for point in found]), dtype=torch.float32) / 255
    return Points(means, colors, torch.full((len(found),), rig.timeline.t(frame)))


def _write_photos(folder: Path, named: Mapping[str, int], photos: Photos, frame: int) -> None:
    from PIL import Image

    folder.mkdir()
    for name, number in named.items():
        Image.fromarray(photos.at(number, frame).numpy()).save(folder / name)


def _match(pycolmap: ModuleType, folder: Path, named: Mapping[str, int], rig: Rig) -> None:
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
            K = rig.cameras[named[image.name]].K.double()
            camera.params = [float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])]
            camera.has_prior_focal_length = True
            database.update_camera(camera)
    pycolmap.match_exhaustive(folder / "matches.db", device=pycolmap.Device.cpu)


def _known_cameras(pycolmap: ModuleType, database_file: Path, named: Mapping[str, int], rig: Rig) -> object:
    """A reconstruction that has the cameras where the rig has them, and no points yet."""
    known = pycolmap.Reconstruction()
    with pycolmap.Database.open(database_file) as database:
        for camera in database.read_all_cameras():
            known.add_camera_with_trivial_rig(camera)
        for image in database.read_all_images():
            viewmat = rig.cameras[named[image.name]].viewmat.double().numpy()
            known.add_image_with_trivial_frame(image, pycolmap.Rigid3d(viewmat[:3]))
    return known
