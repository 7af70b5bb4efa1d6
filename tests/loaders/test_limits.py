"""What a file claims is held against memory before any is taken; what was cut or flipped is a named error."""

import gzip
import multiprocessing
import resource
import struct
import time
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import scipy.io

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsError, SettingsError
from neurotools.loaders.reading.limits import (
    array_bytes,
    check_size,
    gunzip,
    limited_to,
    memory_limit,
    readable,
)

LIMIT = 2**20
SAID = {"kind": "calcium", "dims": ("unit", "time"), "sfreq": 1}


def refused(path, code="NT-FILE-005", **said):
    """The error of a load under a limit of 1 MiB, which must come without unpacking the 128 MiB."""
    tracemalloc.start()
    with limited_to(LIMIT), pytest.raises(FileError) as told:
        nt.load(path, **{**SAID, **said})["calcium/activity"].to_numpy()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told.value.code == code, told.value
    assert peak < 24 * LIMIT  # of which most is modules that are imported on the way
    return told.value


def test_limit_is_half_of_free_memory_unless_said():
    assert 2**26 < memory_limit() < 2**42
    with limited_to(100):
        assert memory_limit() == 100
        with limited_to(50):
            assert memory_limit() == 50
        assert memory_limit() == 100
    assert memory_limit() > 100
    with pytest.raises(SettingsError):
        limited_to(0).__enter__()


def test_sizes_cannot_overflow_and_read_well(tmp_path):
    assert array_bytes((2**32, 2**32, 2**32), 8) == 2**99
    assert [readable(n) for n in (0, 1023, 2048, 3 * 2**30, 2**60)] == [
        "0 bytes", "1023 bytes", "2.0 KiB", "3.0 GiB", "1.02e+03 PiB"
    ]  # fmt: skip
    with pytest.raises(FileError, match="claims more data") as told:
        check_size(2**70, tmp_path, "it")
    assert "limited_to" in told.value.fix


# ---- bombs -----------------------------------------------------------------------------------------
def test_npz_bomb(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros((2**12, 2**12)))
    assert (tmp_path / "bomb.npz").stat().st_size < 200_000
    error = refused(tmp_path / "bomb.npz")
    assert "128.0 MiB claimed" in error.found


def test_npz_whose_array_claims_more_than_its_member(tmp_path):
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (64, 262144), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("a.npy", header + struct.pack("<H", len(text)) + text + b"\x00" * 800)
    refused(tmp_path / "lie.npz")
    with pytest.raises(FileError, match="shorter than its header promises") as told:
        nt.load(tmp_path / "lie.npz", **SAID)
    assert told.value.code == "NT-FILE-003"
    assert told.value.found == "800 bytes"


def test_npy_that_claims_the_sky(tmp_path):
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 99999), }".ljust(117) + b"\n"
    (tmp_path / "sky.npy").write_bytes(header + struct.pack("<H", len(text)) + text + b"\x00" * 800)
    with pytest.raises(NeurotoolsError) as told:
        nt.load(tmp_path / "sky.npy", **SAID)["calcium/activity"].to_numpy()
    assert told.value.code in {"NT-FILE-003", "NT-FILE-005"}


@pytest.mark.parametrize("filled", [False, True])
def test_hdf5_bomb(tmp_path, filled):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("a", shape=(2**12, 2**12), dtype="f8", compression="gzip", fillvalue=1.0)
        if filled:
            file["a"][:] = 0.0
    assert (tmp_path / "bomb.h5").stat().st_size < 400_000
    refused(tmp_path / "bomb.h5")


def test_mat_bomb(tmp_path):
    scipy.io.savemat(tmp_path / "bomb.mat", {"a": np.zeros((2**12, 2**12))}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 400_000
    refused(tmp_path / "bomb.mat")


def test_mat_bomb_that_hides_behind_a_small_claim(tmp_path):
    # The inner tag states 48 bytes; the zlib stream would go on for 128 MiB and is never unpacked further.
    tag = struct.pack("<II", 14, 48)
    packed = zlib.compress(tag + b"\x00" * (128 * 2**20))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "lie.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    refused(tmp_path / "lie.mat", code="NT-FILE-004")


def test_table_and_gzip_bombs(tmp_path):
    (tmp_path / "big.csv").write_text("1,2\n" * 200_000)
    refused(tmp_path / "big.csv")
    with gzip.open(tmp_path / "bomb.gz", "wb") as stream:
        stream.write(b"\x00" * (64 * 2**20))
    tracemalloc.start()
    with pytest.raises(FileError, match="unpacks to more") as told:
        gunzip(tmp_path / "bomb.gz", most=LIMIT)
    assert told.value.code == "NT-FILE-005"
    assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    tracemalloc.stop()
    assert gunzip(tmp_path / "bomb.gz")[:4] == b"\x00" * 4
    whole = (tmp_path / "bomb.gz").read_bytes()
    (tmp_path / "bomb.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="cut short") as told:
        gunzip(tmp_path / "bomb.gz")
    assert told.value.code == "NT-FILE-003"


def test_hdf5_that_never_ends(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.ones((2, 4))
        file.attrs["schema"] = "some text"
    content = bytearray((tmp_path / "x.h5").read_bytes())
    heap = content.index(b"GCOL")
    free = content.index(b"\x00\x00\x00\x00\x00\x00\x00\x00", heap + 16 + 16 + len("some text"))
    free += -(free - heap) % 8
    assert 0 < int.from_bytes(content[free + 8 : free + 16], "little") < 5000
    content[free + 8 : free + 16] = bytes(8)
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(FileError, match="piece of no length") as told:
        nt.load(tmp_path / "x.h5", **SAID)
    assert told.value.where == f"byte {free}"


# ---- files that reach outside themselves ------------------------------------------------------------
def test_hdf5_that_shows_another_file_is_refused(tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"\x01" * 64)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.ones((2, 4))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("raw", (8,), dtype="f8", external=[(str(tmp_path / "secret.txt"), 0, 64)])
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "a")
        layout = h5py.VirtualLayout(shape=(2, 4), dtype="f8")
        layout[...] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", shape=(2, 4))
        file.create_virtual_dataset("virtual", layout)
    for name, words, dims in (
        ("raw", "from other files", ("time",)),
        ("virtual", "from other files", ("unit", "time")),
        ("link", "no array named 'link'", ("unit", "time")),
    ):
        with pytest.raises(FileError, match=words):
            nt.load(tmp_path / "x.h5", **{**SAID, "dims": dims}, array=name)


# ---- cut short, and flipped ------------------------------------------------------------------------
def small_files(folder):
    """One small file per format, with what has to be said of it."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 40))
    np.savez(folder / "x.npz", a=values, b=np.arange(5))
    np.savez_compressed(folder / "packed.npz", a=values, b=np.arange(5))
    np.save(folder / "x.npy", values)
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = np.arange(3.0), "words"
    content = {"a": values, "c": cells, "s": {"f": 1.5, "g": "text"}}
    scipy.io.savemat(folder / "x.mat", content)
    scipy.io.savemat(folder / "packed.mat", content, do_compression=True)
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("a", data=values)
        file["g/text"] = ["left", "right"]
    with h5py.File(folder / "packed.h5", "w") as file:
        file.create_dataset("a", data=values, compression="gzip", shuffle=True, fletcher32=True)
    np.savetxt(folder / "x.csv", values.T, delimiter=",", header="a,b,c", comments="")
    np.savetxt(folder / "x.txt", values.T)
    np.savez(folder / "choices.npz", choice=np.arange(8) % 2, session_start=[0, 4], x=np.ones(8))
    nt.save(nt.load(folder / "x.npy", kind="calcium", dims=("unit", "time"), sfreq=10), folder / "saved.nc")
    said = {"kind": "calcium", "array": "a", "dims": ("unit", "time"), "sfreq": 10}
    table = {"kind": "calcium", "dims": ("time", "unit"), "sfreq": 10}
    return {
        "x.npz": said, "packed.npz": said, "x.npy": {**said, "array": None}, "x.mat": said,
        "packed.mat": said, "x.h5": said, "packed.h5": said, "x.csv": table, "x.txt": table,
        "choices.npz": {"kind": "behaviour"},
        "saved.nc": {},
    }  # fmt: skip


NAMES = ("x.npz", "packed.npz", "x.npy", "x.mat", "packed.mat", "x.h5", "packed.h5", "x.csv", "x.txt",
         "choices.npz", "saved.nc")  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return folder, small_files(folder)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_named(files, tmp_path, name):
    folder, said = files
    whole = (folder / name).read_bytes()
    nt.load(folder / name, **said[name])
    path = tmp_path / name
    for n in sorted({*range(1, min(len(whole), 200), 7), *np.linspace(200, len(whole) - 1, 25).astype(int)}):
        path.write_bytes(whole[:n])
        try:
            nt.load(path, **said[name])
        except NeurotoolsError:
            continue
        # Text that ends after a row, or within the digits of a number, cannot be told from a whole one.
        assert name in {"x.csv", "x.txt"}


def mutated(whole, rng):
    """A copy with bytes flipped, zeroed, cut out, doubled or cut off."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        at, n = int(rng.integers(len(content))), int(rng.integers(1, 9))
        match rng.integers(5):
            case 0:
                content[at] ^= 1 << int(rng.integers(8))
            case 1:
                content[at : at + n] = rng.bytes(min(n, len(content) - at))
            case 2:
                content[at : at + n] = b"\xff" * min(n, len(content) - at)
            case 3:
                del content[at : at + n]
            case _:
                content[at:at] = content[at : at + 64]
        content = content or bytearray(b"\x00")
    return bytes(content)


def _try_all(folder, name, said, seeds, found):
    """Load mutated copies under a cap of memory; report the class of whatever escapes, and the slowest."""
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    whole = (folder / name).read_bytes()
    path = folder / f"mutated-{name}"
    slowest = 0.0
    for seed in seeds:
        path.write_bytes(mutated(whole, np.random.default_rng([seed, len(whole)])))
        began = time.perf_counter()
        try:
            for node in nt.load(path, **said).subtree:
                node.to_dataset(inherit=False).load()
        except NeurotoolsError:
            pass
        except BaseException as error:
            found.put((name, seed, f"{type(error).__name__}: {error}"[:300]))
            return
        slowest = max(slowest, time.perf_counter() - began)
    found.put((name, None, slowest))


N_MUTATIONS = 150


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_give_a_reading_or_a_named_error(files, name):
    folder, said = files
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()
    # In a process of its own, so that a crash of a reading library is seen and not suffered.
    worker = context.Process(target=_try_all, args=(folder, name, said[name], range(N_MUTATIONS), found))
    worker.start()
    worker.join(120)
    hung = worker.is_alive()
    if hung:
        worker.kill()
    assert not hung, "a mutated file takes for ever"
    assert worker.exitcode == 0, f"the reader crashed with exit code {worker.exitcode}"
    _, seed, result = found.get()
    assert seed is None, f"seed {seed}: {result}"
    assert result < 5.0
