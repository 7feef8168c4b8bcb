#!/bin/sh
#
# relayd-multicast.sh: a filter that gives every mailbox a copy of each message.
#
#   filter /usr/local/lib/relayd/relayd-multicast.sh
#   pop
#   pop-by-name
#
# Each directory in the spool is a mailbox. They get a link to the content and a copy of the envelope; then
# the message itself is removed. Where there are no directories the message goes its usual way. If a
# mailbox cannot have its copy, none gets one, and the client is told to try again later.
#
# relayd can do this by itself, with "filter copy:". This is how it is done, and where to choose among
# mailboxes.

set -u
umask 007 # new spool files are for the group, as relayd's own
content=$1
envelope=$2
spool=${content%/*}
id=${content##*/}
id=${id%.content}

# The content comes first and the envelope by renaming: a mailbox never shows half a message.
copy() {
  { ln "$content" "$1$id.content" || cp "$content" "$1$id.content"; } &&
    cp "$envelope" "$1$id.envelope.new" && mv "$1$id.envelope.new" "$1$id.envelope"
}

# The mailboxes so far are the arguments.
set --
for mailbox in "$spool"/*/; do
  # No directory: the pattern itself.
  if [ ! -d "$mailbox" ] || [ -L "${mailbox%/}" ]; then continue; fi
  # Never over another message of this id.
  if [ ! -e "$mailbox$id.content" ] && [ ! -e "$mailbox$id.envelope" ]; then
    set -- "$@" "$mailbox"
    copy "$mailbox" 2>/dev/null && continue
  fi
  for taken in "$@"; do
    rm -f "$taken$id.envelope" "$taken$id.envelope.new" "$taken$id.content"
  done
  mailbox=${mailbox%/}
  printf '<<451 cannot copy the message now>>\n<<cannot copy into %s>>\n' "${mailbox##*/}"
  exit 1
done
[ $# -gt 0 ] || exit 0

rm -f "$envelope" "$content"
exit 100
