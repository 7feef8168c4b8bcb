#!/bin/sh
#
# filter-edit-from.sh: a filter that lets all mail leave under one address.
#
#   filter /usr/local/lib/relayd/filter-edit-from.sh
#
# For a smarthost that accepts only its customer's own address. The From header and the sender of the
# envelope are replaced; the author stays in Reply-To, unless the message has a Reply-To of its own. The
# null sender of a notice of failure stays null: nobody may answer those.

set -eu

# ---- to be edited ----
from='Example Office <office@example.com>'
sender=office@example.com
# ----------------------

export LC_ALL=C sender
umask 007 # new spool files are for the group, as relayd's own
content=$1
envelope=$2

fail() {
  rm -f "$content.edit" "$envelope.edit"
  printf '<<451 cannot process the message now>>\n<<%s>>\n' "$1"
  exit 1
}

# Where the From header begins and ends, in bytes; how many there are, and how many Reply-To.
found=$(awk '
  { size = length($0) + 1 }
  /^\r?$/ { exit }
  /^[ \t]/ { if (inside) end += size; at += size; next }
  { inside = 0 }
  tolower($0) ~ /^from[ \t]*:/ { count++; inside = 1; start = at; end = at + size }
  tolower($0) ~ /^reply-to[ \t]*:/ { replies++ }
  { at += size }
  END { print start + 0, end + 0, count + 0, replies + 0 }' "$content") || fail "cannot read the content"
# shellcheck disable=SC2086 # four numbers
set -- $found
start=$1 end=$2 count=$3 replies=$4
if [ "$count" -gt 1 ]; then
  echo '<<550 the message has more than one From header>>'
  exit 1
fi

# The bytes before the header, the new header, the bytes after it: nothing else changes.
{
  head -c "$start" "$content" &&
    printf 'From: %s\r\n' "$from" &&
    if [ "$count" -eq 1 ] && [ "$replies" -eq 0 ]; then
      head -c "$end" "$content" | tail -c "+$((start + 1))" | sed '1s/^[^:]*:/Reply-To:/'
    fi &&
    tail -c "+$((end + 1))" "$content"
} >"$content.edit" || fail "cannot write the content"

awk '
  /^X-MailRelay-From: *[^ \r]/ && !done {
    done = 1
    $0 = "X-MailRelay-From: " ENVIRON["sender"] (/\r$/ ? "\r" : "")
  }
  { print }' "$envelope" >"$envelope.edit" || fail "cannot write the envelope"

mv "$content.edit" "$content" || fail "cannot replace the content"
mv "$envelope.edit" "$envelope" || fail "cannot replace the envelope"
