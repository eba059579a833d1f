"""Files in S3: what a task names is brought to a folder of its own, and what it leaves there is sent back.

Only ``s3`` and ``failures`` import boto3, and they are imported when the first file is asked for.
"""
