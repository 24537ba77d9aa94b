# Roots of bare machines, made by debootstrap; sourced by test-bare and test-role. Needs `fail`, and
# `roots`, the folder that they are kept in. Mirror, name server, certificates and settings of pip
# are this machine's.

# shellcheck disable=SC2016 # apt-get expands it
mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "main" && $3 !~ /-/ && !found { print $4; found = 1 }')
[ -n "$mirror" ] || fail "the configuration of apt names no mirror of Debian: see /etc/apt, run apt-get update"

make_root() { # SUITE PACKAGES
    local log=$roots/debootstrap.log
    [ ! -d "$roots/$1" ] || return 0
    say "making a bare root of $1"
    rm -rf --one-file-system "$roots/$1.new"
    debootstrap --variant=minbase --include="$2" \
        "$1" "$roots/$1.new" "$mirror" >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "debootstrap failed"; }
    mv "$roots/$1.new" "$roots/$1"
    rm "$log"
}

lead_to_registries() { # ROOT
    cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
    cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$1/etc/"
}

# The settings of pip and of the proxy, for `env`.
settings_of_pip() { env | grep -E '^(PIP_[A-Z_]+|https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY)='; }

# Mounts what a machine of its own has: /proc, /sys and /dev of the root $root.
mounts='
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for name in null zero full random urandom tty; do
        touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"
    done
    mkdir "$root/dev/shm" "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
    ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
'
