"""Makes the staging bucket on the object storage of the connection `staging`, unless it is there."""

import sys

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

hook = S3Hook("staging")
if not hook.check_for_bucket(sys.argv[1]):
    hook.create_bucket(sys.argv[1])
