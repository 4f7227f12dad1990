#!/bin/sh
# The gateway takes its root key from its environment alone. From here it is in no image and no container's settings.
set -eu
set -a
. /run/secrets/s3-root
set +a
exec /usr/local/bin/versitygw --port :9740 --region eu-central-1 --iam-dir /iam --disable-acl --health /healthz --quiet \
	posix --versioning-dir /data/versions --dir-perms 0700 --file-perms 0600 /data/buckets
