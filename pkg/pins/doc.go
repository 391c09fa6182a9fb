// Package pins decides which CPUs and NUMA nodes of a host take the place of those that a guest
// is pinned to on another one. It is pure: guest and host in, pins out.
//
// A guest keeps its shape. CPUs of one NUMA cell become CPUs of one cell, and those of several
// cells become those of as many; threads of one core become threads of one core where that can
// be had. What a guest has for itself it gets for itself: as many CPUs as at most as many
// virtual CPUs are pinned to, as virtual CPU 0 to CPU 4, or virtual CPUs 0 to 3 to CPUs 8 to 11.
// All else that it is pinned to counts as shared with others.
package pins
