#!/bin/sh
# Before removal: `remove` from dpkg, 0 from rpm. An upgrade changes nothing here.
set -e

if [ "$1" = remove ] || [ "$1" = 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now --quiet xiezhi-controller.service
    fi
fi
