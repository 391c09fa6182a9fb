// Package hostfiles reads what the files of a host say of it. Its functions are pure: they
// are given file systems, the host's own or, in a container, what there is of it. A file
// that cannot be read leaves out what it would have told, and nothing else.
package hostfiles
