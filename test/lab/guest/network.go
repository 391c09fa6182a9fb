//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"
)

// What the guest does for its peers, by the ports that were of old for such things. What
// comes to echoPort, by UDP or TCP, goes back. Whoever sends something to beatPort by UDP is
// sent a datagram every beatInterval from then on, until somebody else asks for that. Pings
// are answered by the kernel.
const (
	echoPort     = 7
	beatPort     = 19
	beatInterval = 10 * time.Millisecond
)

// networkLink is the first network card, as the kernel calls it.
const networkLink = "eth0"

// joinNetwork gives the first network card its address and begins to serve its peers. The
// card appears some time after its driver is loaded.
func joinNetwork(address netip.Prefix) error {
	if err := loadModules("network"); err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := setAddress(networkLink, address)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ENODEV) || time.Now().After(deadline) {
			return fmt.Errorf("giving %s the address %s: %w", networkLink, address, err)
		}
		time.Sleep(interval)
	}
	return serveNetwork(address.Addr(), echoPort, beatPort)
}

// serveNetwork listens at an address and serves in the background, for ever.
func serveNetwork(address netip.Addr, echo, beat uint16) error {
	packets, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, echo)))
	if err != nil {
		return fmt.Errorf("listening for datagrams: %w", err)
	}
	listener, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(address, echo)))
	if err != nil {
		return fmt.Errorf("listening for connections: %w", err)
	}
	beats, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, beat)))
	if err != nil {
		return fmt.Errorf("listening for who wants the beat: %w", err)
	}
	go echoPackets(packets)
	go echoConnections(listener)
	go serveBeat(beats)
	return nil
}

// echoPackets sends each datagram back. One that cannot be sent is lost, as others are.
func echoPackets(socket *net.UDPConn) {
	packet := make([]byte, 2048)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = socket.WriteToUDPAddrPort(packet[:n], from)
		}
	}
}

// echoConnections sends back what comes by each connection.
func echoConnections(listener *net.TCPListener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			_, _ = io.Copy(connection, connection)
		}()
	}
}

// serveBeat sends a growing number every beatInterval to whoever has asked last.
func serveBeat(socket *net.UDPConn) {
	asked := make(chan netip.AddrPort)
	go func() {
		defer close(asked)
		for packet := make([]byte, 64); ; {
			_, from, err := socket.ReadFromUDPAddrPort(packet)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				asked <- from
			}
		}
	}()
	to, ok := <-asked
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for number := uint64(1); ok; number++ {
		_, _ = socket.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, number), to)
		select {
		case <-ticker.C:
		case to, ok = <-asked:
		}
	}
}

// interfaceRequest is the kernel's struct ifreq: a name, and an address or flags.
type interfaceRequest struct {
	name  [syscall.IFNAMSIZ]byte
	value [24]byte
}

// setAddress gives a network interface an IPv4 address and brings it up. The error of one
// that is not there is ENODEV.
func setAddress(link string, address netip.Prefix) error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	mask := net.CIDRMask(address.Bits(), 32)
	for _, step := range []struct {
		request uintptr
		value   []byte
	}{
		{syscall.SIOCSIFADDR, socketAddress(address.Addr().AsSlice())},
		{syscall.SIOCSIFNETMASK, socketAddress(mask)},
		{syscall.SIOCSIFFLAGS, binary.NativeEndian.AppendUint16(nil, syscall.IFF_UP|syscall.IFF_RUNNING)},
	} {
		var request interfaceRequest
		copy(request.name[:], link)
		copy(request.value[:], step.value)
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), step.request, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			return errno
		}
	}
	return nil
}

// socketAddress is the kernel's struct sockaddr_in without a port.
func socketAddress(ip []byte) []byte {
	return append(binary.NativeEndian.AppendUint16(nil, syscall.AF_INET), append([]byte{0, 0}, ip...)...)
}
