// Package lab builds a small data centre of real parts on one machine, for tests
// and demonstrations: a Kubernetes control plane (etcd and kube-apiserver), two
// or more libvirt hosts (libvirtd and QEMU with TCG), guests that boot, tick and
// really migrate, and Virtferry's own manager and agents.
//
// Every host is a set of namespaces: network, mount, UTS, PID and IPC. Nothing
// of it has a name outside the lab, so several labs run side by side with the
// same addresses, and nothing outlives its owner: each host's first process, and
// every other process of the lab, is killed by the kernel when the process that
// started the lab dies, by whatever signal; a host's namespaces, with the
// daemon, the guests and the mounts in them, go with its first process. What a
// killed lab leaves behind is a state directory under the temporary directory,
// which the next lab removes.
//
// The hosts' network can be slowed down, delayed, and cut (Host.LimitBandwidth,
// Host.Delay, Host.CutOff). A delay is made by the lab's own process, which carries
// the packets, and ends with it.
//
// Guests are joined by a second network. One that is given an address there answers pings,
// and its program sends back what it is sent; a Peer is another machine on that network, which
// can call a guest all the time and tell when it was not heard (Peer.Call).
//
// Hosts run the machine's own libvirt and QEMU, or those of other releases of Debian
// (Options.Generations): each release has a root file system, which hack/generations makes once
// and which all its hosts have mounted read-only.
//
// Guests are emulated, since a machine may have /dev/kvm and still be unable to
// run a guest. They boot in three seconds with 128 MiB, print a numbered tick
// once a second, dirty memory and a disk at a chosen rate, and tell when memory is
// not as they left it. QEMU is run by way of qemu-system-x86_64.sh, which keeps
// versions before 9.0 from corrupting emulated guests while they migrate; a
// definition that names /usr/bin/qemu-system-x86_64 as its emulator goes without.
//
// The lab needs Linux, root and the packages that hack/deps.sh installs.
// Preflight names what is missing.
package lab
