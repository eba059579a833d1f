"""Write 1,000 files and count their words. Run it while ``avtomatika up`` runs here."""

from pathlib import Path

from avtomatika.client import Client


def main() -> None:
    write_texts(Path("texts"), sound=997, broken=3)
    write_texts(Path("wrecks"), sound=20, broken=11)
    with Client.from_environment() as client:
        for folder in ("texts", "wrecks", "nowhere"):
            job = client.wait(client.submit("count", {"folder": folder})["job_id"])
            told = job["result"] if job["status"] == "finished" else job["result"]["code"]
            print(f"{folder}: {job['status']}, {told}")


def write_texts(folder: Path, *, sound: int, broken: int) -> None:
    """Write files of up to 500 words, and some that are not UTF-8."""
    folder.mkdir()
    for number in range(sound):
        (folder / f"{number:04}.txt").write_text(" ".join(["word"] * (1 + number % 500)))
    for number in range(broken):
        (folder / f"broken-{number}.txt").write_bytes(b"\xff\xfe\xfd")


if __name__ == "__main__":
    main()
