"""Ids: minted in order, never twice, and nothing accepted that could be a path or another id's spelling."""

from __future__ import annotations

import inspect
import itertools
import string
import subprocess
import sys
import textwrap
import threading
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests import fakes, strategies
from tests.interleaving import disturbed

from holdall import FileNotFound, FileStore, InvalidFileId, InvalidRequest, ids

NOW = strategies.NOW_MS / 1000
SAFE = set(string.ascii_letters + string.digits + "_-")
MINTED = "file-01a31c7b5c0070008000000000000001"

BAD_IDS = {
    "empty": "",
    "only the prefix": "file-",
    "no prefix": "0" * 32,
    "parent": "../x",
    "parent behind the prefix": "file-../x",
    "absolute": "/etc/passwd",
    "slash": "file-a/b",
    "backslash": "file-a\\b",
    "dot": "file-a.b",
    "NUL": "file-a\0",
    "newline at the end": MINTED + "\n",
    "space at the end": MINTED + " ",
    "percent": "file-%61",
    "capital prefix": "FILE-a",
    "capital hexadecimal": "file-" + MINTED[5:].upper(),
    "mixed hexadecimal": MINTED.replace("c", "C", 1),
    "full-width digits": "file-１２３",
    "full-width prefix": "ｆｉｌｅ-a",
    "ligature": "ﬁle-a",
    "Cyrillic letter": "file-а",
    "Arabic digit": "file-١",
    "en dash": "file–a",
    "129 characters": "file-" + "a" * 129,
    "1 MB": "file-" + "a" * 1_000_000,
    "half a surrogate pair": "file-\ud800",
}


@pytest.fixture
def minter():
    return ids.IdMinter(fakes.Clock(NOW))


def test_within_one_millisecond_ids_rise_and_keep_their_time(minter):
    """Ids of one millisecond are in the order they were minted, all different, with the clock's time in each."""
    minted = [minter.mint() for _ in range(5000)]

    texts = [file_id for file_id, _ in minted]
    assert texts == sorted(set(texts))
    assert {created_at for _, created_at in minted} == {int(NOW)}
    assert {ids.minted_at_ms(file_id, strategies.NOW_MS) for file_id in texts} == {strategies.NOW_MS}


def test_ids_of_many_threads_rise_in_each_and_are_all_different():
    """Each thread sees its ids rise, and no two threads get the same one."""
    minter = ids.IdMinter()
    got = [[] for _ in range(4)]
    start = threading.Barrier(len(got))

    def work(mine):
        start.wait(30)
        mine.extend(minter.mint()[0] for _ in range(2000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(mine == sorted(mine) for mine in got)
    assert len(set(itertools.chain.from_iterable(got))) == 8000


def test_another_thread_may_mint_in_the_middle_of_a_mint(monkeypatch):
    """Whatever the moment: the two ids differ, and the next one is greater than both."""
    here = threading.get_ident()
    # The other thread's id is far ahead of this one's, so that whoever forgets it falls back behind it.
    monkeypatch.setattr(ids.os, "urandom", lambda n: (b"\0" if threading.get_ident() == here else b"\xff") * n)
    for nth in itertools.count(1):
        minter = ids.IdMinter(fakes.Clock(NOW))
        first, _ = minter.mint()
        others = []
        (mine, _), reached = disturbed(ids, minter.mint, nth, lambda m=minter, o=others: o.append(m.mint()[0]))
        if not reached:
            break
        following, _ = minter.mint()
        assert first < min(mine, *others) < max(mine, *others) < following
    assert nth > 50


def test_a_minted_id_is_a_uuid_of_version_7(minter):
    """Others can read our ids: they are UUIDs of version 7 in RFC 9562's variant."""
    value = uuid.UUID(minter.mint()[0].removeprefix("file-"))

    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert value.int >> 80 == strategies.NOW_MS


def test_the_next_id_cannot_be_guessed(minter):
    """Between two ids of one millisecond lies a random step of about 40 bits."""
    numbers = [int(minter.mint()[0][5:], 16) & ((1 << 62) - 1) for _ in range(200)]
    steps = {after - before for before, after in itertools.pairwise(numbers)}

    assert len(steps) == 199
    assert max(step.bit_length() for step in steps) >= 38


def test_every_random_bit_is_random():
    """Over many first ids of a millisecond, each of the 73 random bits is seen both set and clear."""
    seen = [int(ids.IdMinter(fakes.Clock(NOW)).mint()[0][5:], 16) for _ in range(200)]
    always, ever = seen[0], 0
    for value in seen:
        always &= value
        ever |= value

    fixed = sum(1 for bit in range(80) if (ever >> bit & 1) == (always >> bit & 1))
    assert fixed == 80 - 73


@pytest.mark.parametrize("back", [0.001, 1.0, 9.9])
def test_a_clock_that_steps_back_a_little_does_not_disturb_the_order(back):
    """Ids keep rising when the clock is set back by up to ten seconds."""
    clock = fakes.Clock(NOW)
    minter = ids.IdMinter(clock)
    before, _ = minter.mint()
    clock.now -= back
    after, created_at = minter.mint()

    assert after > before
    assert created_at == int(NOW)


def test_a_clock_that_was_an_hour_wrong_is_followed_back():
    """One wrong hour does not stamp every later file with a time in the future."""
    clock = fakes.Clock(NOW + 3600)
    minter = ids.IdMinter(clock)
    minter.mint()
    clock.now = NOW
    file_id, created_at = minter.mint()

    assert created_at == int(NOW)
    assert ids.minted_at_ms(file_id, strategies.NOW_MS) == strategies.NOW_MS


def test_running_out_of_random_numbers_borrows_from_the_next_millisecond(minter):
    """The order holds even when a millisecond has no greater id left."""
    minter.mint()
    minter._last_random = (1 << 74) - 1
    last = ids.lower_bound(strategies.NOW_MS + 1)
    file_id, _ = minter.mint()

    assert file_id > last
    assert ids.minted_at_ms(file_id, strategies.NOW_MS) == strategies.NOW_MS + 1


def test_a_clock_before_1970_still_mints_valid_ids():
    """A machine without the time can store files; their ids count as minted elsewhere."""
    file_id, created_at = ids.IdMinter(fakes.Clock(-1e9)).mint()

    assert ids.is_valid(file_id)
    assert created_at == 0
    assert ids.minted_at_ms(file_id, strategies.NOW_MS) is None
    assert ids.adopt("file-abc", -1e9) == ("file-abc", 0)


def test_a_fork_in_the_middle_of_a_mint_lets_the_child_mint():
    """The minter that all stores share is seen to at a fork without anybody's help."""
    code = """
        import os, signal, threading
        from holdall import ids
        thread = threading.Thread(target=ids.DEFAULT_MINTER._lock.acquire)
        thread.start()
        thread.join()
        if child := os.fork():
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        signal.alarm(20)
        ids.DEFAULT_MINTER.mint()
        os._exit(7)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=False)

    assert done.returncode == 7


@pytest.mark.timeout(30)
def test_a_signals_handler_can_mint_while_its_thread_does(minter):
    """It may come at any moment, with the lock held too: nobody waits for ever, and the two ids differ."""
    lock, inner = minter._lock, []

    class Interrupted:
        def __enter__(self):
            lock.acquire()
            minter._lock = lock
            inner.append(minter.mint())

        def __exit__(self, *_):
            lock.release()

    minter._lock = Interrupted()
    assert minter.mint() not in inner


@given(
    st.text(st.one_of(st.sampled_from(sorted(SAFE)), st.characters()), max_size=140).map("file-".__add__) | st.text()
)
@example("file-" + "F" * 32)
@example("file-" + "F" * 33)
def test_exactly_the_safe_texts_are_ids(text):
    """An id is `file-` and 1 to 128 safe characters, except 32 hexadecimal digits with a capital among them."""
    rest = text[5:]
    safe = text[:5] == "file-" and 1 <= len(rest) <= 128 and set(rest) <= SAFE
    recased = len(rest) == 32 and set(rest) <= set(string.hexdigits) and rest != rest.lower()

    assert ids.is_valid(text) == (safe and not recased)


_names = st.one_of(strategies.minted_ids(), strategies.foreign_ids, st.from_regex(r"(?s)\A[^/]+\Z"))


@given(st.one_of(st.lists(strategies.minted_ids()), st.lists(_names)))
@example([""])
@example(["file-01a21ce61ff37425bde7013ddb15ac70\n"])
def test_looking_at_many_names_at_once_is_looking_at_each(names):
    """Whether all of many names are of the minted form is told as if each was looked at; of none, all are."""
    assert ids.have_minted_form(names) == all(map(ids.has_minted_form, names))


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("put", [*"0789abcfegil-AFßz\udc80", ""])
def test_one_other_character_among_many_names_is_seen(put, at):
    """A character that is replaced, put in or taken out anywhere is seen, wherever its name stands among the others."""
    minter = ids.IdMinter()
    for place in range(38):
        for end in (place, place + 1):
            names = [minter.mint()[0] for _ in range(3)]
            names[at] = names[at][:place] + put + names[at][end:]
            assert ids.have_minted_form(names) == all(map(ids.has_minted_form, names)), names


@pytest.mark.parametrize("at", [0, 999, 1000, 2000])
def test_a_strange_name_among_thousands_is_seen(at):
    """Names are looked at many at a time; each of them is looked at."""
    minter = ids.IdMinter()
    names = [minter.mint()[0] for _ in range(2001)]
    assert ids.have_minted_form(names)

    names[at] = names[at].upper()
    assert not ids.have_minted_form(names)


@given(strategies.minted_ids(), st.integers(0, 37), st.characters())
def test_one_strange_character_anywhere_spoils_an_id(file_id, at, character):
    """Whatever is put into a valid id, it stays valid only if what was put in is safe."""
    spoilt = file_id[:at] + character + file_id[at:]

    assert not ids.is_valid(spoilt) or character in SAFE


@given(strategies.minted_ids())
def test_a_minted_id_in_capitals_is_refused(file_id):
    """The same digits in capitals would be the same file on some file systems, and another on others."""
    capital = "file-" + file_id[5:].upper()

    assert ids.is_valid(capital) == (capital == file_id)


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 48) - 1), st.data())
def test_a_bound_sorts_between_the_times(ms, other, data):
    """The bound of a time lies before every id minted then or later, and after every earlier one."""
    file_id = data.draw(strategies.minted_ids(ms=st.just(other)))

    assert (ids.lower_bound(ms) < file_id) == (ms <= other)


@given(strategies.minted_ids())
def test_every_minted_id_lies_in_the_plausible_range(file_id):
    """What holdall minted up to now is inside the range that tells ours from others'."""
    first, last = ids.plausible_range(strategies.NOW_MS)

    assert first < file_id < last
    assert ids.minted_at_ms(file_id, strategies.NOW_MS) == int(file_id[5:17], 16)


def test_the_plausible_range_ends_where_an_id_is_no_longer_ours():
    """A day ahead of the clock to the millisecond, for the range as for the single id."""
    _, end = ids.plausible_range(strategies.NOW_MS)
    for ahead, ours in ((86_400_000, True), (86_400_001, False)):
        file_id = f"file-{strategies.NOW_MS + ahead:012x}7fffbfffffffffffffff"
        assert (ids.minted_at_ms(file_id, strategies.NOW_MS) is not None) is ours
        assert (file_id < end) is ours


def test_a_bound_of_a_time_that_no_id_has_is_the_nearest_one():
    """A clock that is wrong by ages makes no text that sorts among the ids of now."""
    assert ids.lower_bound(-5) == ids.lower_bound(0) == "file-000000000000"
    assert ids.lower_bound(1 << 60) == "file-ffffffffffff"


@given(st.lists(st.text("019afgzAFZ_-", max_size=14), min_size=2, max_size=2))
@example(["0z", "1"])
@example(["9A", "9a"])
@example(["f_", "f0"])
def test_the_time_of_a_text_rises_with_the_text(ends):
    """Also of ids of others, whose characters are no digits: what sorts later has no earlier time."""
    first, second = sorted(f"file-{end}" for end in ends)
    assert ids.time_of_text(first) <= ids.time_of_text(second)


@pytest.mark.parametrize("ms", [0, 1_700_000_000_000, strategies.NOW_MS + 86_400_001, (1 << 48) - 1])
def test_an_id_from_an_impossible_time_is_not_ours(ms):
    """A UUID version 7 from before 2026, or from more than a day ahead, was minted by somebody else."""
    file_id = f"file-{ms:012x}70008000000000000001"

    assert ids.is_valid(file_id)
    assert ids.minted_at_ms(file_id, strategies.NOW_MS) is None


def _calls(store):
    return {
        "get": store.get,
        "get_content": store.get_content,
        "open": store.open,
        "delete": store.delete,
        "local_path": store.local_path,
        "signed_url": lambda file_id: store.signed_url(file_id, 60),
    }


def test_the_table_of_methods_is_complete():
    """Every method of the store that takes an id is in the test of bad ids, but for `is_quick`, which says no.
    `begin`, which may go without, has its own.
    """
    public = {n: f for n, f in inspect.getmembers(FileStore, inspect.isfunction) if not n.startswith("_")}
    taking = {name for name, method in public.items() if "file_id" in inspect.signature(method).parameters}

    assert taking - {"begin", "is_quick"} == set(_calls(FileStore(fakes.Untouchable())))


@pytest.mark.parametrize(
    "bad", [*BAD_IDS.values(), None, 7, b"file-a", ["file-a"]], ids=[*BAD_IDS, "None", "int", "bytes", "list"]
)
@pytest.mark.parametrize("method", ["get", "get_content", "open", "delete", "local_path", "signed_url"])
def test_a_bad_id_is_refused_before_the_backend_is_touched(method, bad):
    """Every method says `InvalidFileId` in a short sentence, and no verb of the backend is called."""
    with pytest.raises(InvalidFileId) as caught:
        _calls(FileStore(fakes.Untouchable()))[method](bad)

    assert isinstance(caught.value, FileNotFound)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (7, "cannot get a value of type int: a file id is text"),
        ("x", "cannot get 'x': a file id is 'file-' followed by 1 to 128 of the characters A-Z a-z 0-9 _ -"),
        (
            "file-" + "0A" * 16,
            f"cannot get 'file-{'0A' * 16}': the 32 hexadecimal digits of a file id are in lower case",
        ),
    ],
)
def test_a_bad_id_is_refused_with_the_rule_it_breaks(bad, told):
    """Whoever passes a number, or an id that something put into capitals, is not told a rule that it keeps."""
    with pytest.raises(InvalidFileId) as caught:
        FileStore(fakes.Untouchable()).get(bad)

    assert str(caught.value) == told


@pytest.mark.parametrize("bad", BAD_IDS.values(), ids=BAD_IDS)
def test_a_bad_cursor_is_refused_before_the_backend_is_touched(bad):
    """Text that can never be an id is no place in a listing."""
    with pytest.raises(InvalidRequest):
        FileStore(fakes.Untouchable()).list(after=bad)
