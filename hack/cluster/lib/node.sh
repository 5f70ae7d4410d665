# shellcheck shell=bash
# A real node.
check_node_possible() { fail "starting a real node" "not there yet"; }
stop_node() { :; }
