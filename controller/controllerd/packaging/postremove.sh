#!/bin/sh
# After removal. The data, the authority and its passphrase stay even if the package is purged:
# every enrolled host would be cut off without them. A person removes /var/lib/xiezhi-controller
# and /etc/xiezhi/ca-passphrase. The user stays, so that its number is not given to someone else.
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
