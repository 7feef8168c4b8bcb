#!/bin/sh
#
# relayd-notify.sh [-r] [-d <delivery>] [<spool>]
#
# Tells the senders of failed messages why they failed. For every ".bad" envelope a notice with the
# reason and the original message goes to the sender, or to root when the sender is empty; then the
# failed message is removed, envelope first. What cannot be delivered stays as it is.
#
# -r sends delivery reports for programs too (RFC 3464), as relayd does with "bounce".
#
# <delivery> is how a notice travels:
#   procmail   procmail -d <recipient>     into a mailbox of this machine (default, where installed)
#   sendmail   sendmail -i -f '<>' <recipient>
#   relayd     relayd-submit, back into the spool, with the null sender
#
# RELAYD_DELIVERY  the same as -d
# RELAYD_SPOOL     the spool, when no argument names it
# RELAYD_NOTICE, RELAYD_SUBMIT, PROCMAIL, SENDMAIL   the programs
# RELAYD_ROOT      put before the default paths

set -u

name=${0##*/}
notice_program=${RELAYD_NOTICE:-relayd-notice}
submit_program=${RELAYD_SUBMIT:-relayd-submit}
procmail=${PROCMAIL:-procmail}
sendmail=${SENDMAIL:-sendmail}
delivery=${RELAYD_DELIVERY:-}
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/lib

usage() {
  echo "usage: $name [-r] [-d procmail|sendmail|relayd] [<spool>]" >&2
  exit 2
}

kind=
while getopts rd: option; do
  case $option in
  r) kind=--report ;;
  d) delivery=$OPTARG ;;
  *) usage ;;
  esac
done
shift $((OPTIND - 1))
[ $# -le 1 ] || usage
if [ -z "$delivery" ]; then
  delivery=relayd
  command -v "$procmail" >/dev/null && delivery=procmail
fi
case $delivery in procmail | sendmail | relayd) ;; *) usage ;; esac

spool=${1:-${RELAYD_SPOOL:-}}
if [ -z "$spool" ]; then
  spool=${RELAYD_ROOT:-}/var/spool/relayd
  [ -d "$spool" ] || [ ! -d "${RELAYD_ROOT:-}/var/spool/emailrelay" ] ||
    spool=${RELAYD_ROOT:-}/var/spool/emailrelay
fi
case $spool in -*) spool=./$spool ;; esac
if [ ! -d "$spool" ]; then
  echo "$name: invalid spool directory" >&2
  exit 1
fi

# Two runs at once would tell everything twice. The lock ends with the process that holds it.
if command -v flock >/dev/null; then
  exec 9<"$spool" || exit 1
  flock -n 9 || exit 0
fi

notice=$(mktemp "${TMPDIR:-/tmp}/relayd-notice.XXXXXX") || exit 1
trap 'rm -f "$notice"' EXIT
trap 'exit 1' HUP INT TERM

# What is safe to give to a program as its argument; anything else is root's business.
recipient_of() {
  recipient=$("$notice_program" --print-recipient "$1" "$2") || return 1
  case $recipient in
  "" | -* | *[[:cntrl:]]*) recipient=root ;;
  esac
}

# A notice that failed comes back with the null sender. Were it answered by a notice that travels the
# same way, there would be no end to it.
is_notice() {
  grep -q '^X-MailRelay-From:[[:space:]]*$' <"$1" || return 1
  sed '/^[[:space:]]*$/q' <"$2" |
    grep -q -i -E '^(Auto-Submitted:[[:space:]]*auto-|Subject: Your e-mail could not be delivered)'
}

deliver() {
  case $delivery in
  procmail) "$procmail" -d "$1" ;;
  sendmail) "$sendmail" -i -f '<>' "$1" ;;
  relayd) "$submit_program" --spool-dir="$spool" --from= "$1" ;;
  esac
}

status=0
for bad in "$spool"/*.envelope.bad; do
  if [ ! -f "$bad" ] || [ -L "$bad" ]; then continue; fi
  content=${bad%.envelope.bad}.content
  if [ ! -f "$content" ] || [ -L "$content" ]; then
    echo "$name: cannot report ${bad##*/}: there is no content" >&2
    status=1
    continue
  fi
  if [ "$delivery" != procmail ] && is_notice "$bad" "$content"; then
    echo "$name: leaving ${content##*/}: it is a notice itself" >&2
    continue
  fi
  if ! recipient_of "$bad" "$content" || ! "$notice_program" $kind "$bad" "$content" >"$notice"; then
    echo "$name: cannot make a notice of ${content##*/}" >&2
    status=1
    continue
  fi
  echo "$name: delivering ${content##*/} to $recipient"
  if ! deliver "$recipient" <"$notice"; then
    echo "$name: cannot deliver to $recipient: ${content##*/} stays" >&2
    status=1
    continue
  fi
  # The envelope first: content without an envelope is rubbish, the other way round is a fault.
  if ! { rm -f "$bad" && rm -f "$content"; }; then
    echo "$name: cannot remove ${content##*/}" >&2
    status=1
  fi
done
exit "$status"
