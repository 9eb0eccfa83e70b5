# Runs the corosync reference, in namespaces of its own: nothing of it is left when it ends.
#
# corosync.sh DIRECTORY COROSYNC MEMBERS ARGUMENTS…
#
# The daemons share a loopback device, with an address each. Their sockets for clients have the same
# names, and so do their files: each member has file systems of its own for these. libqb keeps its
# sockets in a file system if a file in /etc says so; /etc is not ours, and so is covered by a copy.
set -eu
directory=$1 corosync=$2 members=$3
shift 3

member() {
    index=$1
    shift
    # By which the daemon knows which member it is.
    echo "m$index" >/proc/sys/kernel/hostname
    mount -t tmpfs tmpfs /run
    # Before /tmp is covered, where it may be.
    mkdir /run/bench
    mount --bind "$directory" /run/bench
    directory=/run/bench
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /var/lib/corosync
    mount -t tmpfs tmpfs /dev/shm
    "$corosync" -f -c "$directory/corosync.conf" >"$directory/$index.log" 2>&1 &
    daemon=$!
    "$directory/cpg" "$members" "$index" "$@" "$daemon" \
        >"$directory/$index.json" 2>"$directory/$index.error" || true
    # The others may still wait for what this daemon passes on.
    touch "$directory/$index.done"
    while [ "$(ls "$directory" | grep -c 'done$')" -lt "$members" ]; do sleep 0.1; done
    kill -KILL "$daemon" || true
}

if [ "${1}" = member ]; then
    shift
    member "$@"
    exit
fi

ip link set lo up
cp -a /etc "$directory/etc"
mkdir -p "$directory/etc/libqb"
touch "$directory/etc/libqb/force-filesystem-sockets"
mount --bind "$directory/etc" /etc
index=0
while [ "$index" -lt "$members" ]; do
    unshare --mount --uts sh "$0" "$directory" "$corosync" "$members" member "$index" "$@" &
    index=$((index + 1))
done
wait
