"""Make a contact sheet of a photo: analyse it, make smaller copies, arrange them on one sheet.

POST /api/v1/jobs/photo  {"initial_data": {"path": "/photos/lake.jpg"}}
"""

from avtomatika import Blueprint, F

bp = Blueprint(name="photo", api_endpoint="jobs/photo")

#: Longest sides in pixels. On a sheet the last three, with the gaps between them, are as wide as the first.
USUAL_SIZES = [960, 480, 320, 128]
FIRST_SIZES_OF_A_HUGE_ONE = [3840]


@bp.handler(is_start=True)
def look(initial_data, actions):
    actions.dispatch_task(
        "probe",
        {"path": initial_data["path"]},
        transitions={"success": "choose_sizes", "failure": "failed"},
        dispatch_timeout=60,
        result_timeout=60,
    )


@bp.handler("choose_sizes", F.job_data["longest_side"] <= 128)
def tiny(job_data, path, actions):
    """Use the photo itself: it is smaller than all sizes."""
    job_data["pictures"] = [path]
    actions.go_to("make_sheet")


@bp.handler("choose_sizes", F.job_data["megapixels"] > 40)
def huge(path, actions):
    """Shrink the photo once, so that the usual sizes are made from a smaller file."""
    actions.dispatch_task(
        "resize",
        {"path": path, "sizes": FIRST_SIZES_OF_A_HUGE_ONE},
        transitions={"success": "resize_shrunk", "failure": "failed"},
        result_timeout=300,
    )


@bp.handler("choose_sizes")
def usual(path, actions):
    actions.dispatch_task(
        "resize",
        {"path": path, "sizes": USUAL_SIZES},
        transitions={"success": "make_sheet", "failure": "failed"},
        result_timeout=120,
    )


@bp.handler
def resize_shrunk(pictures, actions):
    actions.dispatch_task(
        "resize",
        {"path": pictures[0], "sizes": USUAL_SIZES},
        transitions={"success": "make_sheet", "failure": "failed"},
        result_timeout=120,
    )


@bp.handler
def make_sheet(pictures, orientation, width, height, format, exif, colours, actions):
    actions.dispatch_task(
        "contact_sheet",
        {
            "pictures": pictures,
            "layout": "beside" if orientation == "portrait" else "below",
            "caption": caption(width, height, format, exif),
            "colours": colours,
        },
        transitions={"success": "done", "failure": "failed"},
    )


@bp.handler(is_end=True)
def done(contact_sheet, pictures, colours):
    return {"contact_sheet": contact_sheet, "pictures": pictures, "colours": colours}


@bp.handler(is_end="failed")
def failed(error):
    return {"reason": error["message"]}


def caption(width: int, height: int, format: str, exif: dict[str, str]) -> str:
    """Return one line about the photo.

    >>> caption(4000, 3000, "JPEG", {"camera": "Paintbox 1"})
    '4000 x 3000, JPEG, Paintbox 1'
    """
    return ", ".join([f"{width} x {height}", format, *exif.values()])
