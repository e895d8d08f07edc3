"""Paths that lead nowhere, to nothing, or to something that is no data."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from outcomes import refused, survived, write_parquet


def test_missing_path_names_the_nearest(audit) -> None:
    refused(audit("nowhere.parquet"), "input 'pairs'", "nowhere.parquet does not exist")
    refused(audit("god.parquet"), "god.parquet does not exist - did you mean 'good.parquet'?")
    refused(audit("no/such/part.parquet"), "does not exist (nor does")
    refused(audit("*.nothing"), "*.nothing matches no file")
    refused(audit(""), "the path is empty")
    refused(audit("pairs="), "the path is empty")


def test_folders_without_data(audit) -> None:
    Path("empty").mkdir()
    refused(audit("empty"), "the folder", "empty holds no files")
    Path("papers").mkdir()
    Path("papers/readme.doc").write_text("x")
    refused(audit("papers"), "no file of a known format (found: doc)", "parquet")
    Path("folder.parquet").mkdir()
    refused(audit("folder.parquet"), "holds no files")
    write_parquet("spark.parquet/part-0.parquet")
    Path("spark.parquet/_SUCCESS").touch()
    assert survived(audit("spark.parquet")).rows["used"] == 20
    Path("two").mkdir()
    write_parquet("two/a.parquet")
    Path("two/b.csv").write_text("url,text\nx,y\n")
    refused(audit("two"), "mixes formats (1 parquet, 1 csv)", "glob")


@pytest.mark.parametrize(
    "name", ["with space/ünï çode.parquet", "a=b/k=1.parquet", "br[1].parquet", "$dollar.parquet", "~tilde.parquet"]
)
def test_odd_names_are_names(audit, name: str) -> None:
    write_parquet(name)
    assert survived(audit(f"pairs={name}" if "=" in name else name)).rows["used"] == 20


def test_file_name_that_is_no_text(audit) -> None:
    os.makedirs("odd")
    Path(os.fsdecode(b"odd/caf\xe9.parquet")).write_bytes(Path("good.parquet").read_bytes())
    Path(os.fsdecode(b"odd/bad\xff.parquet")).write_bytes(b"PAR1")
    done = survived(audit("odd"))
    assert done.rows["used"] == 20
    assert done.files["failed"] == {"unreadable file": 1}


def test_links_pipes_and_devices(audit) -> None:
    os.symlink("loop", "loop")
    refused(audit("loop"), "loop is a link that leads nowhere")
    os.mkfifo("pipe.parquet")
    refused(audit("pipe.parquet"), "is neither a file nor a folder")
    refused(audit("/dev/zero"), "/dev/zero is neither a file nor a folder")
    write_parquet("mixed/a.parquet")
    os.mkfifo("mixed/pipe.parquet")  # would be waited for without end
    os.symlink("nowhere.parquet", "mixed/dangling.parquet")
    os.symlink(".", "mixed/circle")
    assert survived(audit("mixed")).rows["used"] == 20


class Trap:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("SPRUNG",))


def test_pickles_are_refused_and_never_opened(audit) -> None:
    Path("trap.pkl").write_bytes(pickle.dumps(Trap()))
    np.save("trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez("trap.npz", l14_img=np.array([Trap()], dtype=object))
    refused(audit("trap.pkl"), "trap.pkl is a pickle, which can run code")
    refused(audit("trap.npy"), "no file of a known format")
    for name in ("trap.npy", "trap.npz"):
        refused(audit("good.parquet", f"embeddings={name}"), name, "can run code")
    refused(audit("good.parquet", "embeddings=trap.pkl"), "embeddings are .npy, .npz or .parquet files")
    model = Path("model")
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}')
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    refused(audit("good.parquet", "--model", "text_toxicity=./model"), "pytorch_model.bin can run code", "safetensors")
    assert not Path("SPRUNG").exists()


def test_embeddings_that_do_not_fit(audit) -> None:
    refused(audit("good.parquet", "embeddings=good.parquet"), "no column of lists, so no embeddings; columns: url, text")
    Path("nothing").mkdir()
    refused(audit("good.parquet", "embeddings=nothing"), "nothing: no embeddings")
    Path("cut.npy").write_bytes(b"\x93NUMPY\x01")
    refused(audit("good.parquet", "embeddings=cut.npy"), "cut.npy: damaged array file")
    np.save("short.npy", np.eye(7, 16, dtype=np.float32))
    search = ("--model", "dual_encoder=fake:dual-encoder?dimension=16", "--set", "queries=cat")
    done = audit("good.parquet", "embeddings=short.npy", *search, probes=None)
    refused(done, "7 vectors for 20 rows", lines=2)


def test_inputs_by_name(audit) -> None:
    refused(audit("pears=good.parquet"), "unknown input 'pears' - did you mean 'pairs'?")
    refused(audit("pairs=good.parquet", "good.parquet"), "given by name and also without one")
    refused(audit("baseline=good.parquet"), "needs the input pairs (pairs)")
    refused(audit("good.parquet", "baseline=gone.parquet"), "input 'baseline'", "gone.parquet does not exist")
    survived(audit("pairs=good.parquet", "pairs=good.parquet"), "named twice and are read once")


def test_out_folders(command, audit) -> None:
    Path("file").touch()
    Path("full").mkdir()
    Path("full/x").touch()
    run = ("audit", "image-text-dataset", "good.parquet", "--set", "probes=[anatomy]", "--quiet", "--out")
    refused(command(*run, "file"), "cannot make the run folder file")
    refused(command(*run, "file/below"), "cannot make the run folder file/below")
    refused(command(*run, "full"), "full is not empty: give another with --out")
    assert command(*run, "with space ü").code == 0
    refused(command(*run, "with space ü"), "it holds a run", "assaymark resume with space ü")
    assert Path("full/x").exists()
