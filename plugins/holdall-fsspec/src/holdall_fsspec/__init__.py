"""holdall's files on any fsspec filesystem: fsspec+PROTOCOL://, gs://, az://, sftp:// and more."""
