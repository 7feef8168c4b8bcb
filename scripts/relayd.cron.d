# /etc/cron.d/relayd: for machines where relayd does not retry and forward by itself.
# Install the three scripts in /usr/local/lib/relayd, or change RELAYD_LIB.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RELAYD_LIB=/usr/local/lib/relayd

# Once an hour failed messages get another chance, five in all; then what waits is forwarded.
17 * * * * root [ ! -x "$RELAYD_LIB/relayd-resubmit.sh" ] || "$RELAYD_LIB/relayd-resubmit.sh"
22 * * * * root [ ! -x "$RELAYD_LIB/relayd-forward.sh" ] || "$RELAYD_LIB/relayd-forward.sh"

# Once a day the senders of what failed for good are told, and it is removed. Off, since it deletes;
# and it tells of every failed message, however often it was tried.
#47 6 * * * root [ ! -x "$RELAYD_LIB/relayd-notify.sh" ] || "$RELAYD_LIB/relayd-notify.sh"
