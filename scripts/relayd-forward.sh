#!/bin/sh
#
# relayd-forward.sh [<spool>]
#
# Forwards what waits in the spool, once: runs "relayd --as-client" with the smarthost and options of
# /etc/default/relayd, writes to a log, and does nothing when it is under way already. For ppp's
# ip-up, for cron, for anything that knows when the line is up.
#
# RELAYD_SMARTHOST       host:port; without it nothing is done
# RELAYD_CLIENT_OPTIONS  more options, separated by blanks: --client-tls --client-auth=/etc/relayd.auth
# RELAYD_SPOOL           the spool, when no argument names it; relayd's default otherwise
# RELAYD_DAEMON          the program
# RELAYD_FORWARD_LOG     /var/log/relayd-forward.log; "-" for standard error
# RELAYD_RUN             where the lock is: /run/relayd
# RELAYD_ROOT            put before the default paths

set -u

PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin
root=${RELAYD_ROOT:-}
defaults=$root/etc/default/relayd
if [ -r "$defaults" ]; then
  # shellcheck source=/dev/null
  . "$defaults"
fi
smarthost=${RELAYD_SMARTHOST:-}
spool=${1:-${RELAYD_SPOOL:-}}
log=${RELAYD_FORWARD_LOG:-$root/var/log/relayd-forward.log}
run=${RELAYD_RUN:-$root/run/relayd}

# Whatever is said goes to the log; if that cannot be written, to where we were called from. Tried in a
# subshell, since a redirection that fails ends the shell.
if [ "$log" != - ] && (: >>"$log") 2>/dev/null; then
  exec >>"$log" 2>&1
fi

say() {
  echo "$(date +%Y%m%d.%H%M%S) ${0##*/}: $*" >&2
}

if [ -z "$smarthost" ]; then
  say "nothing done: no RELAYD_SMARTHOST in $defaults"
  exit 0
fi

# The lock is an open file that relayd inherits: it is held while relayd runs and cannot be left behind.
# Where it cannot be had, two runs are still safe, since each message is claimed by one of them.
mkdir -p "$run"
if command -v flock >/dev/null && (: >>"$run/forward.lock") 2>/dev/null; then
  exec 9>>"$run/forward.lock"
  if ! flock -n 9; then
    say "nothing done: forwarding is under way"
    exit 0
  fi
fi

if [ -n "$spool" ]; then
  set -- --spool-dir="$spool"
else
  set --
fi
# The options are a list of words on purpose.
# shellcheck disable=SC2086
exec "${RELAYD_DAEMON:-relayd}" --as-client="$smarthost" --log-time "$@" ${RELAYD_CLIENT_OPTIONS:-} </dev/null
