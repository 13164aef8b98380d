"""No result may belong to another input: whatever is run in whatever order, stopped anywhere, by several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.errors import InputError, LeadlineError
from leadline.files import journal
from leadline.files.inputs import plan

PLACES = ("a/p.png", "a/q.png", "b/p.png", "b/p.jpg", "p.png")
CONTENTS = (b"aaaa", b"bbbb", b"cccc")  # all of one size


def depth_of(content: bytes, options: dict) -> bytes:
    """Stands for the network: what it makes of one picture with one set of options, and of nothing else."""
    return b"depth of " + content + json.dumps(options, sort_keys=True).encode()


def predict(inputs: list[Path], out: Path, options: dict, overwrite: bool = False) -> dict[Path, Path]:
    """What `leadline predict` does with its files; input → stem for those that went well."""
    done = {}
    for job in plan([str(path) for path in inputs], out).jobs:
        try:
            if overwrite or journal.finished(job.stem, job.source, options) is None:
                source = journal.identify(job.source)
                if not overwrite:
                    journal.refuse_other(job.stem, source)
                depth = depth_of(job.source.read_bytes(), options)
                parts = {".depth.png": depth, ".preview.png": depth[::-1]}
                if options["npy"]:
                    parts[".depth.npy"] = depth
                journal.commit(job.stem, source, options, {}, parts, overwrite)
            done[job.source] = job.stem
        except InputError:
            continue
    return done


def check_all(out: Path) -> None:
    """Every record's files, and only they, are what it says."""
    for path in out.rglob("*.json"):
        record = json.loads(path.read_text())
        stem = path.with_suffix("")
        if record.get("unfinished"):
            continue
        content = next(c for c in CONTENTS if journal_digest(c) == record["source"]["digest"])
        expected = depth_of(content, record["settings"])
        assert stem.with_name(f"{stem.name}.depth.png").read_bytes() == expected
        assert stem.with_name(f"{stem.name}.preview.png").read_bytes() == expected[::-1]
        array = stem.with_name(f"{stem.name}.depth.npy")
        assert array.exists() == record["settings"]["npy"]
        assert not array.exists() or array.read_bytes() == expected


def journal_digest(content: bytes) -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return journal.digest_of(Path(file.name))


class Stopped(BaseException):
    """A kill at any file operation."""


write_step = st.tuples(
    st.just("write"), st.sampled_from(PLACES), st.sampled_from(CONTENTS), st.booleans()
)  # keep the time of the file before?
run_step = st.tuples(
    st.just("run"),
    st.lists(
        st.sampled_from(("a", "b", "a/p.png", "b/p.png", "b/p.jpg", "p.png")), min_size=1, max_size=3, unique=True
    ),
    st.fixed_dictionaries({"weights": st.sampled_from(("w1", "w2")), "npy": st.booleans()}),
    st.booleans(),  # --overwrite
    st.one_of(st.none(), st.integers(1, 12)),  # stopped at this file operation
)


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(write_step, run_step), min_size=2, max_size=12))
def test_never_anothers_depth(steps):
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "out"
        for place in PLACES:
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_bytes(random.Random(place).choice(CONTENTS))
        for step in steps:
            if step[0] == "write":
                path = folder / step[1]
                before = path.stat()
                path.write_bytes(step[2])
                if step[3]:
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                continue
            _, inputs, options, overwrite, stop_at = step
            with pytest.MonkeyPatch.context() as patch:
                if stop_at is not None:
                    stop_after(patch, stop_at)
                try:
                    done = predict([folder / one for one in inputs], out, options, overwrite)
                except Stopped:
                    done = {}
            for source, stem in done.items():
                depth = stem.with_name(f"{stem.name}.depth.png").read_bytes()
                assert depth == depth_of(source.read_bytes(), options), (source, stem)
            check_all(out) if out.exists() else None


def stop_after(patch: pytest.MonkeyPatch, count: int) -> None:
    """Let ``count`` changes of the disk happen, then end as if killed."""
    left = count

    def guarded(function):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                raise Stopped
            return function(*args, **kwargs)

        return call

    patch.setattr(os, "replace", guarded(os.replace))
    patch.setattr(Path, "unlink", guarded(Path.unlink))
    patch.setattr(Path, "write_bytes", guarded(Path.write_bytes))
    patch.setattr(Path, "write_text", guarded(Path.write_text))


def _hammer(folder: Path, out: Path, name: str, seconds: float) -> None:
    end, options = time.monotonic() + seconds, {"weights": name, "npy": name == "a"}
    while time.monotonic() < end:
        predict([folder / name / "p.png"], out, options, overwrite=True)


def test_two_processes_on_one_output(tmp_path):
    for name, content in zip("ab", CONTENTS, strict=False):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.png").write_bytes(content)
    out = tmp_path / "out"
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=_hammer, args=(tmp_path, out, name, 1.5)) for name in "ab"]
    for process in both:
        process.start()
    looks = 0
    while any(process.is_alive() for process in both):
        with journal.locked(out):
            check_all(out)
            looks += 1
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert looks > 3
    check_all(out)
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []


def test_a_process_that_is_killed_leaves_true_records(tmp_path):
    for name, content in zip("ab", CONTENTS, strict=False):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.png").write_bytes(content)
    out, fork = tmp_path / "out", multiprocessing.get_context("fork")
    for attempt in range(12):
        process = fork.Process(target=_hammer, args=(tmp_path, out, "ab"[attempt % 2], 60))
        process.start()
        time.sleep(random.Random(attempt).uniform(0.03, 0.12))
        process.kill()
        process.join()
        check_all(out)


def test_the_same_name_from_two_folders(tmp_path):
    for place in ("a/p.bmp", "b/p.bmp"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_bytes(place.encode())
    stems = {
        job.source.parent.name: job.stem
        for job in plan([f"{tmp_path}/a/p.bmp", f"{tmp_path}/b/p.bmp"], Path("out")).jobs
    }
    again = {
        job.source.parent.name: job.stem
        for job in plan([f"{tmp_path}/b/p.bmp", f"{tmp_path}/a/p.bmp"], Path("out")).jobs
    }
    assert stems == again == {"a": Path("out/a/p"), "b": Path("out/b/p")}


def test_another_files_result_is_not_replaced_unasked(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.png").write_bytes(name.encode())
    stem, options = tmp_path / "out" / "p", {"steps": 1}
    first, second = (journal.identify(tmp_path / name / "p.png") for name in "ab")
    journal.commit(stem, first, options, {}, {".depth.png": b"a's"})
    with pytest.raises(InputError, match=r"another file.*--overwrite"):
        journal.commit(stem, second, options, {}, {".depth.png": b"b's"})
    assert (tmp_path / "out" / "p.depth.png").read_bytes() == b"a's"
    journal.commit(stem, second, options, {}, {".depth.png": b"b's"}, overwrite=True)
    assert journal.finished(stem, tmp_path / "a" / "p.png", options) is None
    assert journal.finished(stem, tmp_path / "b" / "p.png", options)


def test_a_moved_input_is_still_done_and_a_changed_one_is_not(tmp_path):
    photo, moved, stem = tmp_path / "p.png", tmp_path / "elsewhere.png", tmp_path / "out" / "p"
    photo.write_bytes(b"one")
    journal.commit(stem, journal.identify(photo), {}, {}, {".depth.png": b"d"})
    photo.rename(moved)
    assert journal.finished(stem, moved, {})
    times = moved.stat()
    moved.write_bytes(b"two")
    os.utime(moved, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert journal.finished(stem, moved, {}) is None


def test_an_untouched_file_is_not_read_again(tmp_path, monkeypatch):
    photo, stem = tmp_path / "p.png", tmp_path / "out" / "p"
    photo.write_bytes(b"one")
    monkeypatch.setattr(journal, "SETTLING_NS", -1)
    journal.commit(stem, journal.identify(photo), {}, {}, {".depth.png": b"d"})
    monkeypatch.setattr(journal, "digest_of", lambda path: pytest.fail("read again"))
    assert journal.finished(stem, photo, {})


def test_a_full_disk_keeps_the_earlier_result(tmp_path, monkeypatch):
    photo, stem = tmp_path / "p.png", tmp_path / "out" / "p"
    photo.write_bytes(b"one")
    source = journal.identify(photo)
    journal.commit(stem, source, {"steps": 1}, {}, {".depth.png": b"d"})
    before = {path.name: path.read_bytes() for path in stem.parent.iterdir()}

    def full(path, content):
        path.open("wb").write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LeadlineError, match=r"No space left.*free some space"):
        journal.commit(stem, source, {"steps": 2}, {}, {".depth.png": b"e"})
    assert {path.name: path.read_bytes() for path in stem.parent.iterdir()} == before


def test_a_record_cannot_have_other_files_removed(tmp_path):
    (tmp_path / "precious.txt").write_text("keep me")
    photo, stem = tmp_path / "p.png", tmp_path / "out" / "p"
    photo.write_bytes(b"one")
    stem.parent.mkdir()
    journal.record_path(stem).write_text(json.dumps({"files": {"../precious.txt": 7, "p/../../precious.txt": 7}}))
    journal.commit(stem, journal.identify(photo), {}, {}, {".depth.png": b"d"})
    assert (tmp_path / "precious.txt").read_text() == "keep me"


def test_a_finished_folder_of_a_thousand_answers_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SETTLING_NS", -1)  # photographs are older than two seconds
    (tmp_path / "in").mkdir()
    for number in range(1000):
        photo = tmp_path / "in" / f"{number}.png"
        photo.write_bytes(b"%d" % number * 2000)
        journal.commit(
            tmp_path / "out" / str(number), journal.identify(photo), {}, {}, {".depth.png": b"d", ".preview.png": b"p"}
        )
    began = time.process_time()
    jobs = plan([str(tmp_path / "in")], tmp_path / "out").jobs
    assert len(jobs) == 1000
    assert all(journal.finished(job.stem, job.source, {}) for job in jobs)
    assert time.process_time() - began < 3.0


def test_results_are_no_inputs(tmp_path):
    (tmp_path / "p.png").write_bytes(b"1")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p.depth.png").write_bytes(b"2")
    assert [job.source.name for job in plan([str(tmp_path)], tmp_path / "out").jobs] == ["p.png"]
