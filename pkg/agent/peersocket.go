package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"regexp"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// DefaultPeerSocketDir is where PeerSockets are unless an administrator says otherwise.
const DefaultPeerSocketDir = "/run/virtferry/peers"

// longestSocketPath is how long the path of a Unix socket can be, on Linux.
const longestSocketPath = 107

// peerPatience is how long a proxy may take to accept a connection from its own host and, with
// libvirt behind it, to answer.
const peerPatience = 5 * time.Second

// authList asks libvirt how it would have a client authenticate itself, which it tells everybody:
// length, program, version, procedure, type, serial and status of a message without contents.
var authList = []uint32{28, 0x20008086, 1, 66, 0, 0, 0}

// plainPath is of characters that mean nothing in a URI.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/-]*$`)

// PeerSockets are Unix sockets of this host that lead to libvirt on other nodes, through a proxy
// that an administrator runs: one for each node, NODE.sock in one directory.
type PeerSockets struct {
	Dir string
	// Dial looks whether libvirt answers at a socket. Nil does not look.
	Dial func(ctx context.Context, socket string) error
}

// CheckPeerSocketDir reports why a directory cannot be that of PeerSockets. Its path becomes a
// part of URIs.
func CheckPeerSocketDir(dir string) error {
	switch {
	case !plainPath.MatchString(dir) || path.Clean(dir) != dir:
		return errors.New("it must be an absolute path of letters, digits, dots, dashes and underscores")
	case len(dir) > longestSocketPath/2:
		return fmt.Errorf("it must have at most %d characters, since a path of a socket has at most %d", longestSocketPath/2, longestSocketPath)
	}
	return nil
}

// to returns the socket that leads to a node; empty if there is no such one.
func (p PeerSockets) to(node string) string {
	if CheckPeerSocketDir(p.Dir) != nil || len(validation.IsDNS1123Subdomain(node)) > 0 {
		return ""
	}
	return path.Join(p.Dir, node+".sock")
}

// DialPeer connects to a socket, and tells nothing but that there is none, that nobody accepts
// connections there, or that no libvirt answers: a proxy accepts them whether it gets further or
// not. Whether the agent may connect does not matter: libvirt may.
func DialPeer(ctx context.Context, socket string) error { return dialPeer(ctx, socket, peerPatience) }

func dialPeer(ctx context.Context, socket string, patience time.Duration) error {
	if _, err := os.Stat(path.Dir(socket)); err != nil {
		return nil // The agent does not see what its host has.
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	switch {
	case err == nil:
		defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
		defer func() { _ = connection.Close() }()
		return askPeer(connection)
	case errors.Is(err, os.ErrNotExist):
		return errors.New("there is no such socket")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("nothing accepts connections there")
	default:
		return nil
	}
}

// askPeer looks whether libvirt is at the other end.
func askPeer(connection io.ReadWriter) error {
	answer := make([]uint32, len(authList))
	err := binary.Write(connection, binary.BigEndian, authList)
	if err == nil {
		err = binary.Read(connection, binary.BigEndian, answer)
	}
	switch {
	case errors.Is(err, net.ErrClosed):
		return errors.New("although connections are accepted there, libvirt does not answer")
	case err != nil:
		return errors.New("connections to it are closed before libvirt has answered")
	case answer[1] != authList[1] || answer[3] != authList[3]:
		return errors.New("what answers there is not libvirt")
	}
	return nil
}

// checkPeerSocket refuses to start what libvirt could not: with nobody who leads it to the
// target.
func (s *sourceSession) checkPeerSocket(ctx context.Context) error {
	target := migration.CurrentTarget(s.lm)
	if target.Endpoint == nil || target.Endpoint.Transport != v1alpha1.TransportUnix {
		return nil
	}
	node, socket := s.lm.Status.TargetNode, s.node.Peers.to(s.lm.Status.TargetNode)
	var problem error
	switch {
	case socket == "":
		return s.noPeerSocket(node)
	case len(socket) > longestSocketPath:
		problem = fmt.Errorf("that path has more than %d characters. Shorten --peer-socket-dir of the agent on %s", longestSocketPath, s.node.Name)
	case s.node.Peers.Dial != nil:
		problem = s.node.Peers.Dial(ctx, socket)
	}
	if problem == nil {
		return nil
	}
	return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerPeerSocketMissing,
		"libvirt on %s reaches that on %s by the socket %s, but %s. Ask an administrator to have a proxy on %[1]s listen there which leads to libvirt on %[2]s, and to see whether that runs, and then create another LiveMigration",
		s.node.Name, node, socket, problem)
}

// noPeerSocket refuses to start where there can be no such socket.
func (s *sourceSession) noPeerSocket(node string) error {
	if err := CheckPeerSocketDir(s.node.Peers.Dir); err != nil {
		return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerPeerSocketMissing,
			"libvirt on %[1]s reaches that on %[2]s by a socket, but the agent on %[1]s has the directory %[3]q for these: %[4]s. Ask an administrator to correct its --peer-socket-dir, and then create another LiveMigration",
			s.node.Name, node, s.node.Peers.Dir, err)
	}
	return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerPeerSocketMissing,
		"libvirt on %s reaches that on another node by a socket that has its node's name, and %q cannot be that of one: only a name as of a host in DNS can. Ask an administrator to give the agent there another --transport, and then create another LiveMigration",
		s.node.Name, node)
}
