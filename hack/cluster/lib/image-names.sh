# shellcheck shell=bash
# The one image that the node itself needs to know by name.

# shellcheck disable=SC2034 # used by those who source this
readonly pause_image=trueup.dev/pause:1
