"""Archives of strangers: nothing leaves the directory, nothing fills up, and what is good is unpacked."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hosts.archive import ArchiveError, Limits, extract, within

SMALL = Limits(unpacked_bytes=1 << 20, members=50, json_bytes=1000)


def member(name: str, data: bytes | None = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes | None]:
    info = tarfile.TarInfo(name)
    info.size = len(data or b"")
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def archive_of(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes | None]]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    return path


def sparse(fields: dict[int, bytes]) -> bytes:
    """The header of a sparse member, with these bytes at these offsets."""
    header = bytearray(tarfile.TarInfo("nodes/n/f").tobuf(tarfile.GNU_FORMAT))
    for at, value in {**fields, 156: tarfile.GNUTYPE_SPARSE, 148: b" " * 8}.items():
        header[at : at + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)  # its checksum, with spaces in its own place
    return bytes(header)


def unpack(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes | None]) -> tuple[Path, list[str]]:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    problems = extract(archive_of(tmp_path / "b.tar.gz", members), into, SMALL)
    return into, [str(problem) for problem in problems]


def outside(tmp_path: Path) -> set[str]:
    """Everything beside the archive and what was unpacked."""
    into = tmp_path / "deep" / "into"
    return {str(path) for path in tmp_path.rglob("*") if not path.is_relative_to(into)} - {
        str(tmp_path / "b.tar.gz"),
        str(tmp_path / "deep"),
    }


@pytest.mark.parametrize("target", ["l//", "l/", "l/."])
def test_a_link_to_itself_is_none_however_it_is_written(tmp_path: Path, target: str) -> None:
    into, problems = unpack(tmp_path, member("l", None, type=tarfile.SYMTYPE, linkname=target), member("good"))
    real = os.path.realpath(into)
    assert all(within(real, path) for path in into.rglob("*"))
    assert (into / "good").exists()
    assert len(problems) <= 1


def test_a_link_that_a_later_one_leads_elsewhere_is_looked_at_again(tmp_path: Path) -> None:
    into, problems = unpack(
        tmp_path,
        member("a", None, type=tarfile.SYMTYPE, linkname="loop///x"),
        member("loop", None, type=tarfile.SYMTYPE, linkname="./loop"),
        member("d/l", None, type=tarfile.SYMTYPE, linkname="x/../../y"),
        member("d/x", None, type=tarfile.SYMTYPE, linkname="../d"),
        member("good"),
    )
    real = os.path.realpath(into)
    assert all(within(real, path) for path in into.rglob("*"))
    assert not (into / "loop").is_symlink()
    assert (into / "good").read_bytes() == b"x"
    assert [problem.split(": ")[1] for problem in problems][:1] == ["loop"]


def test_a_sparse_member_whose_map_is_cut_short_is_damage(tmp_path: Path) -> None:
    header = sparse({482: b"\1"})  # the map goes on in a block that is not there
    path = tmp_path / "b.tar.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(header + b"1")
    (tmp_path / "into").mkdir()
    with pytest.raises(ArchiveError, match="not a readable"):
        extract(path, tmp_path / "into", SMALL)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/nodetell-evil", "..", "a/.."])
def test_paths_that_leave_are_refused_and_told(tmp_path: Path, name: str) -> None:
    into, problems = unpack(tmp_path, member(name, b"evil"), member("good"))
    assert [path.name for path in into.rglob("*")] == ["good"]
    assert problems == [f"b.tar.gz: {name}: a path that leaves the bundle: refused"]
    assert outside(tmp_path) == set()
    assert not Path("/tmp/nodetell-evil").exists()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"?"])
def test_devices_pipes_and_unknown_kinds_are_refused(tmp_path: Path, kind: bytes) -> None:
    into, problems = unpack(tmp_path, member("node", None, type=kind, devmajor=1, devminor=3), member("good"))
    modes = [path.lstat().st_mode for path in into.rglob("*")]
    assert all(stat.S_ISREG(mode) for mode in modes)
    assert (into / "good").read_bytes() == b"x"
    assert problems == ["b.tar.gz: node: a device, pipe or unknown kind of member: refused"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "a/../../../outside"])
def test_symbolic_links_out_are_refused(tmp_path: Path, target: str) -> None:
    into, problems = unpack(tmp_path, member("a/link", None, type=tarfile.SYMTYPE, linkname=target), member("good"))
    assert not (into / "a/link").is_symlink()
    assert problems == ["b.tar.gz: a/link: a link that leaves the bundle: refused"]
    assert (into / "good").exists()


def test_links_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    info = tarfile.TarInfo("nul")
    info.type, info.linkname, info.pax_headers = tarfile.SYMTYPE, "x", {"linkpath": "a\0b"}
    loop = member("loop", None, type=tarfile.SYMTYPE, linkname="loop")
    taken = member("good", None, type=tarfile.SYMTYPE, linkname="loop")
    path = tmp_path / "b.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
        for link, data in (member("good"), loop, taken):
            tar.addfile(link, io.BytesIO(data) if data is not None else None)
    (tmp_path / "into").mkdir()
    problems = [str(problem) for problem in extract(path, tmp_path / "into", SMALL)]
    assert [problem.split(": ")[1] for problem in problems] == ["nul", "loop", "good"]
    assert (tmp_path / "into" / "good").read_bytes() == b"x"


def test_no_member_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    _, problems = unpack_into_existing(
        tmp_path,
        member("d", None, type=tarfile.SYMTYPE, linkname=".."),
        member("d/evil", b"evil"),
        member("e", None, type=tarfile.SYMTYPE, linkname="/tmp"),
        member("e/nodetell-evil", b"evil"),
    )
    assert outside(tmp_path) == set()
    assert not Path("/tmp/nodetell-evil").exists()
    assert len(problems) == 2


def unpack_into_existing(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes | None]) -> tuple[Path, list[str]]:
    into = tmp_path / "deep" / "into"
    into.mkdir()
    return into, [str(each) for each in extract(archive_of(tmp_path / "b.tar.gz", members), into, SMALL)]


def test_links_that_lead_out_only_together_are_refused(tmp_path: Path) -> None:
    """Each is harmless by its name; the second changes where the first one leads."""
    into, _ = unpack(
        tmp_path,
        member("z/file"),
        member("p/q/a", None, type=tarfile.SYMTYPE, linkname="c/../../../y"),
        member("p/q/c", None, type=tarfile.SYMTYPE, linkname="../../z"),
        member("p/q/a/sub/b", None, type=tarfile.SYMTYPE, linkname="b"),
    )
    assert outside(tmp_path) == set()
    assert (into / "z/file").read_bytes() == b"x"


def test_hard_links_within_work_and_out_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    into, problems = unpack(
        tmp_path,
        member("a", b"first"),
        member("b", None, type=tarfile.LNKTYPE, linkname="a"),
        member("a", b"second"),
        member("c", None, type=tarfile.LNKTYPE, linkname="../../secret"),
        member("d", None, type=tarfile.LNKTYPE, linkname=str(secret)),
        member("e", None, type=tarfile.LNKTYPE, linkname="missing"),
    )
    assert (into / "b").read_bytes() == b"first"
    assert (into / "a").read_bytes() == b"second"
    assert not any((into / name).exists() for name in "cde")
    assert len(problems) == 3
    assert secret.stat().st_nlink == 1


def test_symbolic_links_within_work(tmp_path: Path) -> None:
    into, problems = unpack(
        tmp_path, member("t1/kube", None, type=tarfile.SYMTYPE, linkname="../t0/kube"), member("t0/kube/nodes.json")
    )
    assert problems == []
    assert (into / "t1/kube/nodes.json").read_bytes() == b"x"


def test_too_much_is_refused_whole(tmp_path: Path) -> None:
    bomb = member("zeros", bytes(600_000))
    with pytest.raises(ArchiveError, match="more than 1048576 bytes: refused"):
        unpack(tmp_path, bomb, member("zeros2", bytes(600_000)))


def test_a_size_that_is_only_claimed_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("claim")
    info.size = 1 << 40
    raw = info.tobuf(format=tarfile.GNU_FORMAT)
    path = tmp_path / "b.tar.gz"
    path.write_bytes(gzip.compress(raw + bytes(1024)))
    (tmp_path / "into").mkdir()
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        extract(path, tmp_path / "into", SMALL)


def test_too_many_members_are_refused_whole(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than 50 members: refused"):
        unpack(tmp_path, *[member(str(number)) for number in range(51)])


def test_a_path_through_very_many_folders_is_refused_alone(tmp_path: Path) -> None:
    """As many as the longest path has, more than a recursion may be deep: not even taking them away would work."""
    deep = member("/".join(["d"] * 1_500) + "/f")
    into, problems = unpack(tmp_path, member("before"), deep, member("after"))
    assert sorted(os.listdir(into)) == ["after", "before"]
    assert [problem.partition("...: ")[2] for problem in problems] == ["more than 64 folders deep: refused"]


def test_too_many_folders_are_refused_whole(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than 50 folders: refused"):
        unpack(tmp_path, *[member(f"{number}/b/c/d/e/f") for number in range(11)])


def test_a_folder_where_a_file_is_is_refused_alone(tmp_path: Path) -> None:
    folder = member("a", None, type=tarfile.DIRTYPE)
    into, problems = unpack(tmp_path, member("a"), folder, member("a/b"), member("c"))
    assert len(problems) == 2
    assert (into / "c").exists()


def test_an_endless_header_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3 << 20
    path = tmp_path / "b.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + b"a" * (3 << 20)))
    (tmp_path / "into").mkdir()
    with pytest.raises(ArchiveError, match="header"):
        extract(path, tmp_path / "into", Limits())


def test_a_huge_json_file_is_left_out_alone(tmp_path: Path) -> None:
    into, problems = unpack(
        tmp_path, member("t0/kube/pods.json", b"[" * 1001), member("t0/kube/apiserver.metrics", b"m" * 1001)
    )
    assert [path.name for path in into.rglob("*") if path.is_file()] == ["apiserver.metrics"]
    assert problems == ["b.tar.gz: t0/kube/pods.json: a JSON file of more than 1000 bytes: refused"]


def test_names_that_cannot_be_are_told(tmp_path: Path) -> None:
    into, problems = unpack(tmp_path, member("n" * 300), member("file"), member("file/below"), member("good"))
    assert sorted(path.name for path in into.iterdir()) == ["file", "good"]
    assert [problem.rsplit(": ", 2)[1] for problem in problems] == ["cannot be written"] * 2


def test_many_refusals_are_told_in_few_lines(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "b.tar.gz", [member(f"../{number}") for number in range(150)])
    (tmp_path / "into").mkdir()
    problems = extract(archive, tmp_path / "into", Limits())
    assert len(problems) == 101
    assert str(problems[-1]) == "b.tar.gz: 50 more members were refused"


def test_a_full_disk_is_no_fault_of_a_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = archive_of(tmp_path / "b.tar.gz", [member("a"), member("b")])
    (tmp_path / "into").mkdir()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="No space left"):
        extract(archive, tmp_path / "into", SMALL)


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    members = [member("t0/first", os.urandom(30_000)), member("t0/second", os.urandom(30_000))]
    return archive_of(tmp_path / "whole.tar.gz", members).read_bytes()


def test_what_comes_before_a_cut_is_good(tmp_path: Path, packed: bytes) -> None:
    path, into = tmp_path / "b.tar.gz", tmp_path / "into"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    into.mkdir()
    problems = [str(problem) for problem in extract(path, into, SMALL)]
    assert [each.name for each in into.rglob("*") if each.is_file()] == ["first"]
    assert problems[0] == "b.tar.gz: t0/second: the archive ends in the middle of it"
    assert problems[1].startswith("b.tar.gz: damaged after ")


def test_a_header_overwritten_in_the_middle_is_not_the_end(tmp_path: Path, packed: bytes) -> None:
    raw = bytearray(gzip.decompress(packed))
    second = raw.index(b"t0/second")
    raw[second : second + 512] = b"\x55" * 512
    path, into = tmp_path / "b.tar.gz", tmp_path / "into"
    path.write_bytes(gzip.compress(bytes(raw)))
    into.mkdir()
    problems = [str(problem) for problem in extract(path, into, SMALL)]
    assert [each.name for each in into.rglob("*") if each.is_file()] == ["first"]
    assert problems
    assert f"no valid header at offset {second}" in problems[0] or "invalid header" in problems[0]


@pytest.mark.parametrize(
    "raw", [b"", b"not an archive", gzip.compress(b"", mtime=0), gzip.compress(b"text" * 1000, mtime=0)]
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_bytes(raw)
    (tmp_path / "into").mkdir()
    with pytest.raises(ArchiveError, match=r"not a readable \.tar\.gz"):
        extract(path, tmp_path / "into", SMALL)


@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_any_damage_is_a_problem_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("damage")
    path, into = tmp_path / "b.tar.gz", tmp_path / "into"
    into.mkdir()
    raw = bytearray(gzip.decompress(archive_of(path, [member("a/b", b"1" * 2000), member("c", b"2")]).read_bytes()))
    raw[position % len(raw)] = byte
    path.write_bytes(gzip.compress(bytes(raw), mtime=0))
    with contextlib.suppress(ArchiveError):
        extract(path, into, SMALL)
    assert {each.name for each in tmp_path.iterdir()} == {"b.tar.gz", "into"}


def test_a_member_that_says_it_is_longer_than_anything_is_not_read_for_ever(tmp_path: Path) -> None:
    """tarfile passes over a sparse member's bytes by reading as many as its header says, whatever it gets."""
    # Its size in the stream, and unpacked.
    header = sparse({124: b"\x80" + (1 << 60).to_bytes(11, "big"), 483: b"00000000010\0"})
    path = tmp_path / "b.tar.gz"
    with gzip.open(path, "wb") as packed:
        good = tarfile.TarInfo("nodes/n/g")
        good.size = 1
        packed.write(good.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(tarfile.BLOCKSIZE, b"\0") + header)
    (tmp_path / "into").mkdir()
    problems = [str(problem) for problem in extract(path, tmp_path / "into", SMALL)]
    assert (tmp_path / "into/nodes/n/g").read_bytes() == b"x"
    assert "what comes before is read" in problems[-1]
