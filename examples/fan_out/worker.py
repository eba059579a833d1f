"""Skills for text files."""

from pathlib import Path

from avtomatika import InvalidInputError, Worker

worker = Worker()


@worker.skill
def list_files(folder: Path) -> dict:
    files = sorted(str(file) for file in folder.glob("*.txt"))
    if not files:
        raise InvalidInputError(f"no texts in {folder}")
    return {"files": files}


@worker.skill
def count_words(file: Path) -> dict:
    try:
        return {"words": len(file.read_text(encoding="utf-8").split())}
    except UnicodeDecodeError:
        raise InvalidInputError(f"{file} is not UTF-8") from None  # trying again would not help
