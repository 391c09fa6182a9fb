//go:build !repeatable

package simulation

// repeatable changes nothing in Go's runtime as it is.
var repeatable uint64
