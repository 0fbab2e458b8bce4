#!/bin/sh
# After installation. Called with `configure [OLD-VERSION]` by dpkg, with 1 (first installation) or
# 2 (upgrade) by rpm, with 1 by the tarball's install.sh.
set -e

user=xiezhi-controller
state=/var/lib/xiezhi-controller
passphrase=/etc/xiezhi/ca-passphrase

if ! getent passwd "$user" >/dev/null; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers xiezhi-controller.conf
    else
        useradd --system --user-group --no-create-home --home-dir "$state" \
            --shell /usr/sbin/nologin --comment "Xiezhi controller" "$user"
    fi
fi
install -d -m 0755 /etc/xiezhi
install -d -m 0700 -o "$user" -g "$user" "$state"

# The key of the online authority is sealed by a passphrase that a restart at night must find. A
# random one is made once; it is replaced by a sealed credential as the unit file describes.
if [ ! -e "$state/authority/root.pem" ] && [ ! -e "$passphrase" ]; then
    (umask 077 && head -c 32 /dev/urandom | base64 >"$passphrase.new")
    chown "root:$user" "$passphrase.new"
    chmod 0640 "$passphrase.new"
    mv "$passphrase.new" "$passphrase"
fi

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet xiezhi-controller.service
    if [ "$1" = 2 ] || { [ "$1" = configure ] && [ -n "$2" ]; }; then
        systemctl try-restart xiezhi-controller.service
    fi
fi
if [ ! -e "$state/authority/root.pem" ]; then
    echo "next: xiezhi-controller init --offline-dir FOLDER && systemctl start xiezhi-controller"
fi
