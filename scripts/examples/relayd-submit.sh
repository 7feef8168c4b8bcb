#!/bin/sh
#
# relayd-submit.sh: puts a message into the mailboxes of its recipients.
#
#   relayd-submit.sh [<option of relayd-submit> ...] [<recipient> ...] <message
#
# For mail that is read by POP with --pop-by-name and goes nowhere else. Each mailbox is a directory of the
# spool; it gets a link to the content and a copy of the envelope. All or nothing: a recipient without a
# mailbox is an error, and then nobody has got anything. Who has which mailbox stands in the table below.

set -eu

# ---- to be edited ----
spool=/var/spool/relayd
group=daemon

# Prints the mailbox of a recipient, a name without a slash; nothing if there is none.
mailbox_of() {
  case $1 in
  alice@example.com | sales@example.com) echo alice ;;
  bob@example.com) echo bob ;;
  *@other.example.com) echo other ;;
  esac
}
# ----------------------

name=${0##*/}
umask 007 # for the group, as relayd's own files

for word in "$@"; do
  case $word in
  -s* | --spool-dir* | -c | --copy)
    echo "$name: the mailboxes are chosen here: $word" >&2
    exit 1
    ;;
  esac
done

# Made aside, on the same file system, so that no forwarder takes it before it is in place.
aside=$(mktemp -d "$spool/.submit.XXXXXX") || exit 1
made=$aside/made
fail() {
  echo "$name: $1" >&2
  while read -r file; do rm -f "$file"; done <"$made"
  exit 1
}
trap 'rm -rf "$aside"' EXIT
trap 'exit 1' HUP INT TERM
: >"$made"
relayd-submit --spool-dir="$aside" "$@" || exit 1

# Every recipient of every message, with its mailbox; all of them before any is written to.
for envelope in "$aside"/*.envelope; do
  [ -f "$envelope" ] || fail "no message"
  mailboxes=${envelope%.envelope}.mailboxes
  tr -d '\r' <"$envelope" | sed -n 's/^X-MailRelay-To-[A-Z][a-z]*: *//p' >"$aside/recipients"
  while read -r recipient; do
    mailbox=$(mailbox_of "$recipient")
    case $mailbox in
    '') fail "no mailbox for $recipient" ;;
    .* | */*) fail "not a name for a mailbox: $mailbox" ;;
    esac
    echo "$mailbox"
  done <"$aside/recipients" >"$aside/names"
  sort -u "$aside/names" >"$mailboxes"
  [ -s "$mailboxes" ] || fail "no recipients"
done

# The envelope appears last, and by renaming: a mailbox never shows half a message.
put() {
  to=$spool/$1
  id=${2##*/}
  printf '%s\n' "$to/$id.envelope" "$to/$id.envelope.new" "$to/$id.content" >>"$made"
  ln "$2.content" "$to/$id.content" && cp "$2.envelope" "$to/$id.envelope.new" &&
    mv "$to/$id.envelope.new" "$to/$id.envelope"
}

for mailboxes in "$aside"/*.mailboxes; do
  while read -r mailbox; do
    if [ ! -d "$spool/$mailbox" ]; then
      mkdir -m 775 "$spool/$mailbox" || fail "cannot make the mailbox $mailbox"
      # Only root can give it away.
      chgrp "$group" "$spool/$mailbox" 2>/dev/null || :
    fi
    put "$mailbox" "${mailboxes%.mailboxes}" || fail "cannot write to the mailbox $mailbox"
  done <"$mailboxes"
done
