#!/bin/bash
# The yardstick: what cac-lsphp does at a start, as a careful shell script.
set -euo pipefail

: "${user:?}" "${uid:?}" "${domain:?}"
home=/home/$user
[[ $user =~ ^[A-Za-z_][A-Za-z0-9_.-]{0,31}$ ]] || { echo "user is refused" >&2; exit 78; }
[[ $uid =~ ^[1-9][0-9]*$ ]] || { echo "uid is refused" >&2; exit 78; }
gid=${gid:-$uid}

# The memory limit, in either version of cgroups.
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes)
total=$(($(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo) * 1024))
[ "$limit" = max ] || [ "$limit" -ge "$total" ] && limit=$((1024 << 20))
children=${PHP_LSAPI_CHILDREN:-$((((limit >> 20) - 80) / 130))}
[ "$children" -ge 2 ] || children=2

mkdir -p /run/entrypoint/php.d
cat >/run/entrypoint/php.d/.90.ini.new <<INI
opcache.enable = 1
opcache.enable_cli = 0
opcache.memory_consumption = ${OPCACHE_MEMORY_MB:-64}
opcache.max_accelerated_files = ${OPCACHE_MAX_FILES:-8000}
opcache.revalidate_freq = 60
log_errors = 1
error_log = '$home/logs/php-fpm/error.log'
auto_prepend_file = '/run/entrypoint/normalize.php'
INI
mv /run/entrypoint/php.d/.90.ini.new /run/entrypoint/php.d/90.ini

grep -q "^$user:" /etc/passwd || echo "$user:x:$uid:$gid::$home:/bin/sh" >>/etc/passwd
grep -q "^$user:" /etc/group || echo "$user:x:$gid:" >>/etc/group
mkdir -p "$home"
for directory in "$home" "$home/public_html" "$home/logs" "$home/logs/php-fpm"; do
    if [ -d "$directory" ] && [ "$(stat -c %u "$directory")" != "$uid" ]; then
        chown -h "$uid:$gid" "$directory"
    fi
done
mkdir -p "/mnt/users/$user"
link=/mnt/users/$user/$domain
[ "$(readlink "$link")" = "$home" ] || ln -sfn "$home" "$link"

export HOME=$home USER=$user LOGNAME=$user SHELL=/bin/sh
export PHP_INI_SCAN_DIR=:/run/entrypoint/php.d PHP_LSAPI_CHILDREN=$children LSAPI_EXTRA_CHILDREN=0
cd "$home"
umask 022
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --inh-caps=-all --ambient-caps=-all \
    --bounding-set=-all --no-new-privs "$CAC_LSPHP" -b 0.0.0.0:9000 </dev/null
