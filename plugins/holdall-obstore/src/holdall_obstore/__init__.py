"""holdall's files in S3, Google or Azure storage, by obstore: s3+obstore://bucket/prefix."""
