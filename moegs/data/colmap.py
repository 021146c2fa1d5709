"""The layout of COLMAP: a sparse model, and beside it what each of its images' cameras filmed.

The model in `sparse/0/`, `sparse/`, `colmap/sparse/0/` or the folder itself. An image called `cam00.png` or
`cam00/0000.png` is camera `cam00` where a video or folder of that name lies there. Where none does, or the model has
several images of one camera, each image is a picture of its own from a moving camera, in the order of their file names.
"""

from pathlib import Path

from moegs.data import colmap_model, places, poses
from moegs.data.colmap_model import Image
from moegs.data.config import DataConfig
from moegs.data.folder import Folder, open_pictures
from moegs.data.point_files import own_points
from moegs.data.recording import Recording, Take

MODELS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap_0/sparse/0", ".")
HELD_OUT = 8
"""Of a moving camera's pictures, each so manieth is held out, as COLMAP data sets are split (Mip-NeRF 360)."""


def read(config: DataConfig) -> Recording:
    """The recording in `config.path`; the first camera is held out, of a moving camera each eighth picture.

    Raises ValueError in one line for files that are missing, damaged or do not belong together.
    """
    folder = config.path
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; set data.path to the data set's folder")
    model = next((folder / place for place in MODELS if colmap_model.lies_in(folder / place)), None)
    if model is None:
        raise ValueError(f"{folder}: no COLMAP model here; expected 'sparse/0/cameras.bin' and 'images.bin', or .txt")
    registered = colmap_model.read(model)
    if not registered:
        raise ValueError(f"{model}: a model without images; register them first")
    points = own_points(folder) or colmap_model.points_in(model)
    images = {_camera_name(image): image for image in registered}
    footage = places.footage(config, lambda name: name in images) if len(images) == len(registered) else {}
    if not footage:
        return _moving(config, registered, points)
    if missing := [name for name in images if name not in footage]:
        raise ValueError(
            f"{folder}: {len(footage)} of {len(images)} cameras of the model have frames, missing '{missing[0]}'; add "
            f"{places.LAYOUTS}"
        )
    takes = []
    for name, film in footage.items():
        image, size = images[name], (film.width, film.height)
        where = f"{model}: image '{image.name}'"
        intrinsics = poses.scaled(where, image.intrinsics, image.size, size)
        takes.append(Take(name, poses.camera(where, image.viewmat, intrinsics, size), film))
    return Recording(tuple(takes), (takes[0].name,) if len(takes) > 1 else (), points)


def _camera_name(image: Image) -> str:
    path = Path(image.name)
    return path.parent.name or path.stem


def _moving(config: DataConfig, images: list[Image], points: tuple[Path, ...]) -> Recording:
    """Each image is a camera of its own; the kth of the n file names there are is at time k / n."""
    film = _pictures(config, images)
    size = film.width, film.height
    moments = sorted({Path(image.name).stem for image in images})
    takes = []
    for number, image in enumerate(images):
        where = f"{config.path}: image '{image.name}'"
        camera = poses.camera(where, image.viewmat, poses.scaled(where, image.intrinsics, image.size, size), size)
        name, moment = Path(image.name).with_suffix("").as_posix(), moments.index(Path(image.name).stem)
        takes.append(Take(name, camera, film, pictures=(number,), times=(moment / len(moments),)))
    return Recording(tuple(takes), tuple(take.name for take in takes[::HELD_OUT]), points)


def _pictures(config: DataConfig, images: list[Image]) -> Folder:
    pictures = []
    for image in images:
        here = (config.path / place / image.name for place in ("images", "."))
        found = next((path for path in here if path.is_file()), None)
        if found is None:
            raise ValueError(
                f"{config.path}: nothing of '{image.name}' here; add the picture 'images/{image.name}', or for the "
                f"camera '{_camera_name(image)}' {places.LAYOUTS}"
            )
        pictures.append(found)
    return open_pictures(pictures[0].parent, pictures, config.background)
