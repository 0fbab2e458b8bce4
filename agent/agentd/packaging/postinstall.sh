#!/bin/sh
# After installation. Called with `configure [OLD-VERSION]` by dpkg, with 1 (first installation) or
# 2 (upgrade) by rpm, with 1 by the tarball's install.sh.
set -e

user=xiezhi-agent
state=/var/lib/xiezhi-agent

if ! getent passwd "$user" >/dev/null; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers xiezhi-agent.conf
    else
        useradd --system --user-group --no-create-home --home-dir "$state" \
            --shell /usr/sbin/nologin --comment "Xiezhi agent" "$user"
    fi
fi
# Devices are asked by a user of its own, who cannot read what the agent is.
devices=xiezhi-devices
if ! getent passwd "$devices" >/dev/null; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers xiezhi-agent.conf
    else
        useradd --system --user-group --no-create-home --home-dir /var/lib/xiezhi-devices \
            --shell /usr/sbin/nologin --comment "Xiezhi devices" "$devices"
    fi
fi
install -d -m 0755 /etc/xiezhi
install -d -m 0750 -o root -g "$devices" /etc/xiezhi/devices.d
install -d -m 0750 -o root -g "$devices" /etc/xiezhi/links.d
install -d -m 0755 /etc/xiezhi/profiles.d
install -d -m 0700 -o "$devices" -g "$devices" /var/lib/xiezhi-devices
install -d -m 0700 -o "$user" -g "$user" "$state"

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet xiezhi-agent.service
    # An upgrade goes on where the old version stopped: the spool is on disk.
    if [ "$1" = 2 ] || { [ "$1" = configure ] && [ -n "$2" ]; }; then
        systemctl try-restart xiezhi-agent.service
    fi
fi
# Only an enrolment that succeeded writes this file; a failed one leaves the folder behind.
if [ ! -e "$state/identity/host.json" ]; then
    echo "next: xiezhi-agent enrol --controller URL --token TOKEN && systemctl start xiezhi-agent"
fi
