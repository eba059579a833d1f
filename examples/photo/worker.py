"""Skills for photos, with Pillow. Start it with:  avtomatika worker examples/photo/worker.py:worker

Output files are stored in ``var/photos/<job>/``, or in the folder that ``PHOTO_FOLDER`` names.
"""

import asyncio
import os
from pathlib import Path

from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps

from avtomatika import InvalidInputError, Worker

FOLDER = Path(os.environ.get("PHOTO_FOLDER", "var/photos"))
#: Measures of a contact sheet, in pixels.
MARGIN, GAP, CAPTION, SWATCH = 32, 16, 28, 28
LARGEST_ON_SHEET, NARROWEST_SHEET = 960, 640
PAPER, INK = "#f7f4ee", "#3b3a36"

worker = Worker(worker_type="photo")


@worker.skill()
def probe(params: dict):
    """Return size, format, orientation, main colours and EXIF data of the photo at ``path``."""
    photo = read_photo(params["path"])
    width, height = upright(photo).size
    return {
        "path": params["path"],
        "format": photo.format,
        "width": width,
        "height": height,
        "longest_side": max(width, height),
        "megapixels": round(width * height / 1e6, 1),
        "orientation": "portrait" if height > width else "landscape",
        "colours": main_colours(photo),
        "exif": camera_notes(photo),
    }


@worker.skill()
async def resize(params: dict, job_id: str):
    """Make a copy of the photo at ``path`` for each of ``sizes`` (longest side in pixels) that is smaller than it."""
    photo = upright(read_photo(params["path"]))
    sizes = [size for size in params["sizes"] if size < max(photo.size)]
    pictures = await asyncio.gather(*(asyncio.to_thread(shrink, photo, size, job_id) for size in sizes))
    return {"pictures": [str(picture) for picture in pictures]}


@worker.skill()
def contact_sheet(params: dict, job_id: str):
    """Arrange ``pictures`` on one sheet: the first one large, the others ``below`` or ``beside`` it, with a caption."""
    pictures = [for_sheet(path) for path in params["pictures"]]
    sheet = lay_out(pictures, is_below=params["layout"] == "below")
    sign(sheet, params["caption"], colours=params["colours"])
    file = job_folder(job_id) / "contact-sheet.jpg"
    sheet.save(file, quality=88)
    return {"contact_sheet": str(file)}


def read_photo(path: str) -> Image.Image:
    """Return the photo at *path*. Raises InvalidInputError if it cannot be read: a retry would not help."""
    try:
        with Image.open(path) as photo:
            photo.load()
    except FileNotFoundError:
        raise InvalidInputError(f"no such file: {path}") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise InvalidInputError(f"cannot read {path} as an image: {error}") from None
    return photo


def upright(photo: Image.Image) -> Image.Image:
    """Return the photo rotated as its EXIF orientation says, in RGB."""
    return ImageOps.exif_transpose(photo).convert("RGB")


def main_colours(photo: Image.Image) -> list[str]:
    """Return the five main colours of the photo, the most frequent first, as ``#rrggbb``."""
    small = photo.convert("RGB").resize((96, 96)).quantize(colors=5)
    palette = small.getpalette() or []
    counts = sorted(small.getcolors() or [], reverse=True)
    return ["#{:02x}{:02x}{:02x}".format(*palette[index * 3 : index * 3 + 3]) for _, index in counts]


def camera_notes(photo: Image.Image) -> dict[str, str]:
    exif = photo.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    notes = {
        "camera": exif.get(ExifTags.Base.Model),
        "taken": details.get(ExifTags.Base.DateTimeOriginal),
        "title": exif.get(ExifTags.Base.ImageDescription),
    }
    return {name: str(note).strip("\0 ") for name, note in notes.items() if note}


def shrink(photo: Image.Image, size: int, job_id: str) -> Path:
    """Save a copy whose longest side is *size* pixels; return its path."""
    file = job_folder(job_id) / f"{size}.jpg"
    ImageOps.contain(photo, (size, size), Image.Resampling.LANCZOS).save(file, quality=85)
    return file


def for_sheet(path: str) -> Image.Image:
    picture = upright(read_photo(path))
    picture.thumbnail((LARGEST_ON_SHEET, LARGEST_ON_SHEET))
    return picture


def lay_out(pictures: list[Image.Image], *, is_below: bool) -> Image.Image:
    """Return a sheet with the first picture large and the others in a row below it, or in a column beside it."""
    first, *others = pictures
    across = sum(picture.width + GAP for picture in others)
    down = sum(picture.height + GAP for picture in others)
    if is_below:
        inner = (max(first.width, across - GAP), first.height + GAP + max((p.height for p in others), default=0))
    else:
        inner = (first.width + GAP + max((p.width for p in others), default=0), max(first.height, down - GAP))
    foot = GAP + CAPTION + SWATCH + MARGIN
    sheet = Image.new("RGB", (max(inner[0] + 2 * MARGIN, NARROWEST_SHEET), MARGIN + inner[1] + foot), PAPER)
    sheet.paste(first, (MARGIN, MARGIN))
    x, y = (MARGIN, MARGIN + first.height + GAP) if is_below else (MARGIN + first.width + GAP, MARGIN)
    for picture in others:
        sheet.paste(picture, (x, y))
        x, y = (x + picture.width + GAP, y) if is_below else (x, y + picture.height + GAP)
    return sheet


def sign(sheet: Image.Image, caption: str, *, colours: list[str]) -> None:
    """Write *caption* at the bottom of the sheet, and draw the main colours below it."""
    draw = ImageDraw.Draw(sheet)
    top = sheet.height - MARGIN - SWATCH
    draw.text((MARGIN, top - CAPTION), caption, fill=INK, font=ImageFont.load_default(17))
    for place, colour in enumerate(colours):
        left = MARGIN + place * (SWATCH + 4)
        draw.rectangle((left, top, left + SWATCH, top + SWATCH), fill=colour)


def job_folder(job_id: str) -> Path:
    folder = FOLDER.resolve() / job_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    worker.run()
