"""Files in S3: workers download the inputs of a task to its own folder and upload the files that its result names.

Start with ``task_files`` (workers), ``handler_files`` (handlers) or ``job_files`` (clients). boto3 is loaded with the
first request: only ``boto_client``, ``s3_errors`` and ``s3_transfer`` import it.
"""
