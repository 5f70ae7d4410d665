# shellcheck shell=bash
# The live view, `trueup watch`: what the cluster says beside what billing has. It runs in the background and writes frames; the
# screen shows the last one.

start_view() { :; }
stop_view() { live_text=''; erase_live; }
refresh_view() { erase_live; draw_live; }
