"""Archives and folders whose pictures, members or ends are missing or hostile."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import refused, survived
from PIL import Image

MODELS = (
    "--model", "dual_encoder=fake:dual-encoder?dimension=32", "--model", "image_unsafe=fake:image-scorer",
    "--set", "queries=[red thing, blue thing]", "--set", "k=3",
)  # fmt: skip
RETRIEVAL = "[retrieval]"


def encoded(colour: tuple[int, int, int], size: tuple[int, int] = (16, 16), form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, form)
    return content.getvalue()


def bomb() -> bytes:
    """A small file whose header announces ten gigabytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


PICTURES = {
    "red": encoded((220, 30, 30)), "green": encoded((30, 170, 50)), "blue": encoded((40, 60, 220), form="JPEG"),
    "cut": encoded((1, 2, 3), (64, 64))[:60], "page": b"<html>404</html>", "empty": b"", "bomb": bomb(), "svg": b"<svg>",
}  # fmt: skip
GOOD = 3


def archive(path: str, pictures: dict[str, bytes] = PICTURES) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i, (name, content) in enumerate(pictures.items()):
            meta = json.dumps({"url": f"https://a.example/{name}"}).encode()
            for ending, data in (("jpg", content), ("txt", f"a {name} thing".encode()), ("json", meta)):
                member = tarfile.TarInfo(f"{i:05d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return Path(path)


def test_pictures_that_cannot_be_decoded_are_counted(audit) -> None:
    archive("tars/0.tar")
    done = survived(
        audit("tars", *MODELS, probes=RETRIEVAL), f"retrieval: {len(PICTURES) - GOOD} pictures could not be decoded"
    )
    assert done.rows["used"] == len(PICTURES)
    Path("pictures/a").mkdir(parents=True)
    for name, content in PICTURES.items():
        Path(f"pictures/a/{name}.jpg").write_bytes(content)
    done = survived(
        audit("pictures", *MODELS, probes=RETRIEVAL), f"retrieval: {len(PICTURES) - GOOD} pictures could not be decoded"
    )
    assert done.rows["used"] == len(PICTURES)


def test_no_picture_can_be_decoded(audit) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "image": [b"x", None]}), "none.parquet")
    survived(audit("none.parquet", *MODELS, probes=RETRIEVAL), "none of 2 pictures could be decoded")


def test_pictures_as_the_hub_stores_them(audit) -> None:
    images = [{"bytes": content, "path": name} for name, content in PICTURES.items()]
    pq.write_table(pa.table({"text": list(PICTURES), "image": images}), "hub.parquet")
    survived(audit("hub.parquet", *MODELS, probes=RETRIEVAL), f"{len(PICTURES) - GOOD} pictures could not be decoded")


def test_a_picture_page_that_breaks_after_the_pass(audit) -> None:
    """The pass reads texts alone; the pictures of one part turn out to be damaged when the search wants them."""
    for name in ("a", "b"):
        Path("parts").mkdir(exist_ok=True)
        images = [encoded((220, i, 30), (64, 64)) + bytes(500) for i in range(30)]
        table = pa.table({"text": [f"red thing {i}" for i in range(30)], "image": images})
        plain = {"compression": "none", "write_page_checksum": True, "write_statistics": False}
        pq.write_table(table, f"parts/{name}.parquet", **plain, use_dictionary=False)
    whole = bytearray(Path("parts/b.parquet").read_bytes())
    at = whole.rindex(b"\x89PNG")
    whole[at : at + 200] = b"\xff" * 200
    Path("parts/b.parquet").write_bytes(bytes(whole))
    done = survived(
        audit("parts", *MODELS, probes=RETRIEVAL), "retrieval: 30 pictures could not be decoded", "b.parquet was left out"
    )
    assert done.rows["used"] == 60


@pytest.mark.parametrize("share", [0.1, 0.5, 0.77])
def test_a_cut_archive_is_never_taken_for_a_short_one(audit, share: float) -> None:
    path = archive("tars/1.tar", dict(list(PICTURES.items())[:3]))
    whole = path.read_bytes()
    content = whole[: whole.rindex(b"https://a.example") + 600]  # without the padding at the end
    path.write_bytes(content[: int(len(content) * share) // 512 * 512])
    refused(audit("tars"), "1.tar: ")
    archive("tars/0.tar")
    done = survived(audit("tars"), "1.tar was left out: ")
    assert done.rows["used"] == len(PICTURES)
    assert done.files["failed"] == {"unreadable file": 1}


def test_a_damaged_header_inside_an_archive(audit) -> None:
    path = archive("bad.tar")
    whole = bytearray(path.read_bytes())
    at = whole.index(b"00003.jpg")
    whole[at + 100 : at + 160] = b"?" * 60
    path.write_bytes(bytes(whole))
    refused(audit("bad.tar"), "bad.tar: is damaged at byte")


def test_members_that_point_elsewhere_are_not_followed(audit) -> None:
    with tarfile.open("links.tar", "w") as tar:
        link = tarfile.TarInfo("000.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        member = tarfile.TarInfo("../../001.txt")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    assert survived(audit("links.tar")).rows["used"] == 1
    assert not Path("../../001.txt").exists()
