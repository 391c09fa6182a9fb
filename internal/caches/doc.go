// Package caches makes the caches of the manager and the agents robust: an object
// that cannot be decoded hides no other, and each cache says whether it is up to
// date.
package caches
