// Package hypervisor says what Virtferry asks of a node's hypervisor: small
// interfaces, the data they exchange and the kinds of errors they return.
//
// Names follow libvirt's. The package knows neither libvirt's client library
// nor Kubernetes: pkg/hypervisor/libvirt implements it on the real thing and
// pkg/hypervisor/fake on a script.
//
// Every method takes a context and honours its end by returning, even where
// the call below it hangs for ever: the hung call is abandoned, and its result
// is dropped. An abandoned call may still take effect, so its outcome has to
// be read from the hypervisor afterwards.
package hypervisor
