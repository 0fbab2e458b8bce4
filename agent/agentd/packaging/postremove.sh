#!/bin/sh
# After removal. The host's identity and what was not yet sent stay until the package is purged;
# rpm knows no purge, so there a person removes /var/lib/xiezhi-agent. The user stays, so that its
# number is not given to someone else.
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = purge ]; then
    rm -rf /var/lib/xiezhi-agent /var/lib/xiezhi-devices
    # How this host logs in to devices and what signs its links; profiles that somebody wrote stay.
    rm -rf /etc/xiezhi/devices.d /etc/xiezhi/links.d /etc/xiezhi/devices.key
fi
