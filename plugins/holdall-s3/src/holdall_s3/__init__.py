"""holdall's files in an S3 bucket, by s3fs: s3://bucket/prefix."""
