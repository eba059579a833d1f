"""Skills for documents: check a text, publish it below ``published/``."""

import re
from pathlib import Path

from avtomatika import Worker

worker = Worker()


@worker.skill
def check(text: str) -> dict:
    """Count the words. The outcome is ``incomplete`` if the text has lines that are still to be written."""
    if gaps := re.findall(r"\bTODO\b.*", text):
        return {"status": "incomplete", "data": {"gaps": gaps}}
    return {"words": len(text.split())}


@worker.skill
def publish(title: str, text: str, category: str) -> dict:
    name = re.sub(r"\W+", "-", title.lower()).strip("-")
    file = Path("published", category, f"{name}.md")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# {title}\n\n{text}\n")
    return {"file": str(file)}
