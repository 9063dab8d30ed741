"""The command line on a bucket, and from local disk into a bucket and back."""

from __future__ import annotations

import subprocess
import sys
import uuid

from tests.storage.conftest import url_of

import holdall


def _holdall(*arguments):
    command = [sys.executable, "-m", "holdall.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_put_ls_cat_verify_rm_and_conformance(moto_server, scheme, tmp_path):
    """Each command does on a bucket what it does on local disk, and the suite finds every promise held."""
    url = url_of(moto_server, scheme, f"cli/{uuid.uuid4().hex}")
    (tmp_path / "f.txt").write_bytes(b"some bytes\n")
    file_id = _holdall("-s", url, "put", str(tmp_path / "f.txt")).stdout.strip()

    assert file_id.startswith("file-")
    assert "f.txt" in _holdall("-s", url, "ls").stdout
    assert _holdall("-s", url, "cat", file_id).stdout == "some bytes\n"
    assert "no problem" in _holdall("-s", url, "verify").stdout
    assert _holdall("-s", url, "rm", file_id).returncode == 0
    assert file_id not in _holdall("-s", url, "ls").stdout
    done = _holdall("conformance", url, "--only", "create.returns_complete_info,content.roundtrip_boundary_sizes")
    assert done.returncode == 0, done.stdout
    assert "CONFORMANT" in done.stdout.splitlines()[-1]
    # Secrets of the URL are nobody's business.
    assert "holdall-test-secret" not in done.stdout + done.stderr


def test_from_local_disk_into_a_bucket_and_back(seaweedfs_server, scheme, tmp_path):
    """`holdall copy` keeps ids, metadata and bytes both ways; a second run sends only what is new."""
    bucket = url_of(seaweedfs_server, scheme, f"move/{uuid.uuid4().hex}", part_size="5MiB")
    sizes = [0, 1, 6 * 1024 * 1024]
    with holdall.open_store(tmp_path / "old") as old:
        for size in sizes:
            old.create(f"{size} ü.bin", bytes(size), purpose="batch", metadata={"n": size})
        assert _holdall("copy", str(tmp_path / "old"), bucket).stdout.startswith("3 copied")
        old.create("late", b"x", purpose="batch")
        assert _holdall("copy", str(tmp_path / "old"), bucket).stdout.startswith("1 copied")
        assert _holdall("copy", bucket, str(tmp_path / "new")).stdout.startswith("4 copied")
        with holdall.open_store(tmp_path / "new") as new:
            assert list(new) == list(old)
            assert [new.get_content(f.id) for f in new] == [old.get_content(f.id) for f in old]
