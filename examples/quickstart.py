r"""Store a file, find it, read it in three ways, delete it. It prints:

stored report.txt: 33 bytes, for assistants
all of it: b'Everything is fine.\nReally it is.'
its end: b'Really it is.'
line by line: ['Everything is fine.', 'Really it is.']
in the list: ['report.txt']
deleted; left: 0
"""

from __future__ import annotations

import tempfile

import holdall


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, holdall.open_store(folder) as store:
        file = store.create("report.txt", b"Everything is fine.\nReally it is.", purpose="assistants")
        print(f"stored {file.filename}: {file.bytes} bytes, for {file.purpose}")

        print("all of it:", store.get_content(file.id))
        print("its end:", store.get_content(file.id, start=20))
        with store.open(file.id) as stream:
            print("line by line:", [line.decode().rstrip() for line in stream])

        print("in the list:", [file.filename for file in store.list(purpose="assistants")])

        store.delete(file.id)
        print("deleted; left:", len(store.list()))


if __name__ == "__main__":
    main()
