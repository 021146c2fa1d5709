"""Inspector: the numbers at the pixel that was picked, of both sides where two are compared."""

from moegs import compare, probe
from moegs.variants import Variants
from viewer import markup
from viewer.picking import Point, pixel_at
from viewer.worker import Frame


def inspected(frame: Frame, variants: Variants, picked: Point) -> str:
    """What `frame`, a drawing of `variants`, has at `picked`, as HTML."""
    camera, asked, compared = frame.shot.camera, frame.order.shot.camera, frame.shot.comparison
    column, row = pixel_at(picked, camera.width, camera.height)
    titles = [""]
    if compared is not None:
        a, b = variants.sides(frame.shot)
        first, second = compare.ordered(a, b, compared)
        titles = [f"A  {first.name}", f"B  {second.name}"]
    found = [
        (title, probe.read(drawing.mixture, drawing.render, column, row))
        for title, drawing in zip(titles, frame.drawing.sides or (frame.drawing,), strict=True)
    ]
    place = pixel_at(picked, asked.width, asked.height)
    return markup.readings(found, variants.mixture.names, frame.shot.active, place)
