"""Files in one SQLite database: a complete backend for holdall, made from its public names only.

`sqlite:///path/to/files.db` names the database; it is made when first opened. Two modules: `_database` knows SQLite
(connections, transactions, errors) and nothing of holdall's verbs, `_backend` is the verbs.
"""

from holdall_sqlite._backend import SQLiteBackend

__all__ = ["SQLiteBackend"]
