// Package libvirt implements pkg/hypervisor on libvirt's own client library.
//
// The library's calls take no context and may hang for ever, and calls that
// share a connection hold each other up. So every call runs on a goroutine of
// its own and has a connection to itself while it lasts. A call that does not
// return in time is abandoned together with its connection, which is closed
// once the call came back after all. Short calls take their connections from a
// pool, and so a busy client has a few. Events have one connection for good,
// and each running migration has its own.
//
// Everything that imports the client library, this package included, is built
// with the tag libvirt_dlopen, which opens libvirt.so.0 when it is first used:
// no headers are needed to build it.
package libvirt
